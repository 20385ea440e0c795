// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's texts: its state, headline, message, and the E-STOP button's captions. Pure. */

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
/** Fits a topic or service of the robot; people's names are shorter. */
const MAX_NAME_LENGTH = 160;
/** Fits the robot's report on a camera. */
const MAX_FAULT_LENGTH = 400;
/** Next to the E-STOP there is little room; the message shows names in full. */
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
 * What a press of the E-STOP would achieve now, what is written on the button, and its tooltip. A device
 * that may not work must not look like one that does; and a button in a browser is never an emergency
 * stop, which needs no network.
 * @typedef {'ready' | 'unanswered' | 'unconnected' | 'refused' | 'none'} StopReach
 */
const STOP_REACH = Object.freeze({
  ready: {
    caption: 'software stop',
    hint: 'Stop the robot (Space). A software stop: it needs the network.',
  },
  unanswered: {
    caption: 'no answer',
    hint: 'Stop the robot (Space). The robot does not answer and may not receive the stop.',
  },
  unconnected: {
    caption: 'no connection',
    hint: 'Stop the robot (Space). Not connected: the stop is sent as soon as the robot is back.',
  },
  refused: { caption: 'not allowed', hint: MAY_NOT_STOP },
  none: { caption: 'no robot', hint: 'Connect to a robot first' },
});

/** Why the robot obeys no command although everything looks fine from here. */
const REFUSING_TEXT = Object.freeze({
  disabled: 'Driving is disabled at the robot.',
  frame: 'These commands are for an arm, not the base.',
  stale: 'Commands reach the robot too late: it does not move.',
  no_lease: 'The robot’s answers reach this page too late: it does not move.',
  round_trip: 'The round trip to the robot takes too long: it does not move.',
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
    text: ESTOP_TEXT[state],
    note: by || (button.usable && !button.mayStop ? MAY_NOT_STOP : ''),
    release: RELEASE_TEXT[state] ?? 'Release E-STOP',
    reach,
    ...STOP_REACH[reach],
  };
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
    return sub ? `by ${ending(sub, lengths.topic)} on the robot` : 'on the robot';
  }
  const name = beginning(sub, lengths.person);
  if (by.isMe && ROLES.has(role) && name) return 'by you';
  // A person whose token allows driving may only be watching: "operator" would be misleading.
  if (role === 'operator') return `by ${named(name) || 'somebody'}`;
  if (!ROLES.has(role)) return name && `by ${named(name)}`;
  if (!name) return role === 'viewer' ? 'by a viewer' : `by an ${role}`;
  return `by ${name}, ${role}`;
}

/** A person named "you" is quoted. */
function named(name) {
  return name.toLowerCase() === 'you' ? `“${name}”` : name;
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
  if (blockedBy === 'neutral' && situation.held) return 'Release all controls to drive.';
  if (situation.quiet) return both(SILENT, split);
  const refusing = situation.refusing ?? '';
  if (Object.hasOwn(REFUSING_TEXT, refusing)) return REFUSING_TEXT[refusing];
  if (!situation.hasVideo || situation.videoReason) return both(noVideoText(situation), split);
  if (situation.blindPage) return both(BLIND_PAGE, split);
  if (situation.blind) return 'There is no current image: the robot is slowed or stopped until there is one.';
  return split || notice;
}

/** Why there is no picture, in the robot's words; empty: there is one, or the reason is unknown. */
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

/** The problem, and how to fix it if the broker knows. */
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
  if (watching) return `${said} Only the operator who drives can release it.`;
  if (estop === 'confirm-release') return 'Press again within 3 seconds to release the E-STOP.';
  if (estop === 'releasing') return 'Releasing the E-STOP …';
  if (estop === 'stopping') return 'Stopping …';
  return `${said} The robot does not move until the E-STOP is released.`;
}
