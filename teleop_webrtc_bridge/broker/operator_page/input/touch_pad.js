// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** A drive pad for thumb or mouse: Pointer Events in, a vector out. Letting go is zero. */

/**
 * @param {object} options
 * @param {HTMLElement} options.pad needs `touch-action: none`, or the browser takes the gesture
 * @param {HTMLElement} options.knob
 * @param {(vector: {x: number, y: number}) => void} options.onVector right and up positive, -1..1
 * @returns {{release: () => void}} release: let go by force; counts again only when touched anew
 */
export function attachTouchPad({ pad, knob, onVector }) {
  let pointerId = null;

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
  const move = ({ clientX, clientY }) => {
    report(padVector(pad.getBoundingClientRect(), clientX, clientY));
  };

  pad.addEventListener('pointerdown', (event) => {
    // One thumb steers: a second finger on the pad is not a second opinion.
    if (pointerId !== null || event.button !== 0) return;
    event.preventDefault();
    pointerId = event.pointerId;
    pad.setPointerCapture(pointerId);
    pad.classList.add('held');
    move(event);
  });
  pad.addEventListener('pointermove', (event) => {
    if (event.pointerId === pointerId) move(event);
  });
  for (const type of ['pointerup', 'pointercancel', 'lostpointercapture']) {
    pad.addEventListener(type, (event) => {
      if (event.pointerId === pointerId) release();
    });
  }
  return { release };
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
