// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * What a press of a motion key or direction button means: drive while it is held, drive until the next
 * press, or one step. Pure: times are passed in, in seconds.
 *
 * Toggle and step need no hand on the key, so they end by themselves: a toggle after its time, a step when
 * the robot has moved that far, which the robot judges, and at the latest after its time.
 */

import { MAX_LINEAR_MPS, MAX_TURN_RADPS } from './limits.js';
import { axesOf, isDriveKey } from './keyboard.js';

export const STEP_M = 0.2;
export const STEP_RAD = (15 * Math.PI) / 180;
/** Longer than a step takes at its speed: the robot accelerates first, and may be slowed. */
const SPARE_S = 0.6;
const LONGEST_STEP_S = 5;
const NO_INTENT = Object.freeze({ forward: 0, left: 0, turn: 0 });

/**
 * @typedef {'hold' | 'step' | 'toggle-5' | 'toggle-10' | 'toggle-20'} Mode the number: seconds until a
 *   toggle ends by itself
 * @type {readonly Mode[]}
 */
export const MODES = Object.freeze(['hold', 'toggle-5', 'toggle-10', 'toggle-20', 'step']);

const STORED = 'teleop.drive_mode';

/** Remembers the mode for this browser. */
export class ModeMemory {
  #storage;

  /** @param {() => Storage | null} [storage] may throw: browsers can refuse it */
  constructor(storage = () => globalThis.localStorage ?? null) {
    this.#storage = storage;
  }

  /** @returns {Mode} */
  read() {
    try {
      const mode = this.#storage()?.getItem(STORED);
      return MODES.includes(mode) ? mode : 'hold';
    } catch {
      return 'hold';
    }
  }

  /** @param {Mode} mode */
  write(mode) {
    try {
      this.#storage()?.setItem(STORED, mode);
    } catch {
      // Full or refused: it is chosen again next time.
    }
  }
}

/** The motion keys and direction buttons. @implements {import('../drive.js').InputDevice} */
export class DriveMode {
  name = 'keyboard';
  /** Whether the robot knows steps. */
  canStep = false;
  #keys;
  #speed;
  /** @type {Mode} */
  #mode = 'hold';
  #lastStep = 0;
  /** @type {{code: string, untilS: number, step: import('../drive.js').Step | null} | null} */
  #active = null;

  /**
   * @param {import('./keyboard.js').HeldKeys} keys
   * @param {import('./speed.js').OperatorSpeed} speed
   */
  constructor(keys, speed) {
    this.#keys = keys;
    this.#speed = speed;
  }

  get mode() {
    return this.#mode;
  }

  /** Whatever moves the robot ends. */
  set mode(mode) {
    this.releaseAll();
    this.#mode = MODES.includes(mode) ? mode : 'hold';
  }

  /** @param {string} code @param {number} nowS */
  press(code, nowS) {
    if (this.#mode === 'hold') return this.#keys.press(code);
    if (!isDriveKey(code)) return;
    // The second press stops, whichever key it is.
    if (this.#active) this.#active = null;
    else if (this.#mode === 'step') this.#active = this.#newStep(code, nowS);
    else this.#active = { code, untilS: nowS + Number(this.#mode.split('-')[1]), step: null };
  }

  /** @param {string} code */
  release(code) {
    this.#keys.release(code);
  }

  releaseAll() {
    this.#keys.releaseAll();
    this.endPress();
  }

  /** End what goes on without a hand. */
  endPress() {
    this.#active = null;
  }

  get isHeld() {
    return this.#mode === 'hold' ? this.#keys.isHeld : this.#active !== null;
  }

  intent() {
    if (this.#mode === 'hold') return this.#keys.intent();
    return this.#active ? { ...NO_INTENT, ...axesOf(this.#active.code) } : NO_INTENT;
  }

  /** @returns {import('../drive.js').Step | null} the bound of the present press */
  step() {
    return this.#active?.step ?? null;
  }

  /** @param {number} nowS @returns {number | null} seconds until a toggle ends by itself; null: none is on */
  leftS(nowS) {
    return this.#active && !this.#active.step ? Math.max(0, this.#active.untilS - nowS) : null;
  }

  poll(nowS) {
    if (this.#active && !(nowS < this.#active.untilS)) this.#active = null;
    return [];
  }

  #newStep(code, nowS) {
    if (!this.canStep) return null;
    this.#lastStep += 1;
    const isTurn = axesOf(code).turn !== undefined;
    const expectedS = isTurn
      ? STEP_RAD / (this.#speed.share * MAX_TURN_RADPS)
      : STEP_M / (this.#speed.share * MAX_LINEAR_MPS);
    const step = isTurn ? { id: this.#lastStep, angle: STEP_RAD } : { id: this.#lastStep, distance: STEP_M };
    return { code, untilS: nowS + Math.min(LONGEST_STEP_S, 1.5 * expectedS + SPARE_S), step };
  }
}
