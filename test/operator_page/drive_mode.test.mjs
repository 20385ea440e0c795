// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { Drive } = await load('drive.js');
const { DriveMode, MODES, ModeMemory, STEP_M, STEP_RAD } = await load('input/drive_mode.js');
const { HeldKeys } = await load('input/keyboard.js');
const { OperatorSpeed } = await load('input/speed.js');

const ZERO = { forward: 0, left: 0, turn: 0 };
let mode;
let drive;
let speed;

beforeEach(() => {
  speed = new OperatorSpeed();
  mode = new DriveMode(new HeldKeys(), speed);
  mode.canStep = true;
  drive = new Drive([mode], speed);
  at(0);
  at(0.2);
});

/** The velocity at a time, after the page's tick. */
function at(nowS) {
  drive.poll(nowS);
  return drive.velocity(nowS);
}

test('hold: as long as the key is down', () => {
  mode.press('KeyW', 1);
  assert.deepEqual(at(1), { forward: 0.3, left: 0, turn: 0 });
  assert.equal(drive.step, null);
  assert.deepEqual(at(9), { forward: 0.3, left: 0, turn: 0 });
  mode.release('KeyW');
  assert.deepEqual(at(9.1), ZERO);
});

for (const seconds of [5, 10, 20]) {
  test(`toggle: it ends by itself after ${seconds} s`, () => {
    mode.mode = `toggle-${seconds}`;
    mode.press('KeyA', 1);
    mode.release('KeyA');
    assert.notDeepEqual(at(1), ZERO);
    assert.equal(mode.leftS(1), seconds);
    assert.notDeepEqual(at(1 + seconds - 0.01), ZERO);
    assert.deepEqual(at(1 + seconds), ZERO);
    assert.equal(mode.leftS(1 + seconds), null);
  });
}

test('toggle: the second press stops, whichever key it is', () => {
  mode.mode = 'toggle-10';
  for (const second of ['KeyW', 'KeyS']) {
    mode.press('KeyW', 1);
    assert.notDeepEqual(at(1), ZERO);
    mode.press(second, 1.5);
    assert.deepEqual(at(1.5), ZERO);
  }
});

test('a lock, a release by force and another mode end it, and nothing goes on afterwards', () => {
  let beginS = 1;
  for (const end of [
    () => drive.releaseAll(),
    () => {
      drive.setLock('hidden', true);
      drive.releaseAll();
      drive.setLock('hidden', false);
    },
    () => (mode.mode = 'hold'),
  ]) {
    mode.mode = 'toggle-10';
    at(beginS);
    at(beginS + 0.2);
    mode.press('KeyW', beginS + 0.3);
    assert.notDeepEqual(at(beginS + 0.3), ZERO);
    end();
    for (let nowS = beginS + 0.32; nowS < beginS + 2; nowS += 0.02) assert.deepEqual(at(nowS), ZERO);
    beginS += 10;
  }
});

for (const name of ['toggle-10', 'step']) {
  test(`${name}: a lock ends it, and so does a gap in the commands`, () => {
    mode.mode = name;
    let beginS = 1;
    for (const end of [() => drive.setLock('video', true), () => drive.requireNeutral()]) {
      mode.press('KeyW', beginS);
      assert.notDeepEqual(at(beginS), ZERO);
      end();
      assert.equal(mode.isHeld, false);
      assert.equal(mode.leftS(beginS), null);
      drive.setLock('video', false);
      for (let nowS = beginS + 0.02; nowS < beginS + 4; nowS += 0.02) assert.deepEqual(at(nowS), ZERO);
      beginS += 10;
    }
    mode.press('KeyW', beginS);
    assert.notDeepEqual(at(beginS), ZERO, 'a press of its own');
  });
}

test('a lock does not let go of a key that is held: the hand must', () => {
  mode.press('KeyW', 1);
  at(1);
  drive.setLock('video', true);
  drive.setLock('video', false);
  assert.deepEqual(at(2), ZERO);
  assert.equal(drive.blockedBy, 'neutral');
});

test('the browser remembers the mode; a new one, and one that refuses, begin with hold', () => {
  const items = new Map();
  const storage = { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => items.set(key, value) };
  const memory = new ModeMemory(() => storage);
  assert.equal(memory.read(), 'hold');
  for (const each of MODES) {
    memory.write(each);
    assert.equal(new ModeMemory(() => storage).read(), each);
  }
  items.forEach((_, key) => items.set(key, 'turbo'));
  assert.equal(memory.read(), 'hold');
  for (const broken of [() => null, () => { throw new Error('refused'); }]) {
    const none = new ModeMemory(broken);
    none.write('step');
    assert.equal(none.read(), 'hold');
  }
});

test('step: one press is one bound, with a number of its own', () => {
  mode.mode = 'step';
  mode.press('KeyW', 1);
  assert.deepEqual(at(1), { forward: 0.3, left: 0, turn: 0 });
  assert.deepEqual(drive.step, { id: 1, distance: STEP_M });
  mode.press('KeyW', 1.1);
  assert.deepEqual(at(1.1), ZERO, 'the second press cancels it');
  mode.press('KeyD', 1.2);
  assert.deepEqual(drive.velocity(1.2).turn < 0, true);
  assert.deepEqual(drive.step, { id: 2, angle: STEP_RAD });
});

test('step: it ends by its time at any speed', () => {
  mode.mode = 'step';
  for (const share of [0.1, 0.3, 1]) {
    speed.set(share);
    mode.press('KeyW', 10);
    assert.notDeepEqual(at(10 + 0.9 * (0.2 / share)), ZERO, 'time enough');
    assert.deepEqual(at(15.1), ZERO);
  }
});

test('step: not for a robot that does not know it', () => {
  mode.mode = 'step';
  mode.canStep = false;
  mode.press('KeyW', 1);
  assert.deepEqual(at(1), ZERO);
});

test('an unknown mode is hold; other keys do nothing', () => {
  mode.mode = 'turbo';
  assert.equal(mode.mode, 'hold');
  for (const each of MODES) {
    mode.mode = each;
    mode.press('KeyX', 1);
    assert.equal(mode.isHeld, false);
  }
});

test('whatever is pressed, an abandoned page stops within its time', () => {
  let random = 7;
  const next = (n) => (random = (random * 48271) % 2147483647) % n;
  for (let round = 0; round < 300; round += 1) {
    mode.mode = MODES[1 + next(MODES.length - 1)];
    let nowS = round * 1000;
    for (let i = 0; i < next(6); i += 1) {
      nowS += next(3000) / 1000;
      at(nowS);
      mode.press(['KeyW', 'KeyA', 'KeyE', 'KeyX'][next(4)], nowS);
    }
    assert.deepEqual(at(nowS + 20.1), ZERO);
  }
});
