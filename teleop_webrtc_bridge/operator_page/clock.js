// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The robot's clock, estimated on the page (docs/protocol.md §6): pings, pongs, and the offset of the
 * fastest exchange, because a short round trip bounds the error of the offset.
 *
 * All times are passed in, in seconds of one operator clock, which should be monotonic.
 */

const MAX_RTT_S = 5;
/** Clocks drift, so a new, slightly slower sample must replace an old minimum. */
const FLOOR_RISE_S_PER_S = 0.001;
/** A slower first exchange may have waited for the robot's channel to open. */
const PROMPT_RTT_S = 0.25;

const EAGER_INTERVAL_S = 0.1;
const EAGER_PINGS = 20;
const SYNC_INTERVAL_S = 0.4;
const SYNC_PONGS = 5;
const KEEP_INTERVAL_S = 1;

/**
 * @typedef {object} ClockSample
 * @property {number} rttS
 * @property {number} offsetS robot time minus operator time
 * @property {boolean} accepted whether it set the offset in use
 */

/** Offset of the robot's clock by minimum round-trip time. */
export class ClockSync {
  /** Robot time minus operator time in seconds; null before the first pong. */
  offsetS = null;
  /** The newest round-trip time in seconds; null before the first pong. */
  lastRttS = null;
  #bestRttS = Infinity;
  #bestAtS = 0;
  #firstPongAtS = null;
  #trusted = false;

  /**
   * Whether commands may be stamped with the offset. The broker holds a ping sent before the robot's
   * channel is open; its pong is wrong by half the waiting time, which the robot would see as delay.
   */
  get trusted() {
    return this.#trusted;
  }

  /**
   * @param {{client_ts: number, robot_ts: number}} pong
   * @param {number} nowS
   * @returns {ClockSample | null} null for a pong that cannot be used
   */
  onPong({ client_ts: sentS, robot_ts: robotS }, nowS) {
    if (!Number.isFinite(sentS) || !Number.isFinite(robotS)) return null;
    const rttS = nowS - sentS;
    if (!(rttS >= 0 && rttS <= MAX_RTT_S)) return null;
    this.lastRttS = rttS;
    if (rttS <= PROMPT_RTT_S) this.#trusted = true;
    if (this.#firstPongAtS === null) this.#firstPongAtS = nowS;
    else if (sentS >= this.#firstPongAtS) this.#trusted = true;

    const floorS = this.#bestRttS + FLOOR_RISE_S_PER_S * (nowS - this.#bestAtS);
    const accepted = rttS <= floorS;
    if (accepted) {
      this.#bestRttS = rttS;
      this.#bestAtS = nowS;
      this.offsetS = (robotS - sentS + (robotS - nowS)) / 2;
    }
    return { rttS, offsetS: this.offsetS, accepted };
  }
}

/** When to ping: often until answered, five times to synchronise, then as a heartbeat. */
export class PingSchedule {
  #nextS = -Infinity;
  #sent = 0;
  #pongs = 0;

  /**
   * @param {number} nowS
   * @returns {boolean} whether a ping is to be sent now; true counts as sent
   */
  due(nowS) {
    if (nowS < this.#nextS) return false;
    this.#sent += 1;
    this.#nextS = nowS + this.#intervalS();
    return true;
  }

  /** Count a pong. @param {{hurry: boolean}} options hurry: the next ping is due at once */
  onPong({ hurry }) {
    this.#pongs += 1;
    if (hurry) this.#nextS = -Infinity;
  }

  #intervalS() {
    if (this.#pongs === 0 && this.#sent <= EAGER_PINGS) return EAGER_INTERVAL_S;
    return this.#pongs < SYNC_PONGS ? SYNC_INTERVAL_S : KEEP_INTERVAL_S;
  }
}
