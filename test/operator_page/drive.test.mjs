// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { Drive } = await load('drive.js');
const { HeldKeys, isDriveKey } = await load('input/keyboard.js');
const { PadPosition } = await load('input/touch_pad.js');

const ZERO = { forward: 0, left: 0, turn: 0 };
let keys;
let pad;
let drive;

/** Let the neutral time pass with nothing held. */
function arm(nowS = 0) {
  drive.velocity(nowS);
  drive.velocity(nowS + 0.2);
}

beforeEach(() => {
  keys = new HeldKeys();
  pad = new PadPosition();
  drive = new Drive([pad, keys]);
  arm();
});

test('each key is its axis, in REP-103', () => {
  drive.speed = 1;
  const expected = {
    KeyW: { forward: 1 }, KeyS: { forward: -1 }, KeyA: { turn: 1.5 }, KeyD: { turn: -1.5 },
    KeyQ: { left: 1 }, KeyE: { left: -1 },
    ArrowUp: { forward: 1 }, ArrowDown: { forward: -1 },
    ArrowLeft: { turn: 1.5 }, ArrowRight: { turn: -1.5 },
  };
  for (const [code, axis] of Object.entries(expected)) {
    keys.press(code);
    assert.deepEqual(drive.velocity(1), { ...ZERO, ...axis }, code);
    keys.release(code);
    assert.deepEqual(drive.velocity(1), ZERO, code);
  }
});

test('other keys do nothing', () => {
  assert.equal(isDriveKey('KeyX'), false);
  keys.press('KeyX');
  assert.equal(drive.isHeld, false);
});

test('speed scales both axes; a diagonal is not faster; both arrows are one', () => {
  drive.speed = 0.5;
  keys.press('KeyW');
  keys.press('ArrowUp');
  keys.press('KeyA');
  assert.deepEqual(drive.velocity(1), { forward: 0.5, left: 0, turn: 0.75 });
  keys.release('KeyA');
  keys.press('KeyQ');
  const { forward, left } = drive.velocity(1);
  assert.ok(Math.abs(Math.hypot(forward, left) - 0.5) < 1e-12);
});

test('the pad: up is forward, right turns right, the rim is full speed', () => {
  drive.speed = 1;
  pad.set({ x: 0, y: 1 });
  assert.deepEqual(drive.velocity(1), { forward: 1, left: 0, turn: 0 });
  assert.equal(drive.device, 'touch');
  pad.set({ x: 1, y: 0 });
  assert.deepEqual(drive.velocity(1), { forward: 0, left: 0, turn: -1.5 });
  pad.set({ x: 0.03, y: -0.04 });
  assert.deepEqual(drive.velocity(1), ZERO, 'inside the dead zone');
  pad.set({ x: NaN, y: 1 });
  assert.deepEqual(drive.velocity(1), ZERO);
});

test('the device is the one used last', () => {
  pad.set({ x: 0, y: 1 });
  drive.velocity(1);
  pad.set({ x: 0, y: 0 });
  drive.velocity(1);
  assert.equal(drive.device, 'touch');
  keys.press('KeyW');
  drive.velocity(1);
  assert.equal(drive.device, 'keyboard');
});

test('pad and key together: the pad steers; a key that is still held steers after it', () => {
  drive.speed = 1;
  keys.press('KeyA');
  pad.set({ x: 0, y: 1 });
  assert.deepEqual(drive.velocity(1), { forward: 1, left: 0, turn: 0 });
  assert.equal(drive.device, 'touch');
  keys.press('KeyW');
  assert.deepEqual(drive.velocity(1), { forward: 1, left: 0, turn: 0 });
  assert.equal(drive.device, 'touch', 'the commands name the device that they come from');
  keys.release('KeyW');
  pad.set({ x: 0, y: 0 });
  assert.deepEqual(drive.velocity(1), { forward: 0, left: 0, turn: 1.5 });
  assert.equal(drive.device, 'keyboard');
});

test('pad and key together: neutral means that both are released', () => {
  keys.press('KeyW');
  pad.set({ x: 0, y: 1 });
  drive.setLock('estop', true);
  drive.setLock('estop', false);
  keys.release('KeyW');
  assert.deepEqual(drive.velocity(1), ZERO);
  keys.press('KeyW');
  pad.set({ x: 0, y: 0 });
  assert.deepEqual(drive.velocity(2), ZERO);
  assert.equal(drive.blockedBy, 'neutral');
  keys.release('KeyW');
  drive.velocity(3);
  assert.equal(drive.blockedBy, null);
});

for (const lock of ['estop', 'link', 'video', 'hidden']) {
  test(`${lock}: zero while locked, and a held key does not start the robot afterwards`, () => {
    keys.press('KeyW');
    assert.notDeepEqual(drive.velocity(1), ZERO);
    drive.setLock(lock, true);
    assert.equal(drive.blockedBy, lock);
    assert.deepEqual(drive.velocity(1.1), ZERO);
    drive.setLock(lock, false);
    assert.equal(drive.blockedBy, 'neutral');
    for (let nowS = 1.2; nowS < 4; nowS += 0.02) assert.deepEqual(drive.velocity(nowS), ZERO);
    keys.release('KeyW');
    drive.velocity(4);
    drive.velocity(4.2);
    keys.press('KeyW');
    assert.notDeepEqual(drive.velocity(4.3), ZERO);
  });
}

test('after neutral come 0.1 s of zeros: the robot must have seen them too', () => {
  drive.requireNeutral();
  drive.velocity(1);
  assert.equal(drive.blockedBy, null);
  keys.press('KeyW');
  assert.deepEqual(drive.velocity(1.02), ZERO);
  assert.deepEqual(drive.velocity(1.09), ZERO);
  assert.notDeepEqual(drive.velocity(1.11), ZERO, 'pressed after neutral: it is meant');
});

test('time spent under a lock is no neutral', () => {
  drive.setLock('video', true);
  for (let nowS = 1; nowS < 3; nowS += 0.02) drive.velocity(nowS);
  drive.setLock('video', false);
  keys.press('KeyW');
  assert.deepEqual(drive.velocity(3), ZERO);
});

test('opposite keys held are zero, but not neutral', () => {
  drive.requireNeutral();
  keys.press('KeyW');
  keys.press('KeyS');
  drive.velocity(1);
  drive.velocity(2);
  keys.release('KeyS');
  assert.deepEqual(drive.velocity(2.1), ZERO);
});

test('the first lock that matters is named', () => {
  drive.setLock('video', true);
  drive.setLock('estop', true);
  assert.equal(drive.blockedBy, 'estop');
  drive.setLock('estop', false);
  assert.equal(drive.blockedBy, 'video');
});

test('releaseAll forgets keys and pad', () => {
  keys.press('KeyW');
  pad.set({ x: 0, y: 1 });
  drive.releaseAll();
  assert.equal(drive.isHeld, false);
  assert.deepEqual(drive.velocity(1), ZERO);
});

test('a new drive starts locked until neutral', () => {
  drive = new Drive([pad, keys]);
  keys.press('KeyW');
  assert.deepEqual(drive.velocity(0), ZERO);
  assert.deepEqual(drive.velocity(5), ZERO);
});
