// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The page's sender: drive commands at each tick, E-STOP copies, lease echoes, pings. Pure: the time
 * (seconds of the operator's clock) and the channels are passed in.
 */

import { ClockSync, PingSchedule } from './clock.js';
import { encodeJoy, encodePose, encodeStep, encodeTwistStamped } from './messages.js';
import { Rate, Recent } from './stats.js';

export const TICK_MS = 20;
/** Two echoes for each of the robot's tokens (20 Hz), a tick early: one echo may be lost. */
const LEASE_INTERVAL_S = 0.03;
/** The robot takes 0.5 to 1 s of silence for a released key; a held key must not look like one. */
const GAP_S = 0.45;
const ZERO_BURST = 5;
/** 25 Hz: every second tick. */
const JOY_INTERVAL_S = 0.035;
/** Five states: one may be lost, five in a row hardly ever are. */
const JOY_ZEROS_S = 0.2;
const UNKNOWN = Object.freeze({ picture: null, command: null });
const ZERO = Object.freeze({ forward: 0, left: 0, turn: 0 });
/** A message queued behind this many bytes would arrive too late to matter. */
const MAX_BUFFERED_BYTES = 64 * 1024;
/** The robot accepts no longer ones (docs/protocol.md §7). */
const MAX_LATENCY_S = 60;
/** Stamps never go back, even when a better clock sample moves the offset back. */
const MIN_STAMP_STEP_S = 1e-3;

/**
 * @typedef {object} Sent One drive command as sent, for benchmarks.
 * @property {number} seq
 * @property {number} atMs Unix ms, operator's clock
 * @property {boolean} zero
 */

/**
 * Sends on one link at a time. Owns the sequence number, the clock offset, the newest lease token
 * and the record of what was sent; reads the drive state and the E-STOP.
 */
export class Commander {
  #drive;
  #estop;
  /** @type {{cmd: RTCDataChannel, state: RTCDataChannel} | null} */
  #channels = null;
  #pings = new PingSchedule();
  #lease = null;
  #leaseAtS = -Infinity;
  #sentAtS = null;
  #lastStampS = -Infinity;
  #seq = 0;
  #otherSeq = 0;
  #otherStampS = -Infinity;
  /** The last state of a live device, and how long its zeros go on. */
  #joy = null;
  #joyAtS = -Infinity;
  /** @type {Recent<Sent>} */
  #sent = new Recent(2000);
  #rate = new Rate();
  /** The velocity sent last. @type {import('./messages.js').Velocity} */
  velocity = ZERO;
  /** Set while the page is hidden: browsers throttle its timers, so it sends nothing instead. */
  hidden = false;
  /** Whether this page shows a current picture; each echo tells the robot. */
  picture = false;
  /**
   * The latencies that this page measures, in seconds; null: unknown. Each echo tells the robot, which
   * drives more slowly when they are long or unknown.
   * @type {{picture: number | null, command: number | null}}
   */
  latency = UNKNOWN;
  /** Set for a viewer: only the E-STOP is sent. */
  watching = false;
  /** What the robot takes besides commands. @type {{joy?: boolean, poses?: boolean}} */
  offers = {};
  commandsSent = 0;
  /** Commands skipped because older bytes were still queued. */
  commandsSkipped = 0;
  clock = new ClockSync();

  /** @param {{drive: import('./drive.js').Drive, estop: import('./estop.js').Estop}} parts */
  constructor({ drive, estop }) {
    this.#drive = drive;
    this.#estop = estop;
  }

  /**
   * Start sending on open channels. A new bridge on the same connection passes new channels.
   * @param {{cmd: RTCDataChannel, state: RTCDataChannel}} channels
   * @param {number} nowS
   * @param {{sameConnection: boolean}} options
   */
  attach(channels, nowS, { sameConnection }) {
    this.#channels = channels;
    this.#pings = new PingSchedule();
    this.#sentAtS = null;
    if (!sameConnection) {
      this.clock = new ClockSync();
      this.#lastStampS = -Infinity;
      this.#otherStampS = -Infinity;
      this.#lease = null;
      this.#estop.onLinkUp(nowS);
    }
    this.#drive.requireNeutral();
  }

  detach() {
    this.#channels = null;
    this.velocity = ZERO;
    this.#lease = null;
    this.picture = false;
    this.latency = UNKNOWN;
    this.offers = {};
    this.#joy = null;
  }

  get isReady() {
    return this.#channels?.cmd.readyState === 'open' && this.#channels.state.readyState === 'open';
  }

  /** Whether a message sent now would leave, rather than be dropped. */
  get canSend() {
    return this.isReady && this.#channels.cmd.bufferedAmount <= MAX_BUFFERED_BYTES;
  }

  get lastSeq() {
    return this.#seq;
  }

  sent() {
    return this.#sent.values();
  }

  /** @param {number} nowS @returns {number} drive commands per second */
  commandRate(nowS) {
    return this.#rate.perSecond(nowS);
  }

  /** Send everything that is due. Call it every TICK_MS, and at once when an input changes. */
  tick(nowS) {
    if (!this.isReady) {
      this.velocity = ZERO;
      return;
    }
    // Checked first: the E-STOP copies of this tick must not count as backlog.
    const congested = this.#channels.cmd.bufferedAmount > 0;
    this.#sendEstop(nowS);
    if (this.watching) return;
    this.#ping(nowS);
    if (this.hidden) return;
    if (!congested) this.#echoLease(nowS);
    if (this.clock.trusted) this.#sendDrive(nowS, congested);
  }

  #sendDrive(nowS, congested) {
    if (this.#sentAtS !== null && nowS - this.#sentAtS > GAP_S) this.#drive.requireNeutral();
    const velocity = this.#drive.velocity(nowS);
    if (congested) {
      this.commandsSkipped += 1;
      return;
    }
    this.#send(velocity, nowS);
    // Behind the command, so that they never delay it.
    if (this.offers.joy) this.#sendJoy(nowS);
    if (this.offers.poses) this.#sendPoses(nowS);
  }

  /** While a device is live; then zeros for a moment, as the robot must hear that it was let go. */
  #sendJoy(nowS) {
    if (nowS - this.#joyAtS < JOY_INTERVAL_S) return;
    // At an E-STOP the robot decides: its owner may let lights and the like pass.
    const live = this.#drive.isLockedBesides('estop') ? null : this.#drive.joy();
    if (live) this.#joy = { ...live, untilS: nowS + JOY_ZEROS_S };
    else if (this.#joy === null || nowS > this.#joy.untilS) {
      this.#joy = null;
      return;
    }
    this.#joyAtS = nowS;
    const { name, joy } = this.#joy;
    const { axes, buttons } = live ? joy : { axes: joy.axes.map(() => 0), buttons: joy.buttons.map(() => 0) };
    this.#deliver('cmd', encodeJoy({ ...this.#header(nowS), frameId: name, axes, buttons }));
  }

  #sendPoses(nowS) {
    if (this.#drive.blockedBy !== null) return;
    for (const pose of this.#drive.poses()) {
      this.#deliver('cmd', encodePose({ ...this.#header(nowS), ...pose }));
    }
  }

  /** Numbers and stamps of their own: the commands' numbers show how many were lost. */
  #header(nowS) {
    this.#otherSeq += 1;
    this.#otherStampS = Math.max(nowS + this.clock.offsetS, this.#otherStampS + MIN_STAMP_STEP_S);
    return { seq: this.#otherSeq, stampS: this.#otherStampS };
  }

  /** Send zeros at once, even with a backlog; several, because single ones may be lost. */
  sendZeros(nowS) {
    this.velocity = ZERO;
    if (!this.isReady || !this.clock.trusted || this.watching) return;
    for (let i = 0; i < ZERO_BURST; i += 1) this.#send(ZERO, nowS);
  }

  #send(velocity, nowS) {
    const stampS = Math.max(nowS + this.clock.offsetS, this.#lastStampS + MIN_STAMP_STEP_S);
    this.#lastStampS = stampS;
    this.#seq += 1;
    const command = { seq: this.#seq, stampS, frameId: this.#drive.device, velocity };
    const step = isMotion(velocity) ? this.#drive.step : null;
    this.#deliver('cmd', step ? encodeStep(command, step) : encodeTwistStamped(command));
    this.velocity = velocity;
    this.#sentAtS = nowS;
    this.commandsSent += 1;
    this.#rate.tick(nowS);
    this.#sent.push({ seq: this.#seq, atMs: nowS * 1000, zero: !isMotion(velocity) });
  }

  #sendEstop(nowS) {
    for (const { channel, message } of this.#estop.due(nowS)) {
      this.#deliver(channel, JSON.stringify(message));
    }
  }

  #ping(nowS) {
    if (this.#pings.due(nowS)) this.report({ type: 'ping', client_ts: nowS });
  }

  #echoLease(nowS) {
    if (this.#lease === null || nowS - this.#leaseAtS < LEASE_INTERVAL_S) return;
    this.#leaseAtS = nowS;
    const { picture, latency } = this;
    const message = {
      type: 'lease',
      token: this.#lease,
      picture,
      picture_latency: rounded(latency.picture),
      command_latency: rounded(latency.command),
    };
    this.#deliver('cmd', JSON.stringify(message));
  }

  /** Take the robot's newest token; echo it at once unless the last echo is too recent. */
  onLease(token, nowS) {
    if (!Number.isSafeInteger(token) || this.watching) return;
    this.#lease = token;
    const free = this.isReady && !this.hidden && this.#channels.cmd.bufferedAmount === 0;
    if (free) this.#echoLease(nowS);
  }

  /**
   * @param {{client_ts: number, robot_ts: number}} pong
   * @returns {import('./clock.js').ClockSample | null}
   */
  onPong(pong, nowS) {
    const sample = this.clock.onPong(pong, nowS);
    if (!sample) return null;
    this.#pings.onPong({ hurry: !this.clock.trusted });
    if (sample.accepted) {
      const ms = (seconds) => Math.round(seconds * 1e6) / 1e3;
      this.report({
        type: 'clock_report',
        rtt_ms: ms(sample.rttS),
        offset_ms: ms(sample.offsetS),
      });
    }
    return sample;
  }

  /** Send one state message; it is not acknowledged. @param {object} message */
  report(message) {
    if (this.isReady && !this.watching) this.#deliver('state', JSON.stringify(message));
  }

  #deliver(role, data) {
    const channel = this.#channels[role];
    if (channel.bufferedAmount > MAX_BUFFERED_BYTES) return;
    try {
      channel.send(data);
    } catch {
      // It closed after the check; its close event ends the link.
    }
  }
}

function isMotion({ forward, left, turn }) {
  return forward !== 0 || left !== 0 || turn !== 0;
}

/** To tenths of a millisecond; what the robot would not accept is unknown. */
function rounded(seconds) {
  return seconds !== null && seconds >= 0 && seconds <= MAX_LATENCY_S ? Math.round(seconds * 1e4) / 1e4 : null;
}
