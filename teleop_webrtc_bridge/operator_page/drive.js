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

import { MAX_LINEAR_MPS, MAX_TURN_RADPS } from './input/limits.js';
import { shaped } from './input/shaping.js';

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
 * @typedef {'estop' | 'faster' | 'slower' | 'camera' | 'step'} Action What a device asks for, once per press.
 *
 * @typedef {object} InputDevice One way to steer. Each has a module in input/.
 * @property {string} name goes into the commands as their frame_id; ASCII
 * @property {boolean} isHeld whether a hand is on it, even if it asks for no motion; false without the
 *   device's deadman
 * @property {() => Intent} intent
 * @property {{deadZone?: number, expo?: number, turnFactor?: number}} [response] of its axes; see
 *   input/shaping.js; the factor reduces the fastest turn
 * @property {() => void} releaseAll forget what is held: it counts only when pressed anew
 * @property {() => void} [endPress] end what goes on without a hand
 * @property {() => Step | null} [step] how far the present press may move the robot; null: while it is held
 * @property {(nowS: number) => Action[]} [poll] read the device. Called at each tick, by a timer that
 *   depends neither on the device nor on what shows the picture
 * @property {() => JoyState | null} [joy] all its axes and buttons, for the robot's own nodes; null: it is
 *   not live
 * @property {() => HandPose[]} [poses] of the hands that hold the clutch
 * @property {(event: 'estop' | 'link') => void} [feel] let the hand feel an E-STOP or a lost link
 *
 * @typedef {{axes: number[], buttons: number[]}} JoyState axes -1..1, buttons 0 or 1
 * @typedef {{frameId: 'left' | 'right', position: number[], orientation: number[]}} HandPose
 *
 * @typedef {{id: number, distance?: number, angle?: number}} Step in m or rad; the id rises with each press
 *
 * @typedef {object} Intent
 * @property {number} forward -1..1
 * @property {number} left -1..1
 * @property {number} turn -1..1
 */

/**
 * Devices and locks in, velocity out. Owns the locks, and decides which device drives: the one that was
 * taken last, after neutral.
 */
export class Drive {
  /** The name of the device that was held last. */
  device = 'keyboard';
  #devices;
  #speed;
  #locks = new Set();
  #needsNeutral = true;
  #zerosUntilS = -Infinity;
  /** The device that drives, and those that were held when last looked at. */
  #driver = null;
  #heldBefore = new Set();

  /**
   * @param {InputDevice[]} devices
   * @param {import('./input/speed.js').OperatorSpeed} speed
   */
  constructor(devices, speed) {
    this.#devices = devices;
    this.#speed = speed;
  }

  /** Forget everything that is held: it counts only when pressed anew. */
  releaseAll() {
    for (const device of this.#devices) device.releaseAll();
  }

  /** Read the devices that do not report by themselves. @returns {Action[]} */
  poll(nowS) {
    return this.#devices.flatMap((device) => device.poll?.(nowS) ?? []);
  }

  /**
   * The device whose axes and buttons go to the robot: the one that drives, if it has any.
   * @returns {{name: string, joy: JoyState} | null}
   */
  joy() {
    for (const device of [this.#driver, ...this.#devices]) {
      const joy = device?.joy?.();
      if (joy) return { name: device.name, joy };
    }
    return null;
  }

  /** @returns {HandPose[]} */
  poses() {
    return this.#devices.flatMap((device) => device.poses?.() ?? []);
  }

  /** @param {'estop' | 'link'} event */
  feel(event) {
    for (const device of this.#devices) device.feel?.(event);
  }

  /** @param {Lock} lock @param {boolean} engaged */
  setLock(lock, engaged) {
    if (!engaged) this.#locks.delete(lock);
    else if (!this.#locks.has(lock)) {
      this.#locks.add(lock);
      this.requireNeutral();
    }
  }

  /** @param {Lock} lock @returns {boolean} whether another one is engaged */
  isLockedBesides(lock) {
    return [...this.#locks].some((it) => it !== lock);
  }

  /** Motion waits for neutral, as after a lock: for gaps in the command stream. */
  requireNeutral() {
    this.#needsNeutral = true;
    for (const device of this.#devices) device.endPress?.();
  }

  /** @returns {Lock | 'neutral' | null} why motion is refused; null: it is not */
  get blockedBy() {
    for (const lock of LOCK_ORDER) if (this.#locks.has(lock)) return lock;
    return this.#needsNeutral ? 'neutral' : null;
  }

  /** How far the present press may move the robot. @returns {Step | null} null: while it is held */
  get step() {
    return this.#driver?.step?.() ?? null;
  }

  /** Whether a hand is on any device. */
  get isHeld() {
    return this.#devices.some((device) => device.isHeld);
  }

  /**
   * @param {number} nowS
   * @returns {import('./messages.js').Velocity}
   */
  velocity(nowS) {
    this.#chooseDriver();
    const driver = this.#driver;
    if (driver) this.device = driver.name;
    // Held keys that cancel out are not neutral: letting go of one of them would start the robot.
    else if (this.#needsNeutral && this.#locks.size === 0) {
      this.#needsNeutral = false;
      this.#zerosUntilS = nowS + ZEROS_S;
    }
    if (!driver || this.blockedBy !== null || nowS < this.#zerosUntilS) return ZERO;
    const [forward, left, turn] = axes(driver);
    const share = this.#speed.share;
    return {
      forward: forward * share * MAX_LINEAR_MPS,
      left: left * share * MAX_LINEAR_MPS,
      turn: turn * share * MAX_TURN_RADPS,
    };
  }

  /**
   * The device that was taken last drives. If another one was still held, that one is released by force,
   * so a stuck device blocks nobody; the new one must be released once before it moves the robot.
   */
  #chooseDriver() {
    const held = this.#devices.filter((device) => device.isHeld);
    const taken = held.filter((device) => !this.#heldBefore.has(device));
    this.#heldBefore = new Set(held);
    if (held.length > 1 && taken.length > 0) {
      const [newest] = taken;
      for (const device of held) if (device !== newest) device.releaseAll();
      this.requireNeutral();
    }
    this.#driver = this.#devices.find((device) => device.isHeld) ?? null;
  }
}

/** @param {InputDevice} device @returns {[number, number, number]} forward, left, turn, each -1..1 */
function axes(device) {
  const intent = device.intent();
  const forward = shaped(intent.forward, device.response);
  const left = shaped(intent.left, device.response);
  // A diagonal must not be faster than straight ahead.
  const length = Math.max(1, Math.hypot(forward, left));
  const turn = shaped(intent.turn, device.response) * (device.response?.turnFactor ?? 1);
  return [forward / length, left / length, turn];
}
