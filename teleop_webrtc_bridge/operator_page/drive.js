// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Which velocity the operator asks for: held keys or the pad, speed, and the locks above both.
 * Pure: time is passed in, in seconds. The robot has limits of its own; this is not one of them.
 *
 * Rules. A lock means zero. When a lock falls, motion needs neutral first: all inputs released
 * once. Then zeros follow for a moment, so that the robot, which has the same rule, has seen them
 * as well; what is pressed meanwhile is meant, and moves the robot after that moment.
 */

export const MAX_LINEAR_MPS = 1.0;
export const MAX_TURN_RADPS = 1.5;

/** Five commands at 50 Hz: one may be lost on the way, five in a row hardly. */
const ZEROS_S = 0.1;
const PAD_DEAD_ZONE = 0.08;
const ZERO = Object.freeze({ forward: 0, left: 0, turn: 0 });

/** `event.code` → unit axes. Codes, not letters: the keys stay where they are on every layout. */
const KEY_AXES = new Map([
  ['KeyW', { forward: 1 }],
  ['ArrowUp', { forward: 1 }],
  ['KeyS', { forward: -1 }],
  ['ArrowDown', { forward: -1 }],
  ['KeyA', { turn: 1 }],
  ['ArrowLeft', { turn: 1 }],
  ['KeyD', { turn: -1 }],
  ['ArrowRight', { turn: -1 }],
  ['KeyQ', { left: 1 }],
  ['KeyE', { left: -1 }],
]);

/** @param {string} code @returns {boolean} */
export function isDriveKey(code) {
  return KEY_AXES.has(code);
}

/**
 * Why motion is locked, most important first.
 * @typedef {'estop' | 'link' | 'video' | 'hidden' | 'watching' | 'covered'} Lock
 */
/** @type {readonly Lock[]} */
const LOCK_ORDER = ['estop', 'link', 'watching', 'covered', 'video', 'hidden'];

/** Inputs and locks in, velocity out. Owns the pressed keys, the pad vector and the locks. */
export class Drive {
  /** Share of the top speed, 0..1. */
  speed = 0.5;
  /** The device used last; names the command's frame_id. @type {'keyboard' | 'touch'} */
  device = 'keyboard';
  #keys = new Set();
  #pad = { x: 0, y: 0 };
  #locks = new Set();
  #needsNeutral = true;
  #zerosUntilS = -Infinity;

  /** A motion key went down. @param {string} code */
  press(code) {
    if (!KEY_AXES.has(code)) return;
    this.#keys.add(code);
    this.device = 'keyboard';
  }

  /** A key went up. @param {string} code */
  release(code) {
    this.#keys.delete(code);
  }

  /** Forget all that is held: it counts only when pressed anew. */
  releaseAll() {
    this.#keys.clear();
    this.#pad = { x: 0, y: 0 };
  }

  /** @param {{x: number, y: number}} vector right and up are positive, each -1..1 */
  setPad({ x, y }) {
    const length = Math.hypot(x, y);
    const usable = Number.isFinite(length) && length > PAD_DEAD_ZONE;
    // Rescaled beyond the dead zone, so that the slowest speeds can be reached.
    const gain = usable ? Math.min(1, (length - PAD_DEAD_ZONE) / (1 - PAD_DEAD_ZONE)) / length : 0;
    this.#pad = { x: usable ? x * gain : 0, y: usable ? y * gain : 0 };
    if (usable) this.device = 'touch';
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

  /** Whether any input asks for motion. */
  get isHeld() {
    const wish = this.#wish();
    return wish.forward !== 0 || wish.left !== 0 || wish.turn !== 0 || this.#keys.size > 0;
  }

  /**
   * @param {number} nowS
   * @returns {import('./lcm.js').Velocity}
   */
  velocity(nowS) {
    // Held keys that cancel out are no neutral: letting go of one of them would start the robot.
    if (this.#needsNeutral && this.#locks.size === 0 && !this.isHeld) {
      this.#needsNeutral = false;
      this.#zerosUntilS = nowS + ZEROS_S;
    }
    if (this.blockedBy !== null || nowS < this.#zerosUntilS) return ZERO;
    const wish = this.#wish();
    return {
      forward: wish.forward * this.speed * MAX_LINEAR_MPS,
      left: wish.left * this.speed * MAX_LINEAR_MPS,
      turn: wish.turn * this.speed * MAX_TURN_RADPS,
    };
  }

  /** The unit velocity that the inputs ask for; a pad in use wins over keys. */
  #wish() {
    if (this.#pad.x !== 0 || this.#pad.y !== 0) {
      // Plus zero: -0 is a legal double, but "-0.00" on a display is a question.
      return { forward: this.#pad.y + 0, left: 0, turn: -this.#pad.x + 0 };
    }
    const sum = { forward: 0, left: 0, turn: 0 };
    for (const code of this.#keys) {
      for (const [axis, value] of Object.entries(KEY_AXES.get(code))) sum[axis] += value;
    }
    for (const axis of Object.keys(sum)) sum[axis] = Math.max(-1, Math.min(1, sum[axis]));
    // A diagonal must not be faster than straight ahead.
    const length = Math.max(1, Math.hypot(sum.forward, sum.left));
    return { forward: sum.forward / length, left: sum.left / length, turn: sum.turn };
  }
}
