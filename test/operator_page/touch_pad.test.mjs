// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { attachTouchPad } = await load('input/touch_pad.js');

const UPRIGHT = { left: 20, top: 620, width: 168, height: 168 };
const ON_ITS_SIDE = { left: 20, top: 180, width: 168, height: 168 };
const NOTHING = { x: 0, y: 0 };

let pad;
let touch;
let vectors;
let lost;
/** What is to be called in the next frame. */
let frames;

beforeEach(() => {
  frames = [];
  globalThis.requestAnimationFrame = (callback) => frames.push(callback);
  pad = Object.assign(new EventTarget(), {
    box: UPRIGHT,
    captured: new Set(),
    classList: { add() {}, remove() {} },
    getBoundingClientRect() {
      return this.box;
    },
    setPointerCapture(id) {
      this.captured.add(id);
    },
    hasPointerCapture(id) {
      return this.captured.has(id);
    },
    releasePointerCapture(id) {
      this.captured.delete(id);
    },
  });
  vectors = [];
  lost = 0;
  touch = attachTouchPad({
    pad,
    knob: { style: { setProperty() {} } },
    onVector: (vector) => vectors.push(vector),
    onLost: () => (lost += 1),
  });
});

afterEach(() => {
  delete globalThis.requestAnimationFrame;
});

function frame() {
  for (const callback of frames.splice(0)) callback();
}

function send(type, x = 104, y = 694, pointerId = 1) {
  const fields = { pointerId, button: 0, clientX: x, clientY: y };
  pad.dispatchEvent(Object.assign(new Event(type, { cancelable: true }), fields));
}

test('a finger steers until it is lifted', () => {
  send('pointerdown');
  assert.ok(vectors.at(-1).y > 0);
  assert.equal(touch.isHeld, true);
  send('pointermove', 104, 720);
  assert.ok(vectors.at(-1).y < 0);
  send('pointerup');
  assert.deepEqual(vectors.at(-1), NOTHING);
  assert.equal(touch.isHeld, false);
  assert.equal(lost, 0);
});

for (const [what, box] of Object.entries({
  'the phone is turned': ON_ITS_SIDE,
  'the pad has moved by a pixel': { ...UPRIGHT, top: 621 },
  'the pad has another size': { ...UPRIGHT, height: 100 },
  'the pad is gone': { left: 0, top: 0, width: 0, height: 0 },
})) {
  test(`${what}: nothing is held any more, until it is touched anew`, () => {
    send('pointerdown');
    pad.box = box;
    send('pointermove', 104, 693);
    assert.deepEqual(vectors.slice(1), [NOTHING]);
    assert.equal(lost, 1);
    send('pointermove', 104, 600);
    assert.deepEqual(vectors.at(-1), NOTHING);
    assert.equal(pad.captured.size, 0);
  });
}

test('a finger that does not move is noticed as well', () => {
  send('pointerdown');
  frame();
  assert.equal(touch.isHeld, true);
  // What rounding does to a box is no move.
  pad.box = { ...UPRIGHT, left: 20.25 };
  frame();
  assert.equal(touch.isHeld, true);
  pad.box = ON_ITS_SIDE;
  frame();
  assert.equal(touch.isHeld, false);
  assert.deepEqual(vectors.at(-1), NOTHING);
  assert.equal(lost, 1);
  assert.deepEqual(frames, [], 'nothing is looked at while nothing is held');
});

test('with a second finger on the pad it is not known which one is meant', () => {
  send('pointerdown');
  send('pointerdown', 150, 700, 2);
  assert.deepEqual(vectors.at(-1), NOTHING);
  assert.equal(lost, 1);
  send('pointermove', 150, 650, 2);
  send('pointermove', 104, 650, 1);
  assert.deepEqual(vectors.at(-1), NOTHING);
});

for (const type of ['pointercancel', 'lostpointercapture']) {
  test(`${type} lets go of everything`, () => {
    send('pointerdown');
    send(type);
    assert.deepEqual(vectors.at(-1), NOTHING);
    assert.equal(lost, 1);
  });
}

test('let go by force, it counts only when touched anew', () => {
  send('pointerdown');
  touch.release();
  send('pointermove', 104, 640);
  assert.deepEqual(vectors.at(-1), NOTHING);
  send('pointerdown', 104, 640, 2);
  assert.ok(vectors.at(-1).y > 0);
});
