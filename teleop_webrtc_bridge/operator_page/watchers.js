// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The viewers, as the broker reports them to the operator and administrators; their removal; and the panel
 * that lists them. All but the panel is pure: time is passed in, in seconds.
 */

import { newButton, removeGone, setAttribute, setText } from './dom.js';
import { text } from './texts.js';

const CONFIRM_WINDOW_S = 3;
const MAX_ROWS = 50;
const MAX_NAME_LENGTH = 160;
const ROLES = new Set(['operator', 'admin', 'viewer']);

/**
 * @typedef {object} WatcherRow
 * @property {string} key
 * @property {string} text "ann, viewer"
 * @property {string} action the button's label; empty: they cannot be removed
 * @property {boolean} armed whether the next press removes them
 * @property {boolean} busy whether they are being removed
 */

/** One connection's view of who watches; a new one is made for each connection. */
export class WatcherDesk {
  #broker;
  #people = group([]);
  /** The person whose button was pressed once. @type {{key: string, untilS: number} | null} */
  #armed = null;
  /** The people who are being removed. @type {Set<string>} */
  #busy = new Set();
  /** Why the last removal failed. @type {{key: string, text: string} | null} */
  #failure = null;

  /** @param {{broker: import('./broker_client.js').BrokerClient}} options */
  constructor({ broker }) {
    this.#broker = broker;
  }

  /** @param {unknown} watching from a row of the broker's list; some brokers omit it */
  update(watching) {
    this.#people = group(watching);
    if (this.#failure && !this.#people.has(this.#failure.key)) this.#failure = null;
  }

  /** Why the last removal failed; empty: it did not, or the person has left. */
  get failure() {
    return this.#failure?.text ?? '';
  }

  /** @returns {string} see the function of this name */
  summary() {
    return summary(this.#people);
  }

  /** @param {number} nowS @returns {WatcherRow[]} */
  rows(nowS) {
    return Array.from(this.#people).slice(0, MAX_ROWS).map(([key, { who, count, removable }]) => {
      const armed = this.#armed?.key === key && nowS < this.#armed.untilS;
      const busy = this.#busy.has(key);
      const person = `${describe(who)}${count > 1 ? ` (${count}×)` : ''}`;
      const label = busy ? 'watchers.removing' : armed ? 'watchers.confirm' : 'watchers.remove';
      return { key, text: person, action: removable ? text(label) : '', armed, busy };
    });
  }

  /**
   * A person's button was pressed: the first press arms it, the second within 3 s removes them.
   * @param {string} sessionId
   * @param {string} key
   * @param {number} nowS
   */
  async press(sessionId, key, nowS) {
    const person = this.#people.get(key);
    if (!person?.removable || this.#busy.has(key)) return;
    this.#failure = null;
    const armed = this.#armed;
    this.#armed = null;
    if (armed?.key !== key || nowS >= armed.untilS) {
      this.#armed = { key, untilS: nowS + CONFIRM_WINDOW_S };
      return;
    }
    this.#busy.add(key);
    await this.#remove(sessionId, key, person.who);
    this.#busy.delete(key);
  }

  async #remove(sessionId, key, who) {
    try {
      await this.#broker.removeViewer(sessionId, who);
      this.#people.delete(key);
    } catch (error) {
      // They no longer watch, which is what was wanted.
      if (error.kind === 'gone') this.#people.delete(key);
      else this.#failure = { key, text: text('watchers.failed', { name: name(who), why: error.message }) };
    }
  }
}

/**
 * Group the pages of one person into one entry: all of them are removed together.
 * @param {unknown} watching from a row of the broker's list
 * @returns {Map<string, {who: import('./broker_client.js').Watcher, count: number,
 *   removable: boolean}>}
 */
export function group(watching) {
  const people = new Map();
  for (const entry of Array.isArray(watching) ? watching.filter(isPerson) : []) {
    const { operator_id, role } = entry;
    const key = JSON.stringify([operator_id, role]);
    const known = people.get(key) ?? { who: { operator_id, role }, count: 0, removable: false };
    known.count += 1;
    // Older brokers omit it, and refuse.
    known.removable ||= entry.removable !== false;
    people.set(key, known);
  }
  return people;
}

/**
 * @param {ReturnType<typeof group>} people
 * @returns {string} "Watched by ann and 2 more"; empty: nobody, or unknown
 */
export function summary(people) {
  const [first] = people.values();
  if (!first) return '';
  const count = people.size - 1;
  return text(count ? 'watchers.more' : 'watchers.one', { name: name(first.who), count });
}

function isPerson(entry) {
  return typeof entry?.operator_id === 'string' && typeof entry.role === 'string';
}

function name({ operator_id }) {
  return operator_id.slice(0, MAX_NAME_LENGTH);
}

function describe(who) {
  if (!ROLES.has(who.role)) return name(who);
  return text('watchers.person', { name: name(who), role: text(`role.${who.role}`) });
}

/** The panel that lists who watches, folded up at first. Each person keeps the same row. */
export class WatcherPanel {
  #panel = document.getElementById('watchers');
  #toggle = document.getElementById('watchers-toggle');
  #body = document.getElementById('watchers-body');
  #list = document.getElementById('watchers-list');
  #failure = document.getElementById('watchers-failure');
  #onPress;
  /** Key → row. @type {Map<string, {item: HTMLElement, text: HTMLElement, button: HTMLElement}>} */
  #rows = new Map();

  /** @param {{onPress: (key: string) => void}} options onPress: a person's button was pressed */
  constructor({ onPress }) {
    this.#onPress = onPress;
    this.#toggle.addEventListener('click', () => {
      this.#body.hidden = !this.#body.hidden;
      this.#toggle.setAttribute('aria-expanded', String(!this.#body.hidden));
      this.#toggle.blur();
    });
  }

  /**
   * @param {object} watchers
   * @param {string} watchers.summary empty: nothing to show
   * @param {WatcherRow[]} watchers.rows
   * @param {string} watchers.failure
   */
  show({ summary, rows, failure }) {
    this.#panel.hidden = summary === '' && failure === '';
    setText(this.#toggle, summary || text('watchers.nobody'));
    setText(this.#failure, failure);
    removeGone(this.#rows, rows.map(({ key }) => key));
    for (const row of rows) this.#fill(this.#rows.get(row.key) ?? this.#add(row.key), row);
  }

  #fill({ text, button }, { text: name, action, armed, busy }) {
    setText(text, name);
    setText(button, action);
    setAttribute(button, 'aria-label', `${action}: ${name}`);
    button.disabled = busy;
    button.hidden = action === '';
    button.classList.toggle('armed', armed);
  }

  #add(key) {
    const item = document.createElement('li');
    const text = document.createElement('span');
    // A double click is one decision, not two.
    const button = newButton('quiet put-out', ({ detail }) => detail < 2 && this.#onPress(key));
    item.append(text, button);
    this.#list.append(item);
    const row = { item, text, button };
    this.#rows.set(key, row);
    return row;
  }
}
