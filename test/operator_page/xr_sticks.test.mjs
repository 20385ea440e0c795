// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { Drive } = await load('drive.js');
const { HeldKeys } = await load('input/keyboard.js');
const { OperatorSpeed } = await load('input/speed.js');
const { FRAME_AGE_S, XrSticks } = await load('input/xr_sticks.js');

const ZERO = { forward: 0, left: 0, turn: 0 };
const TICK_S = 0.02;
const [TRIGGER, GRIP, LOWER, UPPER] = [0, 1, 4, 5];

let session;
let left;
let right;
let vr;
let keys;
let drive;
let nowS;
/** Whether the headset shows frames. */
let framed;

/** A controller as a headset reports it: the axes of the touch pad that it lacks are null. */
function newController(handedness, fields = {}) {
  const buttons = Array.from({ length: 7 }, () => ({ pressed: false, touched: false, value: 0 }));
  return { handedness, hand: null, gamepad: { mapping: 'xr-standard', axes: [null, null, 0, 0], buttons }, ...fields };
}

function press(controller, ...numbers) {
  for (const number of numbers) controller.gamepad.buttons[number] = { pressed: true, touched: true, value: 1 };
}

function release(controller, ...numbers) {
  for (const number of numbers) controller.gamepad.buttons[number] = { pressed: false, touched: false, value: 0 };
}

/** @param {number} x right @param {number} y back */
function push(controller, x, y) {
  controller.gamepad.axes = [null, null, x, y];
}

/** One tick of the page. @returns {{actions: string[], velocity: object}} */
function tick() {
  nowS += TICK_S;
  if (framed && vr.session) vr.session.lastFrameS = nowS - 0.01;
  const actions = drive.poll(nowS);
  return { actions, velocity: drive.velocity(nowS) };
}

function run(seconds) {
  return Array.from({ length: Math.round(seconds / TICK_S) }, tick).map(({ velocity }) => velocity);
}

function assertStands(seconds = 0.3) {
  for (const velocity of run(seconds)) assert.deepEqual(velocity, ZERO);
}

function letGo() {
  for (const controller of [left, right]) {
    push(controller, 0, 0);
    release(controller, TRIGGER, GRIP, LOWER, UPPER);
  }
}

function assertMovesFromNeutral() {
  letGo();
  assertStands();
  press(right, GRIP);
  push(left, 0, -1);
  assert.ok(run(0.06).at(-1).forward > 0);
}

beforeEach(() => {
  nowS = 100;
  framed = true;
  left = newController('left');
  right = newController('right');
  session = { visibilityState: 'visible', inputSources: [left, right], lastFrameS: nowS };
  vr = new XrSticks();
  vr.session = session;
  keys = new HeldKeys();
  const speed = new OperatorSpeed();
  speed.set(1);
  drive = new Drive([keys, vr], speed);
});

test('the left stick moves, the right one turns slowly; dead zone and curve', () => {
  assertMovesFromNeutral();
  assert.equal(drive.device, 'vr');
  const cases = [
    [[0, -1], [0, 0], { ...ZERO, forward: 1 }],
    [[0, 1], [0, 0], { ...ZERO, forward: -1 }],
    [[-1, 0], [0, 0], { ...ZERO, left: 1 }],
    [[1, 0], [0, 0], { ...ZERO, left: -1 }],
    [[0, 0], [-1, 0], { ...ZERO, turn: 0.75 }],
    [[0, 0], [1, 0], { ...ZERO, turn: -0.75 }],
    [[0, 0], [0, -1], ZERO],
    [[0.12, -0.12], [0.12, 1], ZERO],
  ];
  for (const [leftStick, rightStick, velocity] of cases) {
    push(left, ...leftStick);
    push(right, ...rightStick);
    assert.deepEqual(tick().velocity, velocity, `${leftStick} ${rightStick}`);
  }
  push(left, 0, -0.13);
  push(right, -0.13, 0);
  const { forward, turn } = tick().velocity;
  assert.ok(forward > 0 && forward < 0.02, `the slowest speed is ${forward}`);
  assert.ok(turn > 0 && turn < 0.02, `the slowest turn is ${turn}`);
});

for (const hand of ['left', 'right']) {
  test(`the ${hand} grip is held to drive`, () => {
    const controller = hand === 'left' ? left : right;
    assertStands();
    assert.equal(vr.verdict, 'hold');
    press(controller, GRIP);
    push(left, 0, -1);
    assert.ok(run(0.06).at(-1).forward > 0);
    assert.equal(vr.verdict, 'driving');
    release(controller, GRIP);
    assert.deepEqual(tick().velocity, ZERO);
    press(controller, GRIP);
    assertStands();
    assertMovesFromNeutral();
  });
}

test('a stick alone does nothing, and a grip then does not start the robot', () => {
  assertStands();
  push(left, 0, -1);
  assertStands();
  press(left, GRIP);
  assertStands();
  assert.equal(vr.verdict, 'neutral');
  assertMovesFromNeutral();
});

test('without hold-to-drive a stick drives, from neutral', () => {
  vr.holdToDrive = false;
  push(left, 0, -1);
  assertStands();
  push(left, 0, 0);
  assertStands();
  assert.equal(vr.verdict, 'ready');
  push(left, 0, -1);
  assert.ok(run(0.06).at(-1).forward > 0);
  vr.holdToDrive = true;
  assertStands();
  assertMovesFromNeutral();
});

test('a stick that drifts, or is held when the first frame comes, starts nothing', () => {
  push(left, 0.1, -0.1);
  press(right, GRIP);
  assertStands();
  release(right, GRIP);
  assertStands();
  press(right, GRIP);
  assertStands();
  assert.equal(vr.verdict, 'driving', 'within the dead zone it is held, and stands');
});

/** How the hand is lost: each row of what a headset can do, and how it ends. */
const LOSSES = {
  'the menu of the headset': [() => (session.visibilityState = 'visible-blurred'), () => (session.visibilityState = 'visible')],
  'the headset is taken off': [() => (session.visibilityState = 'hidden'), () => (session.visibilityState = 'visible')],
  'an unknown visibility': [() => (session.visibilityState = undefined), () => (session.visibilityState = 'visible')],
  'the session ended': [() => (session.visibilityState = 'ended'), () => (session.visibilityState = 'visible')],
  'no-session': [() => (vr.session = null), () => (vr.session = session)],
  'the left controller is gone': [() => (session.inputSources = [right]), () => (session.inputSources = [left, right])],
  'the right controller is gone': [() => (session.inputSources = [left]), () => (session.inputSources = [left, right])],
  'both are gone': [() => (session.inputSources = []), () => (session.inputSources = [left, right])],
  'no sources': [() => (session.inputSources = null), () => (session.inputSources = [left, right])],
  'sources that are none': [() => (session.inputSources = 7), () => (session.inputSources = [left, right])],
  'a controller without values': [() => (left.kept = left.gamepad, left.gamepad = null), () => (left.gamepad = left.kept)],
  'hands instead of controllers': [
    () => (session.inputSources = [newHand('left'), newHand('right')]),
    () => (session.inputSources = [left, right]),
  ],
  'NaN in a stick': [() => push(left, NaN, -1), () => push(left, 0, -1)],
  'NaN in the stick that turns': [() => push(right, NaN, 0), () => push(right, 0, 0)],
  'a stick beyond its end': [() => push(left, 0, -5), () => push(left, 0, -1)],
  'released by force': [() => drive.releaseAll(), () => {}],
  'the E-STOP locks': [() => drive.setLock('estop', true), () => drive.setLock('estop', false)],
  'a frame of the future': [() => (framed = false, session.lastFrameS = NaN), () => (framed = true)],
  'no frame yet': [() => (framed = false, session.lastFrameS = null), () => (framed = true)],
};

function newHand(handedness) {
  const hand = newController(handedness, { hand: new Map() });
  // Some browsers give an imitation of a controller.
  push(hand, 0, -1);
  press(hand, GRIP);
  if (handedness === 'left') hand.gamepad.mapping = '';
  return hand;
}

for (const [name, [lose, restore]] of Object.entries(LOSSES)) {
  test(`${name}: zero within one tick, then neutral first`, () => {
    assertMovesFromNeutral();
    lose();
    assert.deepEqual(tick().velocity, ZERO);
    assertStands();
    restore();
    assertStands(1);
    assertMovesFromNeutral();
  });
}

test('frames that stop: zero within 100 ms, though everything is held; then neutral first', () => {
  assertMovesFromNeutral();
  framed = false;
  const stoppedS = nowS;
  const moving = run(1).filter(({ forward }) => forward !== 0).length;
  assert.ok(moving * TICK_S <= FRAME_AGE_S, `it moved for ${moving * TICK_S} s`);
  assert.ok(nowS > stoppedS);
  assert.equal(vr.verdict, 'no-frames');
  framed = true;
  assertStands(1);
  assertMovesFromNeutral();
});

test('lost tracking does not stop: the sticks need none', () => {
  assertMovesFromNeutral();
  left.gripSpace = null;
  right.targetRaySpace = null;
  assert.ok(tick().velocity.forward > 0);
});

test('a controller that comes is let go first', () => {
  session.inputSources = [left];
  assertStands();
  press(left, GRIP);
  push(left, 0, -1);
  assert.ok(run(0.06).at(-1).forward > 0);
  session.inputSources = [left, right];
  assertStands();
  assertMovesFromNeutral();
});

test('one controller drives what its stick is for', () => {
  session.inputSources = [right];
  assertStands();
  press(right, GRIP);
  push(right, -1, -1);
  assert.deepEqual(run(0.06).at(-1), { ...ZERO, turn: 0.75 });
});

test('a controller of no hand, or of another mapping, does not count', () => {
  left.handedness = 'none';
  right.gamepad.mapping = '';
  push(left, 0, -1);
  press(right, GRIP, UPPER);
  assertStands();
  assert.equal(vr.verdict, 'no-controller');
});

test('tracked hands never drive, whatever they imitate', () => {
  vr.holdToDrive = false;
  const hands = [newHand('right'), newHand('right')];
  hands[1].gamepad.mapping = '';
  for (const hand of hands) {
    session.inputSources = [hand];
    push(hand, 0, 0);
    assertStands();
    push(hand, -1, 0);
    press(hand, UPPER);
    assertStands();
    assert.equal(vr.verdict, 'no-controller');
  }
});

test('a session that has ended says so, and its buttons are dead', () => {
  assert.equal(vr.poll(nowS).length, 0);
  session.visibilityState = 'ended';
  press(right, UPPER);
  assert.deepEqual(tick().actions, []);
  assert.equal(vr.verdict, 'no-session');
});

for (const hand of ['left', 'right']) {
  test(`the upper button of the ${hand} hand is the E-STOP, once per press`, () => {
    const controller = hand === 'left' ? left : right;
    tick();
    for (let i = 0; i < 2; i += 1) {
      press(controller, UPPER);
      assert.deepEqual(tick().actions, ['estop']);
      assert.deepEqual(tick().actions, []);
      release(controller, UPPER);
      assert.deepEqual(tick().actions, []);
    }
  });
}

test('the E-STOP acts on either hand while the other is gone, in the menu, and without frames', () => {
  const cases = [
    () => (session.inputSources = [right]),
    () => (session.visibilityState = 'visible-blurred'),
    () => (framed = false),
  ];
  for (const lose of cases) {
    lose();
    run(0.3);
    press(right, UPPER);
    assert.deepEqual(tick().actions, ['estop']);
    release(right, UPPER);
    tick();
  }
});

test('a second hand on the E-STOP is a second press', () => {
  press(left, UPPER);
  assert.deepEqual(tick().actions, ['estop']);
  press(right, UPPER);
  assert.deepEqual(tick().actions, ['estop']);
});

test('X is the next camera; A is nothing', () => {
  tick();
  press(left, LOWER);
  assert.deepEqual(tick().actions, ['camera']);
  assert.deepEqual(tick().actions, []);
  press(right, LOWER);
  assert.deepEqual(tick().actions, []);
});

test('a button that only says pressed counts', () => {
  tick();
  right.gamepad.buttons[UPPER] = { pressed: true };
  assert.deepEqual(tick().actions, ['estop']);
});

test('joy: four axes and seven buttons a hand, and nothing without a hand', () => {
  const none = { axes: Array(8).fill(0), buttons: Array(14).fill(0) };
  push(left, 0.5, -1);
  press(right, TRIGGER);
  run(0.1);
  assert.deepEqual(vr.joy(), none, 'no grip');
  assertMovesFromNeutral();
  push(left, 1, -1);
  push(right, -1, 1);
  press(right, TRIGGER, LOWER);
  tick();
  assert.deepEqual(vr.joy(), {
    axes: [-1, 1, 0, 0, 1, -1, 1, 1],
    buttons: [0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0],
  });
  for (const state of ['visible-blurred', 'hidden', 'ended']) {
    session.visibilityState = state;
    tick();
    assert.equal(vr.joy(), null);
  }
  session.visibilityState = 'visible';
  tick();
  assert.deepEqual(vr.joy(), none);
});

test('joy of one controller has zeros for the other', () => {
  session.inputSources = [right];
  assertStands();
  press(right, GRIP);
  tick();
  assert.deepEqual(vr.joy().axes, [0, 0, 0, 0, 0, 0, 0, 1]);
});

test('a key that is pressed takes over from the controllers, from neutral', () => {
  assertMovesFromNeutral();
  keys.press('KeyW');
  assertStands();
  keys.release('KeyW');
  assertStands();
  keys.press('KeyW');
  assert.ok(run(0.1).at(-1).forward > 0);
  assert.equal(drive.device, 'keyboard');
});
