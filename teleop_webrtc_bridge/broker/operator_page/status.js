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
 * @property {boolean} moving whether the last command sent was a motion
 * @property {ReturnType<import('./drive.js').Drive['blockedBy']>} blockedBy
 * @property {string | null} [refusing] why the robot does not obey, as it says itself
 * @property {boolean} [blind] whether a camera that is shown has stalled, as the robot says
 * @property {boolean} held whether an input asks for motion
 * @property {boolean} hasVideo whether a picture is promised or may still come
 * @property {boolean} quiet whether nothing was heard from the robot for a while
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

const WATCHED_STOP = 'The E-STOP is engaged. Only the operator can release it.';

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

/** What the operator cannot see from here: why the robot obeys nothing although all looks well. */
const REFUSING_TEXT = Object.freeze({
  disabled: 'Driving is disabled at the robot.',
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
  if (state === 'drivable' && situation.blockedBy === 'video') return 'Driving locked';
  return HEADLINES[state];
}

/** @param {import('./estop.js').EstopState} estop @returns {string} */
export function estopText(estop) {
  return ESTOP_TEXT[estop];
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
    return releaseFailure ?? (situation.watching ? WATCHED_STOP : stoppedText(estop));
  }
  if (state === 'watching') return watchingText(situation, notice);
  if (state !== 'drivable' && state !== 'driving') return link || notice;
  if (blockedBy === 'video') return 'The picture is frozen: driving is locked until it moves.';
  if (blockedBy === 'neutral' && situation.held) return 'Let go of all controls to drive.';
  if (situation.quiet) return 'The robot is silent. The connection may be breaking.';
  const refusing = situation.refusing ?? '';
  if (Object.hasOwn(REFUSING_TEXT, refusing)) return REFUSING_TEXT[refusing];
  if (!situation.hasVideo) return 'This robot sends no picture. You would be driving blind.';
  if (situation.blind) return 'A camera has stalled: the robot is slow, or stands, until it is back.';
  return notice;
}

function watchingText({ quiet, hasVideo }, notice) {
  if (quiet) return 'The robot is silent. The connection may be breaking.';
  return hasVideo ? notice : 'This robot sends no picture.';
}

function stoppedText(estop) {
  if (estop === 'confirm-release') return 'Press again within 3 seconds to release the E-STOP.';
  if (estop === 'releasing') return 'Releasing the E-STOP …';
  if (estop === 'stopping') return 'Stopping …';
  return 'The E-STOP is engaged. The robot does not move until it is released.';
}
