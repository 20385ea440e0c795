// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { Drive } = await load('drive.js');
const { HeldKeys, isDriveKey } = await load('input/keyboard.js');
const { OperatorSpeed } = await load('input/speed.js');
const { PadPosition } = await load('input/touch_pad.js');

const ZERO = { forward: 0, left: 0, turn: 0 };
let keys;
let pad;
let drive;
let speed;

/** Let the neutral time pass with nothing held. */
function arm(nowS = 0) {
  drive.velocity(nowS);
  drive.velocity(nowS + 0.2);
}

beforeEach(() => {
  keys = new HeldKeys();
  pad = new PadPosition();
  speed = new OperatorSpeed();
  drive = new Drive([pad, keys], speed);
  arm();
});

test('each key is its axis, in REP-103', () => {
  speed.set(1);
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
  speed.set(0.5);
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
  speed.set(1);
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

test('the device that is taken last drives, after it was released once', () => {
  speed.set(1);
  keys.press('KeyA');
  assert.deepEqual(drive.velocity(1), { forward: 0, left: 0, turn: 1.5 });
  pad.set({ x: 0, y: 1 });
  assert.deepEqual(drive.velocity(1.1), ZERO);
  assert.equal(drive.device, 'touch', 'the commands name the device that they come from');
  assert.deepEqual(drive.velocity(3), ZERO, 'it was not released yet');
  pad.set({ x: 0, y: 0 });
  assert.deepEqual(drive.velocity(3.1), ZERO, 'the key, still held, counts only when pressed anew');
  drive.velocity(3.3);
  pad.set({ x: 0, y: 1 });
  assert.deepEqual(drive.velocity(3.4), { forward: 1, left: 0, turn: 0 });
});

test('pad and key taken within one tick: one drives, after it was released', () => {
  keys.press('KeyW');
  pad.set({ x: 0, y: 1 });
  assert.deepEqual(drive.velocity(1), ZERO);
  assert.equal(drive.blockedBy, 'neutral');
  pad.set({ x: 0, y: 0 });
  drive.velocity(2);
  drive.velocity(2.2);
  keys.press('KeyW');
  assert.notDeepEqual(drive.velocity(2.3), ZERO);
});

test('the mixer applies the response of a device, and its diagonal is not faster', () => {
  speed.set(1);
  const intent = { forward: 1, left: 1, turn: 0.1 };
  const stick = { name: 'stick', isHeld: false, intent: () => intent, response: { deadZone: 0.12 }, releaseAll() {} };
  drive = new Drive([stick], speed);
  arm();
  stick.isHeld = true;
  const { forward, left, turn } = drive.velocity(1);
  assert.ok(Math.abs(Math.hypot(forward, left) - 1) < 1e-12);
  assert.equal(turn, 0);
});

test('neutral means that every device is released', () => {
  keys.press('KeyW');
  drive.setLock('estop', true);
  drive.setLock('estop', false);
  pad.set({ x: 0, y: 1 });
  keys.release('KeyW');
  assert.deepEqual(drive.velocity(1), ZERO);
  assert.equal(drive.blockedBy, 'neutral');
  pad.set({ x: 0, y: 0 });
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
  drive = new Drive([pad, keys], speed);
  keys.press('KeyW');
  assert.deepEqual(drive.velocity(0), ZERO);
  assert.deepEqual(drive.velocity(5), ZERO);
});

test('joy is that of the device that drives, else of the first one that has any', () => {
  const device = (name) => ({
    name, isHeld: false, joy: () => ({ axes: [], buttons: [name] }), releaseAll() {},
    intent: () => ({ forward: 0, left: 0, turn: 0 }), response: {},
  });
  const [vr, gamepad] = [device('vr'), device('gamepad')];
  const both = new Drive([keys, vr, gamepad], speed);
  assert.equal(both.joy().name, 'vr');
  gamepad.isHeld = true;
  both.velocity(1);
  assert.deepEqual(both.joy(), { name: 'gamepad', joy: { axes: [], buttons: ['gamepad'] } });
  // The keyboard has none.
  gamepad.isHeld = false;
  keys.press('KeyW');
  both.velocity(2);
  assert.equal(both.joy().name, 'vr');
});
