// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * What the operator's page sends, and when: drive commands at the tick, E-STOP copies, lease
 * echoes, pings. Pure: `now` and the channels are passed in; seconds of the operator's clock.
 */

import { ClockSync, PingSchedule } from './clock.js';
import { encodeTwistStamped } from './messages.js';
import { Rate, Recent } from './stats.js';

export const TICK_MS = 20;
/** Twice for each of the robot's tokens (20 Hz), a tick early: one echo may be lost. */
const LEASE_INTERVAL_S = 0.03;
/** The robot asks for neutral after a gap of 1 s; asking a little earlier keeps both in step. */
const GAP_S = 0.75;
const ZERO_BURST = 5;
const ZERO = Object.freeze({ forward: 0, left: 0, turn: 0 });
/** Anything that is queued this deep will not arrive while it matters. */
const MAX_BUFFERED_BYTES = 64 * 1024;
/** Stamps only rise, also when a better clock sample moves the offset back. */
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
  /** @type {Recent<Sent>} */
  #sent = new Recent(2000);
  #rate = new Rate();
  /** The velocity sent last. @type {import('./messages.js').Velocity} */
  velocity = ZERO;
  /** Set while the page is hidden: timers are throttled there, so it goes silent instead. */
  hidden = false;
  /** Whether this page shows a picture of now: with each echo the robot is told. */
  picture = false;
  /** Set for a viewer: nothing is sent but the E-STOP. */
  watching = false;
  commandsSent = 0;
  /** Commands left out because older bytes still waited. */
  commandsSkipped = 0;
  clock = new ClockSync();

  /** @param {{drive: import('./drive.js').Drive, estop: import('./estop.js').Estop}} parts */
  constructor({ drive, estop }) {
    this.#drive = drive;
    this.#estop = estop;
  }

  /**
   * Start on open channels; a re-bridge of the same connection passes fresh ones.
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
  }

  get isReady() {
    return this.#channels?.cmd.readyState === 'open' && this.#channels.state.readyState === 'open';
  }

  /** Whether what is sent now is on its way, and not left out. */
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

  /** Everything that is due; call it every TICK_MS, and at once when an input changes. */
  tick(nowS) {
    if (!this.isReady) {
      this.velocity = ZERO;
      return;
    }
    // Judged before the E-STOP copies of this very tick count as backlog.
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
  }

  /** Zeros at once, several because single ones get lost; past any backlog. */
  sendZeros(nowS) {
    this.velocity = ZERO;
    if (!this.isReady || !this.clock.trusted || this.watching) return;
    for (let i = 0; i < ZERO_BURST; i += 1) this.#send(ZERO, nowS);
  }

  #send(velocity, nowS) {
    const stampS = Math.max(nowS + this.clock.offsetS, this.#lastStampS + MIN_STAMP_STEP_S);
    this.#lastStampS = stampS;
    this.#seq += 1;
    const frameId = this.#drive.device;
    this.#deliver('cmd', encodeTwistStamped({ seq: this.#seq, stampS, frameId, velocity }));
    this.velocity = velocity;
    this.#sentAtS = nowS;
    this.commandsSent += 1;
    this.#rate.tick(nowS);
    const zero = velocity.forward === 0 && velocity.left === 0 && velocity.turn === 0;
    this.#sent.push({ seq: this.#seq, atMs: nowS * 1000, zero });
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
    const { picture } = this;
    this.#deliver('cmd', JSON.stringify({ type: 'lease', token: this.#lease, picture }));
  }

  /** The robot's newest token; echoed at once if the last echo is long enough ago. */
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

  /** Send one state message that nobody waits for. @param {object} message */
  report(message) {
    if (this.isReady && !this.watching) this.#deliver('state', JSON.stringify(message));
  }

  #deliver(role, data) {
    const channel = this.#channels[role];
    if (channel.bufferedAmount > MAX_BUFFERED_BYTES) return;
    try {
      channel.send(data);
    } catch {
      // Closed between the check and the call; its close event ends the link.
    }
  }
}
