// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The drive pad for thumb or mouse as an input device. Letting go means zero. */

/** Tolerance for rounding; if the pad has moved further, the layout has changed. */
const SAME_PX = 0.5;
const DEAD_ZONE = 0.08;

/** Where the thumb is on the pad. @implements {import('../drive.js').InputDevice} */
export class PadPosition {
  name = 'touch';
  #x = 0;
  #y = 0;

  /** @param {{x: number, y: number}} vector right and up are positive, each -1..1 */
  set({ x, y }) {
    const length = Math.hypot(x, y);
    const usable = Number.isFinite(length) && length > DEAD_ZONE;
    // Rescaled beyond the dead zone, so that the slowest speeds can be reached.
    const gain = usable ? Math.min(1, (length - DEAD_ZONE) / (1 - DEAD_ZONE)) / length : 0;
    this.#x = usable ? x * gain : 0;
    this.#y = usable ? y * gain : 0;
  }

  releaseAll() {
    this.set({ x: 0, y: 0 });
  }

  get isHeld() {
    return this.#x !== 0 || this.#y !== 0;
  }

  intent() {
    // Plus zero: -0 is a legal double, but "-0.00" on a display looks like an error.
    return { forward: this.#y + 0, left: 0, turn: -this.#x + 0 };
  }
}

/**
 * @param {object} options
 * @param {HTMLElement} options.pad needs `touch-action: none`, or the browser takes the gesture
 * @param {HTMLElement} options.knob
 * @param {(vector: {x: number, y: number}) => void} options.onVector right and up positive, -1..1
 * @param {() => void} [options.onLost] the hold ended without letting go
 * @returns {{isHeld: boolean, release: () => void}} release: end the hold by force; only a new touch
 *   counts
 */
export function attachTouchPad({ pad, knob, onVector, onLost = () => {} }) {
  let pointerId = null;
  /** Where the pad was when it was touched: if it moves, the finger means something else. */
  let box = null;
  let frame = null;

  const report = (vector) => {
    knob.style.setProperty('--x', vector.x.toFixed(3));
    knob.style.setProperty('--y', (-vector.y).toFixed(3));
    onVector(vector);
  };
  const release = () => {
    const held = pointerId;
    pointerId = null;
    if (held === null) return;
    pad.classList.remove('held');
    if (pad.hasPointerCapture(held)) pad.releasePointerCapture(held);
    report({ x: 0, y: 0 });
  };
  const lose = () => {
    release();
    onLost();
  };
  const check = () => {
    if (pointerId !== null && !isSame(box, boxOf(pad))) lose();
  };
  /** A finger that does not move sends no events, so the pad is checked in each frame. */
  const watch = () => {
    frame = null;
    check();
    if (pointerId !== null) frame = globalThis.requestAnimationFrame?.(watch) ?? null;
  };
  const move = ({ clientX, clientY }) => {
    check();
    if (pointerId !== null) report(padVector(box, clientX, clientY));
  };

  pad.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.pointerId === pointerId) return;
    // One thumb steers: with a second finger on the pad, it is unclear which one is meant.
    if (pointerId !== null) return lose();
    event.preventDefault();
    pointerId = event.pointerId;
    box = boxOf(pad);
    pad.setPointerCapture(pointerId);
    pad.classList.add('held');
    move(event);
    if (frame === null) watch();
  });
  pad.addEventListener('pointermove', (event) => {
    if (event.pointerId === pointerId) move(event);
  });
  pad.addEventListener('pointerup', (event) => {
    if (event.pointerId === pointerId) release();
  });
  for (const type of ['pointercancel', 'lostpointercapture']) {
    pad.addEventListener(type, (event) => {
      if (event.pointerId === pointerId) lose();
    });
  }
  return {
    get isHeld() {
      return pointerId !== null;
    },
    release,
  };
}

function boxOf(pad) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  return { left, top, width, height };
}

function isSame(one, other) {
  return Object.keys(one).every((side) => Math.abs(one[side] - other[side]) <= SAME_PX);
}

/**
 * @param {{left: number, top: number, width: number, height: number}} box of the pad
 * @returns {{x: number, y: number}} right and up positive, at most 1 long
 */
export function padVector(box, clientX, clientY) {
  const radius = Math.min(box.width, box.height) / 2;
  if (!(radius > 0)) return { x: 0, y: 0 };
  const x = (clientX - (box.left + box.width / 2)) / radius;
  const y = (box.top + box.height / 2 - clientY) / radius;
  const length = Math.max(1, Math.hypot(x, y));
  return { x: x / length, y: y / length };
}
