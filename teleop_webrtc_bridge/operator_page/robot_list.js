// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The list of robots. Each keeps the same row, so that focus, hover and a click survive every poll. */

import { removeGone, setAttribute, setText } from './dom.js';
import { text } from './texts.js';
import { group, summary } from './watchers.js';

/**
 * @param {object} options
 * @param {HTMLElement} options.list
 * @param {HTMLElement} options.empty shown while there are no robots
 * @param {() => void} options.onSelect
 */
export class RobotList {
  #list;
  #empty;
  #onSelect;
  /** Session id → row. */
  #rows = new Map();
  /** The session row that is selected. @type {import('./broker_client.js').RobotSession | null} */
  selected = null;

  constructor({ list, empty, onSelect }) {
    this.#list = list;
    this.#empty = empty;
    this.#onSelect = onSelect;
  }

  /** @param {import('./broker_client.js').RobotSession[]} sessions */
  update(sessions) {
    removeGone(this.#rows, sessions.map((session) => session.session_id));
    for (const session of sessions) {
      const row = this.#rows.get(session.session_id) ?? this.#add(session.session_id);
      row.session = session;
      fill(row, session);
    }
    this.#keepSelection(sessions);
    this.#empty.hidden = sessions.length > 0;
  }

  /** The same robot after a redial stays selected; a single robot needs no choice. */
  #keepSelection(sessions) {
    const before = this.selected;
    const same = (session) => session.session_id === before?.session_id;
    const redialled = (session) => before?.robot_id && session.robot_id === before.robot_id;
    const only = sessions.length === 1 ? sessions[0] : null;
    this.#select(sessions.find(same) ?? sessions.find(redialled) ?? only);
  }

  #select(session) {
    this.selected = session;
    for (const [id, { button }] of this.#rows) {
      setAttribute(button, 'aria-pressed', String(id === session?.session_id));
    }
    this.#onSelect();
  }

  #add(id) {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'robot';
    const row = { item, button, session: null, parts: {} };
    for (const part of ['name', 'detail', 'status', 'split']) {
      row.parts[part] = document.createElement('span');
      row.parts[part].className = `robot-${part}`;
      button.append(row.parts[part]);
    }
    button.addEventListener('click', () => this.#select(row.session));
    item.append(button);
    this.#list.append(item);
    this.#rows.set(id, row);
    return row;
  }
}

function fill({ button, parts }, session) {
  setAttribute(button, 'data-session-id', session.session_id);
  setAttribute(button, 'data-robot-id', session.robot_id ?? '');
  setAttribute(button, 'data-robot-state', session.state === 'active' ? 'active' : 'idle');
  setText(parts.name, session.robot_name || session.robot_id || text('list.unnamed'));
  const details = [session.robot_id, session.robot_type, summary(group(session.watching))];
  setText(parts.detail, details.filter(Boolean).join(' · '));
  const driver = session.operator_id ? text('list.driven-by', { name: nameOf(session) }) : text('list.in-use');
  setText(parts.status, session.state === 'active' ? driver : text('list.available'));
  setText(parts.split, splitHint(session));
}

/**
 * The label of the button that connects.
 * @param {import('./broker_client.js').RobotSession | null} row the selected one
 * @param {boolean} isReplaced whether this person's other page has just taken over from this one
 */
export function connectText(row, isReplaced) {
  if (!row) return text('list.connect');
  if (isReplaced) return text('list.drive-here');
  if (row.operator_is_you) return text('list.take-over');
  return text('list.connect-to', { name: row.robot_name || row.robot_id || text('list.robot') });
}

/**
 * @param {import('./broker_client.js').RobotSession | null} row
 * @param {import('./link.js').Target | null} target
 */
export function isSameRobot(row, target) {
  if (!row || !target) return false;
  return row.session_id === target.sessionId || Boolean(row.robot_id && row.robot_id === target.robotId);
}

/**
 * How to fix a robot whose two processes have separate sessions, as the broker says.
 * @param {{split?: {hint?: unknown}} | null | undefined} from a row of the list, or a join's answer
 * @returns {string} empty: nothing to fix
 */
export function splitHint(from) {
  const hint = from?.split?.hint;
  return typeof hint === 'string' ? hint : '';
}

function nameOf({ operator_id: name, operator_is_you: isYou }) {
  return isYou ? text('list.you') : name;
}
