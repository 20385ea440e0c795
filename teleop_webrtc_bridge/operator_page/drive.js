// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The velocity that the operator asks for: input devices, speed, and the locks above both. Pure: time is
 * passed in, in seconds. The robot enforces its own limits, independently of these.
 *
 * Rules. A lock means zero. After a lock, every device must be released once (neutral) before motion
 * resumes. Zeros then follow for a moment, because the robot has the same rule and must receive them too.
 * A key pressed during that moment is intentional, and moves the robot afterwards.
 */

export const MAX_LINEAR_MPS = 1.0;
export const MAX_TURN_RADPS = 1.5;

/** Five commands at 50 Hz: one may be lost, five in a row hardly ever are. */
const ZEROS_S = 0.1;
const ZERO = Object.freeze({ forward: 0, left: 0, turn: 0 });

/**
 * Why motion is locked, most important first.
 * @typedef {'estop' | 'link' | 'video' | 'hidden' | 'watching' | 'covered'} Lock
 */
/** @type {readonly Lock[]} */
const LOCK_ORDER = ['estop', 'link', 'watching', 'covered', 'video', 'hidden'];

/**
 * @typedef {object} InputDevice One way to steer. Each has a module in input/.
 * @property {string} name goes into the commands as their frame_id; ASCII
 * @property {boolean} isHeld whether a hand is on it, even if it asks for no motion
 * @property {() => {forward: number, left: number, turn: number}} intent -1..1 on each axis
 * @property {() => void} releaseAll forget what is held: it counts only when pressed anew
 */

/** Devices and locks in, velocity out. Owns the locks. */
export class Drive {
  /** Share of the top speed, 0..1. */
  speed = 0.5;
  /** The name of the device that was held last. */
  device = 'keyboard';
  #devices;
  #locks = new Set();
  #needsNeutral = true;
  #zerosUntilS = -Infinity;

  /** @param {InputDevice[]} devices of those that are held, the first one steers */
  constructor(devices) {
    this.#devices = devices;
  }

  /** Forget everything that is held: it counts only when pressed anew. */
  releaseAll() {
    for (const device of this.#devices) device.releaseAll();
  }

  /** @param {Lock} lock @param {boolean} engaged */
  setLock(lock, engaged) {
    if (!engaged) this.#locks.delete(lock);
    else if (!this.#locks.has(lock)) {
      this.#locks.add(lock);
      this.requireNeutral();
    }
  }

  /** Motion waits for neutral, as after a lock: for gaps in the command stream. */
  requireNeutral() {
    this.#needsNeutral = true;
  }

  /** @returns {Lock | 'neutral' | null} why motion is refused; null: it is not */
  get blockedBy() {
    for (const lock of LOCK_ORDER) if (this.#locks.has(lock)) return lock;
    return this.#needsNeutral ? 'neutral' : null;
  }

  /** Whether a hand is on any device. */
  get isHeld() {
    return this.#held !== undefined;
  }

  get #held() {
    return this.#devices.find((device) => device.isHeld);
  }

  /**
   * @param {number} nowS
   * @returns {import('./messages.js').Velocity}
   */
  velocity(nowS) {
    const held = this.#held;
    if (held) this.device = held.name;
    // Held keys that cancel out are not neutral: letting go of one of them would start the robot.
    else if (this.#needsNeutral && this.#locks.size === 0) {
      this.#needsNeutral = false;
      this.#zerosUntilS = nowS + ZEROS_S;
    }
    if (!held || this.blockedBy !== null || nowS < this.#zerosUntilS) return ZERO;
    const { forward, left, turn } = held.intent();
    return {
      forward: forward * this.speed * MAX_LINEAR_MPS,
      left: left * this.speed * MAX_LINEAR_MPS,
      turn: turn * this.speed * MAX_TURN_RADPS,
    };
  }
}
