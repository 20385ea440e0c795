// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's texts: its state, headline, message, and the E-STOP button's captions. Pure. */

import { text } from './texts.js';

/**
 * @typedef {'signed-out' | 'idle' | 'connecting' | 'drivable' | 'driving' | 'stopped'
 *   | 'watching' | 'reconnecting' | 'error'} PageState
 *
 * @typedef {object} Situation
 * @property {boolean} signedIn
 * @property {boolean} [watching] whether this page has no control
 * @property {import('./link.js').LinkState} link
 * @property {import('./estop.js').EstopState} estop
 * @property {Stopper | null} [stoppedBy] null: nobody, or unknown
 * @property {boolean} moving whether the last command sent was a motion
 * @property {ReturnType<import('./drive.js').Drive['blockedBy']>} blockedBy
 * @property {string | null} [refusing] why the robot does not obey, as it reports
 * @property {unknown} [cameraFaults] the robot's report on its cameras: text by camera name
 * @property {boolean} [blind] whether the robot reports that it is slowed because a picture is missing
 * @property {boolean} [blindPage] whether the missing picture is this page's, not a camera's
 * @property {boolean} held whether an input asks for motion
 * @property {boolean} hasVideo whether a picture is promised or may still come
 * @property {string | null} [videoReason] why this browser can show no picture, as the broker says
 * @property {boolean} quiet whether the robot has sent nothing for a while
 * @property {boolean} [canSend] whether the channels to the robot are open and not congested
 * @property {string} [split] how to fix a robot that has two sessions
 */

/**
 * @typedef {object} Stopper Who stopped the robot.
 * @property {string} sub a name at the broker, or a topic or service of the robot; may be empty
 * @property {string} role operator, admin, viewer or robot
 * @property {boolean} isMe whether it was this person, on this page
 */

/** Fits a topic or service of the robot; people's names are shorter. */
const MAX_NAME_LENGTH = 160;
/** Fits the robot's report on a camera. */
const MAX_FAULT_LENGTH = 400;
/** Next to the E-STOP there is little room; the message shows names in full. */
const SHORT = Object.freeze({ person: 18, topic: 24 });
const LONG = Object.freeze({ person: MAX_NAME_LENGTH, topic: MAX_NAME_LENGTH });
const ROLES = new Set(['operator', 'admin', 'viewer']);

/** What is written on the button that releases, while it is not simply to be pressed. */
const RELEASE_KEYS = Object.freeze({ 'confirm-release': 'release.confirm', releasing: 'release.busy' });

/**
 * What a press of the E-STOP would achieve now: written on the button, and its tooltip. A device that may
 * not work must not look like one that does; and a button in a browser is never an emergency stop, which
 * needs no network.
 * @typedef {'ready' | 'unanswered' | 'unconnected' | 'refused' | 'none'} StopReach
 */

/** Why the robot obeys no command although everything looks fine from here. */
const REFUSALS = new Set(['disabled', 'frame', 'stale', 'no_lease', 'round_trip']);

/** @param {Situation} situation @returns {PageState} */
export function pageState({ signedIn, link, estop, moving, watching }) {
  if (!signedIn) return 'signed-out';
  if (link !== 'drivable') return link;
  if (estop !== 'clear') return 'stopped';
  if (watching) return 'watching';
  return moving ? 'driving' : 'drivable';
}

/** @param {Situation} situation @returns {string} */
export function headline(situation) {
  const state = pageState(situation);
  if (state === 'stopped' && situation.estop === 'not-confirmed') return text('state.not-confirmed');
  const isLocked = ['covered', 'video'].includes(situation.blockedBy);
  if (state === 'drivable' && isLocked) return text('state.locked');
  return text(`state.${state}`);
}

/**
 * The E-STOP button and the texts around it.
 * @typedef {object} EstopDisplay
 * @property {import('./estop.js').EstopState} state
 * @property {string} text the state in capitals; empty: clear
 * @property {string} note who stopped the robot, or why this page cannot
 * @property {string} release the label of the button that releases
 * @property {StopReach} reach
 * @property {string} caption
 * @property {string} hint
 *
 * @param {Situation} situation
 * @param {{usable: boolean, mayStop: boolean}} button
 * @returns {EstopDisplay}
 */
export function estopDisplay(situation, button) {
  const state = button.usable ? situation.estop : 'clear';
  const reach = stopReach(situation, button);
  const by = state === 'clear' ? '' : stoppedByText(situation.stoppedBy, SHORT);
  return {
    state,
    text: estopText(state),
    note: by || (button.usable && !button.mayStop ? text('reach.hint.refused') : ''),
    release: text(RELEASE_KEYS[state] ?? 'release.press'),
    reach,
    caption: text(`reach.${reach}`),
    hint: text(`reach.hint.${reach}`),
  };
}

/** @param {import('./estop.js').EstopState} state @returns {string} in capitals; empty: clear */
function estopText(state) {
  if (state === 'clear') return '';
  return text(state === 'confirm-release' ? 'estop.stopped' : `estop.${state}`);
}

/** Whether a press of the E-STOP would reach the robot, as far as this page can tell. */
function stopReach({ link, canSend, quiet, estop }, { usable, mayStop }) {
  if (!usable) return 'none';
  if (!mayStop) return 'refused';
  if (link !== 'drivable' || canSend === false) return 'unconnected';
  return quiet || estop === 'not-confirmed' ? 'unanswered' : 'ready';
}

/**
 * Who stopped the robot, in words that follow "Stopped".
 * @param {Stopper | null | undefined} by
 * @param {{person: number, topic: number}} [lengths] maximum lengths of names
 * @returns {string} empty: unknown
 */
export function stoppedByText(by, lengths = LONG) {
  if (!by) return '';
  const { sub, role } = by;
  if (role === 'robot') {
    return sub ? text('by.part', { name: ending(sub, lengths.topic) }) : text('by.robot');
  }
  const name = beginning(sub, lengths.person);
  if (by.isMe && ROLES.has(role) && name) return text('by.you');
  // A person whose token allows driving may only be watching: "operator" would be misleading.
  if (role === 'operator') return byName(name) || text('by.somebody');
  if (!ROLES.has(role)) return byName(name);
  if (!name) return text(role === 'viewer' ? 'by.a-viewer' : 'by.an-admin');
  return text('by.person', { name, role: text(`role.${role}`) });
}

/** A person named "you" is quoted. */
function byName(name) {
  return name && text('by.name', { name: name.toLowerCase() === 'you' ? `“${name}”` : name });
}

function beginning(name, length) {
  return name.length > length ? `${name.slice(0, length - 1)}…` : name;
}

/** The last part of a topic's name says the most. */
function ending(name, length) {
  return name.length > length ? `…${name.slice(1 - length)}` : name;
}

/**
 * The most important fact for the operator, or nothing.
 * @param {Situation} situation
 * @param {{link: string, notice: string, releaseFailure: string | null}} texts
 * @returns {string}
 */
export function message(situation, { link, notice, releaseFailure }) {
  const { estop, blockedBy } = situation;
  const state = pageState(situation);
  if (estop === 'not-confirmed') {
    return text(state === 'stopped' ? 'stopped.unconfirmed' : 'stopped.undelivered');
  }
  if (state === 'stopped') {
    return releaseFailure ?? stoppedText(situation);
  }
  const fault = cameraFault(situation);
  if (fault) return fault;
  if (state === 'watching') return watchingText(situation, notice);
  const { split } = situation;
  if (state === 'connecting' || state === 'reconnecting') return both(link || notice, split);
  if (state !== 'drivable' && state !== 'driving') return link || notice;
  if (blockedBy === 'covered') return text('locked.covered');
  if (blockedBy === 'video') {
    const why = situation.videoReason;
    return both(why ? text('locked.why', { why }) : text('locked.frozen'), split);
  }
  if (blockedBy === 'neutral' && situation.held) return text('locked.neutral');
  if (situation.quiet) return both(text('locked.silent'), split);
  const refusing = situation.refusing ?? '';
  if (REFUSALS.has(refusing)) return text(`refusing.${refusing}`);
  if (!situation.hasVideo || situation.videoReason) return both(noVideoText(situation), split);
  if (situation.blindPage) return both(text('locked.blind-page'), split);
  if (situation.blind) return text('locked.blind');
  return split || notice;
}

/** Why there is no picture, in the robot's words; empty: there is one, or the reason is unknown. */
function cameraFault({ link, quiet, blind, blockedBy, cameraFaults }) {
  const matters = blockedBy === 'video' || (blind && blockedBy !== 'neutral');
  if (link !== 'drivable' || quiet || !matters) return '';
  const [name, fault] = Object.entries(cameraFaults ?? {})[0] ?? [];
  if (typeof fault !== 'string') return '';
  return beginning(text('locked.camera', { name, fault }), MAX_FAULT_LENGTH);
}

function noVideoText({ videoReason, blindPage }) {
  const why = videoReason ?? text('locked.no-picture');
  return text(blindPage ? 'locked.blind-why' : 'locked.driving-blind', { why });
}

/** The problem, and how to fix it if the broker knows. */
function both(problem, hint = '') {
  return [problem, hint].filter(Boolean).join(' ');
}

function watchingText({ quiet, hasVideo, videoReason, split }, notice) {
  if (quiet) return both(text('locked.silent'), split);
  if (videoReason) return both(videoReason, split);
  return hasVideo ? split || notice : both(text('locked.no-picture'), split);
}

function stoppedText({ estop, watching, stoppedBy }) {
  const by = stoppedByText(stoppedBy);
  const said = by ? text('stopped.by', { by }) : text('stopped.engaged');
  if (watching) return text('stopped.watching', { said });
  if (estop === 'confirm-release') return text('stopped.confirm');
  if (estop === 'releasing') return text('stopped.releasing');
  if (estop === 'stopping') return text('stopped.stopping');
  return text('stopped.stands', { said });
}
