// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { Drive, isDriveKey } = await load('drive.js');

const ZERO = { forward: 0, left: 0, turn: 0 };
let drive;

/** Let the neutral time pass with nothing held. */
function arm(nowS = 0) {
  drive.velocity(nowS);
  drive.velocity(nowS + 0.2);
}

beforeEach(() => {
  drive = new Drive();
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
    drive.press(code);
    assert.deepEqual(drive.velocity(1), { ...ZERO, ...axis }, code);
    drive.release(code);
    assert.deepEqual(drive.velocity(1), ZERO, code);
  }
});

test('other keys do nothing', () => {
  assert.equal(isDriveKey('KeyX'), false);
  drive.press('KeyX');
  assert.equal(drive.isHeld, false);
});

test('speed scales both axes; a diagonal is not faster; both arrows are one', () => {
  drive.speed = 0.5;
  drive.press('KeyW');
  drive.press('ArrowUp');
  drive.press('KeyA');
  assert.deepEqual(drive.velocity(1), { forward: 0.5, left: 0, turn: 0.75 });
  drive.release('KeyA');
  drive.press('KeyQ');
  const { forward, left } = drive.velocity(1);
  assert.ok(Math.abs(Math.hypot(forward, left) - 0.5) < 1e-12);
});

test('the pad: up is forward, right turns right, the rim is full speed', () => {
  drive.speed = 1;
  drive.setPad({ x: 0, y: 1 });
  assert.deepEqual(drive.velocity(1), { forward: 1, left: 0, turn: 0 });
  assert.equal(drive.device, 'touch');
  drive.setPad({ x: 1, y: 0 });
  assert.deepEqual(drive.velocity(1), { forward: 0, left: 0, turn: -1.5 });
  drive.setPad({ x: 0.03, y: -0.04 });
  assert.deepEqual(drive.velocity(1), ZERO, 'inside the dead zone');
  drive.setPad({ x: NaN, y: 1 });
  assert.deepEqual(drive.velocity(1), ZERO);
});

test('the device is the one used last', () => {
  drive.setPad({ x: 0, y: 1 });
  drive.setPad({ x: 0, y: 0 });
  assert.equal(drive.device, 'touch');
  drive.press('KeyW');
  assert.equal(drive.device, 'keyboard');
});

for (const lock of ['estop', 'link', 'video', 'hidden']) {
  test(`${lock}: zero while locked, and a held key does not start the robot afterwards`, () => {
    drive.press('KeyW');
    assert.notDeepEqual(drive.velocity(1), ZERO);
    drive.setLock(lock, true);
    assert.equal(drive.blockedBy, lock);
    assert.deepEqual(drive.velocity(1.1), ZERO);
    drive.setLock(lock, false);
    assert.equal(drive.blockedBy, 'neutral');
    for (let nowS = 1.2; nowS < 4; nowS += 0.02) assert.deepEqual(drive.velocity(nowS), ZERO);
    drive.release('KeyW');
    drive.velocity(4);
    drive.velocity(4.2);
    drive.press('KeyW');
    assert.notDeepEqual(drive.velocity(4.3), ZERO);
  });
}

test('after neutral come 0.1 s of zeros: the robot must have seen them too', () => {
  drive.requireNeutral();
  drive.velocity(1);
  assert.equal(drive.blockedBy, null);
  drive.press('KeyW');
  assert.deepEqual(drive.velocity(1.02), ZERO);
  assert.deepEqual(drive.velocity(1.09), ZERO);
  assert.notDeepEqual(drive.velocity(1.11), ZERO, 'pressed after neutral: it is meant');
});

test('time spent under a lock is no neutral', () => {
  drive.setLock('video', true);
  for (let nowS = 1; nowS < 3; nowS += 0.02) drive.velocity(nowS);
  drive.setLock('video', false);
  drive.press('KeyW');
  assert.deepEqual(drive.velocity(3), ZERO);
});

test('opposite keys held are zero, but not neutral', () => {
  drive.requireNeutral();
  drive.press('KeyW');
  drive.press('KeyS');
  drive.velocity(1);
  drive.velocity(2);
  drive.release('KeyS');
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
  drive.press('KeyW');
  drive.setPad({ x: 0, y: 1 });
  drive.releaseAll();
  assert.equal(drive.isHeld, false);
  assert.deepEqual(drive.velocity(1), ZERO);
});

test('a new drive starts locked until neutral', () => {
  drive = new Drive();
  drive.press('KeyW');
  assert.deepEqual(drive.velocity(0), ZERO);
  assert.deepEqual(drive.velocity(5), ZERO);
});
