// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The operator's side of the E-STOP (docs/protocol.md §6): repeated until acknowledged, clear about
 * what is not confirmed, latched, and released only on purpose. Pure: time is passed in, in seconds.
 *
 * The robot owns the latch. This object owns what the operator sees of it, and errs towards
 * "stopped": it clears only after an acknowledged release, or when the robot reports no latch while
 * nothing is pending.
 */

import { text } from './texts.js';

const NOT_CONFIRMED_S = 0.3;
const FAST_S = 1;
const FAST_INTERVAL_S = 0.02;
const SLOW_INTERVAL_S = 0.1;
const GIVE_UP_S = 10;
const CONFIRM_WINDOW_S = 3;
const RELEASE_TIMEOUT_S = 5;
/** Telemetry this soon after an acknowledgement may have been sent before it. */
const TELEMETRY_GRACE_S = 0.5;
/** A timer that fires slightly early must not skip a whole interval. */
const TIMER_SLACK_S = 0.002;

/**
 * @typedef {'clear' | 'stopping' | 'not-confirmed' | 'stopped' | 'confirm-release'
 *   | 'releasing'} EstopState
 * @typedef {{channel: 'cmd' | 'state', message: {type: string, nonce: string}}} EstopSend
 */

/** One operator's view of one robot's E-STOP. */
export class Estop {
  #newNonce;
  /** Whether the robot has acknowledged the stop, or reported its latch. */
  #confirmed = false;
  /**
   * The unacknowledged stop; kept after its last repetition, for a late acknowledgement.
   * @type {{nonce: string, pressedS: number, sinceS: number, nextS: number, onState: boolean,
   *   over: boolean} | null}
   */
  #stop = null;
  /** The release under way. @type {{nonce: string, sinceS: number, sent: boolean} | null} */
  #release = null;
  #confirmUntilS = null;
  #latched = false;
  /** The number of the latch that the robot reported last; null: no latch, or no number. */
  #latchNumber = null;
  #ignoreTelemetryUntilS = -Infinity;
  /** Whether this page has pressed since the robot last reported no latch. */
  #pressedHere = false;
  /**
   * Who pressed first, as the robot reports; null: unknown.
   * @type {{sub: string, role: string} | null}
   */
  #by = null;
  /** Why the last release failed; null: it did not. @type {string | null} */
  releaseFailure = null;

  /** @param {() => string} newNonce */
  constructor(newNonce) {
    this.#newNonce = newNonce;
  }

  /** Whether motion is locked by the E-STOP. */
  get latched() {
    return this.#latched;
  }

  /**
   * Who stopped the robot.
   * @returns {{sub: string, role: string, pressedHere: boolean} | null} null: nobody, or unknown
   */
  get stoppedBy() {
    return this.#by && { ...this.#by, pressedHere: this.#pressedHere };
  }

  /**
   * @param {number} nowS
   * @returns {EstopState}
   */
  state(nowS) {
    if (!this.#latched) return 'clear';
    if (this.#release) return 'releasing';
    if (this.#confirmUntilS !== null && nowS < this.#confirmUntilS) return 'confirm-release';
    if (this.#confirmed) return 'stopped';
    const fresh = this.#stop && nowS - this.#stop.pressedS < NOT_CONFIRMED_S;
    return fresh ? 'stopping' : 'not-confirmed';
  }

  /** The operator wants the robot stopped. @param {number} nowS */
  press(nowS) {
    this.#latched = true;
    this.#pressedHere = true;
    this.#confirmed = false;
    this.#release = null;
    this.#confirmUntilS = null;
    this.releaseFailure = null;
    // A second press while waiting is the same request, still not confirmed.
    const { nonce, pressedS } = this.#stop ?? { nonce: this.#newNonce(), pressedS: nowS };
    this.#stop = { nonce, pressedS, sinceS: nowS, nextS: nowS, onState: false, over: false };
  }

  /**
   * The link is new: request again what the old one did not confirm.
   * @param {number} nowS
   */
  onLinkUp(nowS) {
    if (this.#latched && !this.#confirmed) this.press(nowS);
  }

  /** The link is gone: a release that is under way will not be confirmed. */
  onLinkDown() {
    this.#release = null;
    this.#confirmUntilS = null;
  }

  /**
   * The release control was pressed: the first press arms it, the second within 3 s releases.
   * @param {number} nowS
   */
  pressRelease(nowS) {
    const state = this.state(nowS);
    if (state === 'stopped' || state === 'not-confirmed') {
      this.#confirmUntilS = nowS + CONFIRM_WINDOW_S;
      this.releaseFailure = null;
    } else if (state === 'confirm-release') {
      this.#confirmUntilS = null;
      // A copy of the stop sent after the release would latch the robot again.
      this.#stop = null;
      this.#release = { nonce: this.#newNonce(), sinceS: nowS, sent: false };
    }
  }

  /**
   * @param {number} nowS
   * @returns {EstopSend[]} what to send now; it is not returned again
   */
  due(nowS) {
    const sends = [];
    if (this.#release) this.#dueRelease(nowS, sends);
    if (this.#stop && !this.#stop.over) this.#dueStop(nowS, sends);
    return sends;
  }

  #dueRelease(nowS, sends) {
    const release = this.#release;
    if (!release.sent) {
      release.sent = true;
      const message = { type: 'estop_clear', nonce: release.nonce };
      // Names the latch that the operator has seen: a latch set in the meantime stays.
      if (this.#latchNumber !== null) message.latch = this.#latchNumber;
      sends.push({ channel: 'state', message });
    } else if (nowS - release.sinceS > RELEASE_TIMEOUT_S) {
      this.#release = null;
      this.releaseFailure = text('stopped.no-release');
    }
  }

  #dueStop(nowS, sends) {
    const stop = this.#stop;
    const ageS = nowS - stop.sinceS;
    if (ageS > GIVE_UP_S) {
      stop.over = true;
      return;
    }
    const message = { type: 'estop', nonce: stop.nonce };
    if (!stop.onState) {
      stop.onState = true;
      sends.push({ channel: 'state', message });
    }
    if (nowS < stop.nextS - TIMER_SLACK_S) return;
    const intervalS = ageS < FAST_S ? FAST_INTERVAL_S : SLOW_INTERVAL_S;
    // Relative to the planned time, so that late timers do not reduce the copies; never in the past.
    stop.nextS = Math.max(stop.nextS + intervalS, nowS);
    sends.push({ channel: 'cmd', message });
  }

  /**
   * @param {{nonce: unknown, ok?: unknown, reason?: unknown}} ack
   * @param {number} nowS
   */
  onAck({ nonce, ok, reason }, nowS) {
    if (this.#stop && nonce === this.#stop.nonce) {
      // A refused stop stays NOT CONFIRMED and is repeated.
      if (ok !== true) return;
      this.#stop = null;
      this.#confirmed = true;
      this.#ignoreTelemetryUntilS = nowS + TELEMETRY_GRACE_S;
    } else if (this.#release && nonce === this.#release.nonce) {
      this.#release = null;
      this.#ignoreTelemetryUntilS = nowS + TELEMETRY_GRACE_S;
      if (ok === true) this.#unlatch();
      else this.releaseFailure = refusal(reason);
    }
  }

  /**
   * The robot's report on its latch, regardless of who set it.
   * @param {boolean} estopped
   * @param {number} nowS
   * @param {unknown} [latch] its number
   * @param {unknown} [by] who pressed
   */
  onTelemetry(estopped, nowS, latch, by) {
    this.#latchNumber = estopped && Number.isSafeInteger(latch) ? latch : null;
    const pending = (this.#stop && !this.#stop.over) || this.#release;
    if (pending || nowS < this.#ignoreTelemetryUntilS) return;
    if (estopped) {
      this.#stop = null;
      this.#latched = true;
      this.#confirmed = true;
      this.#by = person(by);
    } else if (this.#confirmed) {
      // Our own unconfirmed stop stays: the robot may not have received it.
      this.#unlatch();
    }
  }

  /** Forget the robot: another robot has its own latch. */
  reset() {
    this.#stop = null;
    this.#release = null;
    this.#unlatch();
  }

  #unlatch() {
    this.#latched = false;
    this.#confirmed = false;
    this.#pressedHere = false;
    this.#by = null;
    this.#confirmUntilS = null;
    this.releaseFailure = null;
  }
}

/** @param {unknown} by @returns {{sub: string, role: string} | null} */
function person(by) {
  const known = typeof by?.sub === 'string' && typeof by?.role === 'string';
  return known ? { sub: by.sub, role: by.role } : null;
}

function refusal(reason) {
  const why = typeof reason === 'string' ? reason.slice(0, 120) : '';
  return why ? text('stopped.refused-why', { why }) : text('stopped.refused');
}
