// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The operator's speed: a share of what the robot allows. It begins low at each join. Pure. */

/** @type {readonly {name: 'slow' | 'normal' | 'fast', share: number}[]} */
export const LEVELS = Object.freeze([
  { name: 'slow', share: 0.3 },
  { name: 'normal', share: 0.6 },
  { name: 'fast', share: 1 },
]);
const LOWEST = 0.1;

/** Owns the share. It can only lower what the robot allows. */
export class OperatorSpeed {
  #share = LEVELS[0].share;
  /** Called when the share has changed. */
  onChange = () => {};

  /** @returns {number} 0.1..1, of the largest speeds */
  get share() {
    return this.#share;
  }

  /** @returns {'slow' | 'normal' | 'fast'} the slowest level that is not below the share */
  get level() {
    return LEVELS.find(({ share }) => this.#share <= share).name;
  }

  /** @param {number} share what is not a number is ignored */
  set(share) {
    if (!Number.isFinite(share)) return;
    const before = this.#share;
    this.#share = Math.min(1, Math.max(LOWEST, share));
    if (this.#share !== before) this.onChange();
  }

  /** A new join begins slowly. */
  reset() {
    this.set(LEVELS[0].share);
  }

  faster() {
    this.set(LEVELS.find(({ share }) => share > this.#share)?.share ?? 1);
  }

  slower() {
    this.set(LEVELS.findLast(({ share }) => share < this.#share)?.share ?? LEVELS[0].share);
  }
}
