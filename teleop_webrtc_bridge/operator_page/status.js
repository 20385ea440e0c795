// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** What the page says: the one state, its headline and the one-line message. Pure. */

/**
 * @typedef {'signed-out' | 'idle' | 'connecting' | 'drivable' | 'driving' | 'stopped'
 *   | 'watching' | 'reconnecting' | 'error'} PageState
 *
 * @typedef {object} Situation
 * @property {boolean} signedIn
 * @property {boolean} [watching] whether this page has no control
 * @property {import('./link.js').LinkState} link
 * @property {import('./estop.js').EstopState} estop
 * @property {Stopper | null} [stoppedBy] null: nobody has stopped the robot, or it is not known
 * @property {boolean} moving whether the last command sent was a motion
 * @property {ReturnType<import('./drive.js').Drive['blockedBy']>} blockedBy
 * @property {string | null} [refusing] why the robot does not obey, as it says itself
 * @property {unknown} [cameraFaults] what the robot says of its cameras, text by their names
 * @property {boolean} [blind] whether the robot is slow for want of a picture, as it says
 * @property {boolean} [blindPage] whether that is this page's picture, not a camera
 * @property {boolean} held whether an input asks for motion
 * @property {boolean} hasVideo whether a picture is promised or may still come
 * @property {string | null} [videoReason] why this browser can show no picture, as the broker says
 * @property {boolean} quiet whether nothing was heard from the robot for a while
 * @property {boolean} [canSend] whether channels to the robot are open, and take what is sent
 * @property {string} [split] what is to be changed about a robot that has two sessions
 */

/**
 * @typedef {object} Stopper Who stopped the robot.
 * @property {string} sub a name at the broker, or a topic or service of the robot; may be empty
 * @property {string} role operator, admin, viewer or robot
 * @property {boolean} isMe whether it was this person, on this page
 */

const HEADLINES = Object.freeze({
  'signed-out': 'Signed out',
  idle: 'Not connected',
  connecting: 'Connecting…',
  drivable: 'Ready to drive',
  driving: 'Driving',
  watching: 'Watching',
  stopped: 'Stopped',
  reconnecting: 'Reconnecting…',
  error: 'Could not connect',
});

const ENGAGED = 'The E-STOP is engaged.';
const FROZEN = 'The picture is frozen: driving is locked until it moves.';
const NO_VIDEO = 'This robot sends no picture.';
const BLIND_PAGE = 
  'No picture is shown here: the robot is slowed or stopped until there is one.';
const SILENT = 'The robot is silent. The connection may be breaking.';
const MAY_NOT_STOP = 'Viewers may not stop this robot.';
const COVERED = 'Something covers the E-STOP, or it is out of sight: driving is locked.';
/** Of a topic or a service of the robot; people's names are shorter. */
const MAX_NAME_LENGTH = 160;
/** Of what the robot says of a camera. */
const MAX_FAULT_LENGTH = 400;
/** Beside the E-STOP: no name may grow over what stands there. The message has all of it. */
const SHORT = Object.freeze({ person: 18, topic: 24 });
const LONG = Object.freeze({ person: MAX_NAME_LENGTH, topic: MAX_NAME_LENGTH });
const ROLES = new Set(['operator', 'admin', 'viewer']);

const ESTOP_TEXT = Object.freeze({
  clear: '',
  stopping: 'STOPPING…',
  'not-confirmed': 'NOT CONFIRMED',
  stopped: 'STOPPED',
  'confirm-release': 'STOPPED',
  releasing: 'RELEASING…',
});

const RELEASE_TEXT = Object.freeze({
  'confirm-release': 'Press again to release',
  releasing: 'Releasing…',
});

/**
 * What a press of the E-STOP is worth now. A device that may be inactive must not look like one that
 * is not; and a button in a browser is never an emergency stop: that one needs no network.
 * @typedef {'ready' | 'unanswered' | 'unconnected' | 'refused' | 'none'} StopReach
 */
const STOP_CAPTION = Object.freeze({
  ready: 'software stop',
  unanswered: 'no answer',
  unconnected: 'no connection',
  refused: 'not allowed',
  none: 'no robot',
});
const STOP_HINT = Object.freeze({
  ready: 'Stop the robot (Space). A software stop: it needs the network.',
  unanswered: 'Stop the robot (Space). The robot does not answer: it may not hear it.',
  unconnected: 'Stop the robot (Space). Not connected: it is sent as soon as the robot is back.',
  refused: MAY_NOT_STOP,
  none: 'Connect to a robot first',
});

/** What the operator cannot see from here: why the robot obeys nothing although all looks well. */
const REFUSING_TEXT = Object.freeze({
  disabled: 'Driving is disabled at the robot.',
  frame: 'These commands are for an arm, not the base.',
  stale: 'Commands reach the robot too late: it does not move.',
  no_lease: 'The robot’s answers reach this page too late: it does not move.',
  round_trip: 'The way to the robot and back takes too long: it does not move.',
});

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
  if (state === 'stopped' && situation.estop === 'not-confirmed') return 'Stop not confirmed';
  const isLocked = ['covered', 'video'].includes(situation.blockedBy);
  if (state === 'drivable' && isLocked) return 'Driving locked';
  return HEADLINES[state];
}

/** @param {import('./estop.js').EstopState} estop @returns {string} */
export function estopText(estop) {
  return ESTOP_TEXT[estop];
}

/**
 * Who stopped the robot, in words that follow "Stopped".
 * @param {Stopper | null | undefined} by
 * @param {{person: number, topic: number}} [lengths] of names, at most
 * @returns {string} empty: not known
 */
export function stoppedByText(by, lengths = LONG) {
  if (!by) return '';
  const { sub, role } = by;
  if (role === 'robot') {
    return sub ? `by ${ending(sub, lengths.topic)} on the robot` : 'on the robot';
  }
  const name = beginning(sub, lengths.person);
  if (by.isMe && ROLES.has(role) && name) return 'by you';
  // Somebody whose token lets them drive may only watch: "operator" would name the wrong person.
  if (role === 'operator') return `by ${named(name) || 'somebody'}`;
  if (!ROLES.has(role)) return name && `by ${named(name)}`;
  if (!name) return role === 'viewer' ? 'by a viewer' : `by an ${role}`;
  return `by ${name}, ${role}`;
}

/** No name passes for "you". */
function named(name) {
  return name.toLowerCase() === 'you' ? `“${name}”` : name;
}

function beginning(name, length) {
  return name.length > length ? `${name.slice(0, length - 1)}…` : name;
}

/** Of a topic's name the last part says the most. */
function ending(name, length) {
  return name.length > length ? `…${name.slice(1 - length)}` : name;
}

/**
 * What stands beside the E-STOP: who stopped the robot, or why this page cannot.
 * @param {Situation} situation
 * @param {{usable: boolean, mayStop: boolean}} button
 * @returns {string}
 */
export function estopNote({ estop, stoppedBy }, { usable, mayStop }) {
  if (!usable) return '';
  const by = estop === 'clear' ? '' : stoppedByText(stoppedBy, SHORT);
  return by || (mayStop ? '' : MAY_NOT_STOP);
}

/**
 * Whether a press of the E-STOP would reach a robot, as far as this page can tell.
 * @param {Situation} situation
 * @param {{usable: boolean, mayStop: boolean}} button
 * @returns {StopReach} all but the last two: pressing it helps, now or as soon as the robot is back
 */
export function stopReach({ link, canSend, quiet, estop }, { usable, mayStop }) {
  if (!usable) return 'none';
  if (!mayStop) return 'refused';
  if (link !== 'drivable' || canSend === false) return 'unconnected';
  return quiet || estop === 'not-confirmed' ? 'unanswered' : 'ready';
}

/** What stands on the button. @param {StopReach} reach */
export function stopCaption(reach) {
  return STOP_CAPTION[reach];
}

/**
 * What the button is good for.
 * @param {{usable: boolean, mayStop: boolean}} button
 * @param {StopReach} [reach]
 */
export function estopHint({ usable, mayStop }, reach = 'ready') {
  if (!usable) return STOP_HINT.none;
  return mayStop ? STOP_HINT[reach] : STOP_HINT.refused;
}

/** @param {import('./estop.js').EstopState} estop @returns {string} */
export function releaseText(estop) {
  return RELEASE_TEXT[estop] ?? 'Release E-STOP';
}

/**
 * The most important thing to know, or nothing.
 * @param {Situation} situation
 * @param {{link: string, notice: string, releaseFailure: string | null}} texts
 * @returns {string}
 */
export function message(situation, { link, notice, releaseFailure }) {
  const { estop, blockedBy } = situation;
  const state = pageState(situation);
  if (estop === 'not-confirmed') {
    return state === 'stopped'
      ? 'The robot has not confirmed the E-STOP. Driving is locked here.'
      : 'E-STOP not delivered: no connection. It is sent as soon as the robot is back.';
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
  if (blockedBy === 'covered') return COVERED;
  if (blockedBy === 'video') {
    return both(situation.videoReason ? `${situation.videoReason} Driving is locked.` : FROZEN, split);
  }
  if (blockedBy === 'neutral' && situation.held) return 'Let go of all controls to drive.';
  if (situation.quiet) return both(SILENT, split);
  const refusing = situation.refusing ?? '';
  if (Object.hasOwn(REFUSING_TEXT, refusing)) return REFUSING_TEXT[refusing];
  if (!situation.hasVideo || situation.videoReason) return both(noVideoText(situation), split);
  if (situation.blindPage) return both(BLIND_PAGE, split);
  if (situation.blind) return 'A camera has stalled: the robot is slowed or stopped until it is back.';
  return split || notice;
}

/** Why there is no picture to drive by, in the robot's words; empty: there is, or it is not said. */
function cameraFault({ link, quiet, blind, blockedBy, cameraFaults }) {
  const matters = blockedBy === 'video' || (blind && blockedBy !== 'neutral');
  if (link !== 'drivable' || quiet || !matters) return '';
  const [name, fault] = Object.entries(cameraFaults ?? {})[0] ?? [];
  if (typeof fault !== 'string') return '';
  return beginning(`Camera ${name}: ${fault}`, MAX_FAULT_LENGTH);
}

function noVideoText({ videoReason, blindPage }) {
  const why = videoReason ?? NO_VIDEO;
  return blindPage ? `${why} The robot is slowed or stopped.` : `${why} You would be driving blind.`;
}

/** What is the matter, and what to change about it, if the broker knows that. */
function both(text, hint = '') {
  return [text, hint].filter(Boolean).join(' ');
}

function watchingText({ quiet, hasVideo, videoReason, split }, notice) {
  if (quiet) return both(SILENT, split);
  if (videoReason) return both(videoReason, split);
  return hasVideo ? split || notice : both(NO_VIDEO, split);
}

function stoppedText({ estop, watching, stoppedBy }) {
  const by = stoppedByText(stoppedBy);
  const said = by ? `Stopped ${by}.` : ENGAGED;
  if (watching) return `${said} Only whoever drives can release it.`;
  if (estop === 'confirm-release') return 'Press again within 3 seconds to release the E-STOP.';
  if (estop === 'releasing') return 'Releasing the E-STOP …';
  if (estop === 'stopping') return 'Stopping …';
  return `${said} The robot does not move until the E-STOP is released.`;
}
