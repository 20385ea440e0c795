// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { Drive } = await load('drive.js');
const { Gamepads, STILL_S } = await load('input/gamepad.js');
const { HeldKeys } = await load('input/keyboard.js');
const { OperatorSpeed } = await load('input/speed.js');

const ZERO = { forward: 0, left: 0, turn: 0 };
const TICK_S = 0.02;
const [A, B, Y, L1, R1, UP, DOWN] = [0, 1, 3, 4, 5, 12, 13];

let list;
let focus;
let pads;
let keys;
let speed;
let drive;
let nowS;
/** Without it, nothing on a pad changes, as on one that is dead. */
let trembling;

/** A pad as the browser gives it: values are changed in place, as Firefox does. */
function newPad(fields = {}) {
  const buttons = Array.from({ length: 17 }, () => ({ pressed: false, touched: false, value: 0 }));
  return {
    id: 'Test pad', index: 0, connected: true, mapping: 'standard', timestamp: 0,
    axes: [0, 0, 0, 0], buttons, ...fields,
  };
}

function press(pad, ...numbers) {
  for (const number of numbers) pad.buttons[number] = { pressed: true, touched: true, value: 1 };
}

function release(pad, ...numbers) {
  for (const number of numbers) pad.buttons[number] = { pressed: false, touched: false, value: 0 };
}

/** One tick of the page. @returns {{actions: string[], velocity: object}} */
function tick() {
  nowS += TICK_S;
  // The right stick's other axis, which nothing is driven by.
  if (trembling && Array.isArray(list)) for (const pad of list) if (pad?.axes?.length > 3) pad.axes[3] = (nowS % 1) / 100;
  const actions = drive.poll(nowS);
  return { actions, velocity: drive.velocity(nowS) };
}

function run(seconds) {
  const ticks = Array.from({ length: Math.round(seconds / TICK_S) }, tick);
  return ticks.map(({ velocity }) => velocity);
}

const isZero = ({ forward, left, turn }) => forward === 0 && left === 0 && turn === 0;
const verdict = () => pads.view()?.verdict;

function assertStands(seconds = 0.3) {
  for (const velocity of run(seconds)) assert.deepEqual(velocity, ZERO);
}

/** Let go of everything, hold again, and drive. */
function assertMovesFromNeutral(pad) {
  pad.axes = [0, 0, 0, 0];
  release(pad, L1, R1);
  assertStands();
  press(pad, L1);
  pad.axes[1] = -1;
  tick();
  assert.ok(tick().velocity.forward > 0);
}

function start(options = {}) {
  pads = new Gamepads({ getGamepads: () => list, hasFocus: () => focus, storage: () => null, ...options });
  keys = new HeldKeys();
  speed = new OperatorSpeed();
  speed.set(1);
  drive = new Drive([keys, pads], speed);
}

/** A pad that drives straight ahead. */
function driving() {
  const pad = newPad();
  list = [pad];
  assertMovesFromNeutral(pad);
  return pad;
}

beforeEach(() => {
  list = [];
  focus = true;
  nowS = 100;
  trembling = true;
  start();
});

test('sticks are REP-103 axes, with dead zone and curve', () => {
  const pad = driving();
  const cases = [
    [[0, -1, 0, 0], { ...ZERO, forward: 1 }],
    [[0, 1, 0, 0], { ...ZERO, forward: -1 }],
    [[-1, 0, 0, 0], { ...ZERO, left: 1 }],
    [[1, 0, 0, 0], { ...ZERO, left: -1 }],
    [[0, 0, -1, 0], { ...ZERO, turn: 1.5 }],
    [[0, 0, 1, 0], { ...ZERO, turn: -1.5 }],
    [[0.12, -0.12, 0.12, 1], ZERO],
    [[1.05, 0, 0, 0], { ...ZERO, left: -1 }],
  ];
  for (const [axes, velocity] of cases) {
    pad.axes = [...axes];
    assert.deepEqual(tick().velocity, velocity, String(axes));
  }
  pad.axes = [0, -0.13, 0, 0];
  const slowest = tick().velocity.forward;
  assert.ok(slowest > 0 && slowest < 0.02, `the slowest speed is ${slowest}`);
  assert.equal(drive.device, 'gamepad');
});

for (const [name, button] of [['left', L1], ['right', R1]]) {
  test(`the ${name} shoulder button is held to drive`, () => {
    const pad = newPad();
    list = [pad];
    assertStands();
    assert.equal(verdict(), 'hold');
    press(pad, button);
    pad.axes[1] = -1;
    tick();
    assert.ok(tick().velocity.forward > 0);
    assert.equal(verdict(), 'driving');
    release(pad, button);
    assert.deepEqual(tick().velocity, ZERO);
  });
}

test('a stick alone does nothing, and holding the button then does not start the robot', () => {
  const pad = newPad();
  list = [pad];
  assertStands();
  pad.axes[1] = -1;
  assertStands();
  press(pad, L1);
  assertStands();
  assert.equal(verdict(), 'neutral');
  assertMovesFromNeutral(pad);
});

test('without hold-to-drive a stick drives, and centred is neutral', () => {
  pads.holdToDrive = false;
  const pad = newPad();
  list = [pad];
  assertStands();
  assert.equal(verdict(), 'ready');
  pad.axes[1] = -1;
  tick();
  assert.ok(tick().velocity.forward > 0);
  pads.releaseAll();
  assertStands();
  pad.axes[1] = 0;
  assertStands();
  pad.axes[1] = -1;
  assert.ok(run(0.1).at(-1).forward > 0);
});

test('changing hold-to-drive in motion stops', () => {
  const pad = driving();
  pads.holdToDrive = false;
  assertStands();
  assertMovesFromNeutral(pad);
});

const LOSSES = {
  'the button is released': [(pad) => release(pad, L1), (pad) => press(pad, L1)],
  'unplugged: null': [() => (list = [null]), (pad) => (list = [pad])],
  'unplugged: not connected': [(pad) => (pad.connected = false), (pad) => (pad.connected = true)],
  'unplugged: gone from the array': [() => (list = []), (pad) => (list = [pad])],
  'unplugged: no array': [() => (list = null), (pad) => (list = [pad])],
  'the page loses the focus': [() => (focus = false), () => (focus = true)],
  'released by force': [() => drive.releaseAll(), () => {}],
  'the E-STOP locks': [() => drive.setLock('estop', true), () => drive.setLock('estop', false)],
  'NaN in a stick': [(pad) => (pad.axes[0] = NaN), (pad) => (pad.axes[0] = 0)],
  'a stick beyond its end': [(pad) => (pad.axes[0] = 5), (pad) => (pad.axes[0] = 0)],
  'an axis is missing': [(pad) => (pad.axes = [0, -1]), (pad) => (pad.axes = [0, -1, 0, 0])],
  'no axes': [(pad) => (pad.axes = undefined), (pad) => (pad.axes = [0, -1, 0, 0])],
  'no buttons': [(pad) => (pad.buttons = null), (pad) => Object.assign(pad, { buttons: held().buttons })],
  'another mapping': [(pad) => (pad.mapping = ''), (pad) => (pad.mapping = 'standard')],
  'another name': [(pad) => (pad.id = 'Another'), (pad) => (pad.id = 'Test pad')],
  'the browser refuses': [
    () => (list = { [Symbol.iterator]: () => assert.fail('refused') }),
    (pad) => (list = [pad]),
  ],
};

function held() {
  const pad = newPad();
  press(pad, L1);
  return pad;
}

for (const [name, [lose, restore]] of Object.entries(LOSSES)) {
  test(`${name}: zero within one tick, then neutral first`, () => {
    const pad = driving();
    lose(pad);
    assert.deepEqual(tick().velocity, ZERO);
    assertStands();
    restore(pad);
    assertStands(1);
    assertMovesFromNeutral(pad);
  });
}

test('a pad whose values stand still while it drives is dead, whatever its timestamp says', () => {
  const pad = driving();
  trembling = false;
  const velocities = [];
  for (let i = 0; i < (STILL_S + 1) / TICK_S; i += 1) {
    pad.timestamp += 20;
    velocities.push(tick().velocity);
  }
  const moved = velocities.filter((velocity) => !isZero(velocity)).length * TICK_S;
  assert.ok(moved > STILL_S - 0.1 && moved < STILL_S + 0.1, `it moved for ${moved} s`);
  assert.deepEqual(velocities.at(-1), ZERO);
  assert.equal(verdict(), 'still');
  // Alive again, but its driver has not let go.
  trembling = true;
  assertStands(1);
  assertMovesFromNeutral(pad);
});

test('the time without a change can be set; a pad that rests may be still for ever', () => {
  start({ stillS: 1 });
  const pad = newPad();
  list = [pad];
  trembling = false;
  assertStands(30);
  press(pad, L1);
  pad.axes[1] = -1;
  assert.ok(!isZero(run(0.9).at(-1)));
  assert.ok(isZero(run(0.3).at(-1)));
});

test('the pad that was touched last drives, after neutral', () => {
  const one = driving();
  const other = newPad({ index: 1, id: 'Other' });
  list = [one, other];
  tick();
  assert.equal(verdict(), 'driving', 'a pad that lies there changes nothing');
  press(other, A);
  assert.deepEqual(tick().velocity, ZERO);
  assertStands();
  assert.equal(pads.view().name, 'Other');
  release(other, A);
  assertMovesFromNeutral(other);
  // The first one is still held; only a new touch takes over, and it must be let go, too.
  press(one, R1);
  assert.deepEqual(tick().velocity, ZERO);
  assertStands();
  assertMovesFromNeutral(one);
});

test('drift is no touch', () => {
  const one = driving();
  const other = newPad({ index: 1, axes: [0.2, 0.1, 0, 0] });
  list = [one, other];
  for (let i = 0; i < 50; i += 1) {
    other.axes[0] = 0.2 * Math.sin(i);
    assert.ok(tick().velocity.forward > 0);
  }
});

test('the pad that drives is gone: the other one takes over from neutral', () => {
  driving();
  const other = newPad({ index: 1, axes: [0, -1, 0, 0] });
  press(other, L1);
  list = [null, other];
  assert.deepEqual(tick().velocity, ZERO);
  assertStands();
  assertMovesFromNeutral(other);
});

test('two pads with one name and one place are one', () => {
  const pad = driving();
  list = [pad, newPad()];
  assert.deepEqual(tick().velocity, ZERO, 'the one that is seen last counts');
});

test('each button acts once per press', () => {
  const pad = newPad();
  list = [pad];
  tick();
  for (const [button, action] of [[B, 'estop'], [Y, 'camera'], [UP, 'faster'], [DOWN, 'slower']]) {
    press(pad, button);
    assert.deepEqual(tick().actions, [action]);
    assert.deepEqual(tick().actions, []);
    release(pad, button);
    assert.deepEqual(tick().actions, []);
    press(pad, button);
    assert.deepEqual(tick().actions, [action]);
    release(pad, button);
  }
});

test('an E-STOP press acts without the hold button, without the focus, and on every pad', () => {
  const one = driving();
  const other = newPad({ index: 1, axes: [NaN, NaN] });
  list = [one, other];
  tick();
  focus = false;
  press(other, B, Y, UP);
  assert.deepEqual(tick().actions, ['estop']);
  // A pad shows itself to the page by its first press, which may be this one.
  const third = newPad({ index: 2 });
  press(third, B);
  list.push(third);
  assert.deepEqual(tick().actions, ['estop']);
});

test('joy: order, signs and dead zone of the ROS driver', () => {
  const pad = driving();
  pad.axes = [0.5, -1, 1, 0];
  pad.buttons[6] = { pressed: true, value: 0.5 };
  press(pad, A, Y, 8, 9, 12);
  trembling = false;
  tick();
  const { axes, buttons } = pads.joy();
  const half = (0.5 - 0.05) / 0.95;
  assert.deepEqual(axes.map((it) => Math.round(it * 1e6) / 1e6), [-half, 1, -1, 0, -half, 0]
    .map((it) => Math.round(it * 1e6) / 1e6));
  // a b x y back guide start l3 r3 l1 r1 up down left right
  assert.deepEqual(buttons, [1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0]);
  assert.ok([...axes, ...buttons].every((it) => !Object.is(it, -0)));
  release(pad, L1);
  tick();
  assert.deepEqual(pads.joy(), { axes: Array(6).fill(0), buttons: Array(15).fill(0) }, 'no hand on it');
  focus = false;
  tick();
  assert.equal(pads.joy(), null);
  focus = true;
  list = [];
  tick();
  assert.equal(pads.joy(), null);
});

test('it lets the hand feel an E-STOP and a lost link, where it can', async () => {
  const played = [];
  const pad = driving();
  pad.vibrationActuator = { playEffect: async (...effect) => played.push(effect) };
  pads.feel('estop');
  pads.feel('link');
  assert.deepEqual(played.map(([type]) => type), ['dual-rumble', 'dual-rumble']);
  delete pad.vibrationActuator;
  pad.hapticActuators = [{ pulse: (...pulse) => played.push(pulse) }];
  pads.feel('estop');
  assert.deepEqual(played.at(-1), [1, 400]);
  for (const broken of [
    { vibrationActuator: { playEffect: () => Promise.reject(new Error('no')) }, hapticActuators: null },
    { vibrationActuator: { playEffect: () => assert.fail('no') } },
    { vibrationActuator: null, hapticActuators: [null] },
  ]) {
    Object.assign(pad, broken);
    pads.feel('estop');
  }
  list = [];
  tick();
  pads.feel('estop');
  await Promise.resolve();
});

test('an unmapped pad never drives, until it is learned', () => {
  const pad = newPad({ mapping: '' });
  list = [pad];
  assertStands();
  press(pad, L1, B);
  pad.axes = [0, -1, 0, 0];
  assertStands();
  assert.equal(verdict(), 'unmapped');
  release(pad, L1, B);
  pad.axes = [0, 0, 0, 0];
  trembling = false;
  pads.learn();
  tick();
  assert.equal(verdict(), 'learning');
  const push = (axis, value) => {
    tick();
    pad.axes[axis] = value;
    tick();
    pad.axes[axis] = 0;
    tick();
  };
  const click = (button) => {
    tick();
    press(pad, button);
    tick();
    release(pad, button);
    tick();
  };
  const results = [];
  pads.onResult = (result) => results.push(result);
  const learner = () => pads.view().learner;
  push(2, 1); // forward
  learner().skip();
  push(0, -1); // turn left
  learner().skip();
  click(7);
  click(2);
  for (let i = 0; i < 5; i += 1) learner().skip();
  tick();
  assert.deepEqual(results, ['learned']);
  trembling = true;
  assertStands();
  press(pad, 7);
  pad.axes[2] = 0.999;
  tick();
  const { forward, left } = tick().velocity;
  assert.ok(forward > 0.99 && left === 0);
  press(pad, 2);
  assert.deepEqual(tick().actions, ['estop']);
});

test('calibration: a stick that rests off its centre drives only afterwards', () => {
  const pad = newPad({ axes: [0.05, 0.2, -0.1, 0] });
  list = [pad];
  assertStands();
  assert.equal(verdict(), 'neutral');
  const results = [];
  pads.onResult = (result) => results.push(result);
  pads.calibrate(nowS);
  tick();
  assert.equal(verdict(), 'calibrating');
  assertStands(2.2);
  assert.deepEqual(results, ['calibrated']);
  assert.equal(verdict(), 'hold');
  press(pad, L1);
  assertStands();
  pad.axes[1] = 1;
  assert.ok(tick().velocity.forward < -0.99, 'the ends are still reached');
  pad.axes[1] = -1;
  assert.ok(tick().velocity.forward > 0.99);
});

test('calibration in motion stops, and a lost pad ends it', () => {
  driving();
  const results = [];
  pads.onResult = (result) => results.push(result);
  pads.calibrate(nowS);
  assert.deepEqual(tick().velocity, ZERO);
  list = [];
  tick();
  assert.deepEqual(results, ['gone']);
  pads.calibrate(nowS);
  pads.learn();
  tick();
});

test('the keyboard takes over from a held pad, after neutral', () => {
  const pad = driving();
  keys.press('KeyS');
  assert.deepEqual(tick().velocity, ZERO);
  assertStands();
  keys.releaseAll();
  assertMovesFromNeutral(pad);
});

// --- whatever comes ----------------------------------------------------------------------------

/** Small and repeatable. */
function random(seed) {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

const HOSTILE = [
  NaN, Infinity, -Infinity, null, undefined, '1', {}, [], true, -0, 1e300, 2n, () => 1, Symbol('no'),
];

test('hostile pads: nothing throws, nothing moves', () => {
  const trap = new Proxy({}, { get: () => assert.fail('a trap') });
  const lists = [
    ...HOSTILE, ...HOSTILE.map((it) => [it]), [trap], [newPad({ id: trap })],
    [newPad({ axes: { length: 1e9 } })], [newPad({ buttons: { length: 1e9, 4: { pressed: true } } })],
    [newPad({ axes: 'drive', buttons: 'press' })], [newPad({ index: trap, id: 'x'.repeat(1e6) })],
    Array.from({ length: 5000 }, () => held()),
    ...HOSTILE.map((it) => [newPad({ axes: Array(4).fill(it), buttons: Array(5000).fill(it) })]),
    ...HOSTILE.map((it) => [newPad({ buttons: Array(17).fill({ pressed: it, value: it }) })]),
    ...HOSTILE.map((it) => [newPad({ connected: it === true ? 1 : it })]),
    ...HOSTILE.map((it) => [Object.assign(held(), { axes: [0, -1, 0, 0], mapping: it })]),
  ];
  for (const hostile of lists) {
    list = hostile;
    trembling = false;
    assertStands(0.1);
    pads.view();
    pads.feel('estop');
    pads.joy();
  }
});

test('random pads: no motion without a live hand that began in neutral', () => {
  let moves = 0;
  for (let seed = 1; seed <= 60; seed += 1) {
    const next = random(seed);
    const pick = (...choices) => choices[Math.floor(next() * choices.length)];
    focus = true;
    start({ stillS: 1 });
    const both = [newPad(), newPad({ index: 1, id: 'Other', mapping: pick('standard', '') })];
    list = both;
    trembling = true;
    /** By hand, and apart from the code: the pads on which neutral was seen since the hand was lost. */
    let neutral = new Set();
    for (let i = 0; i < 400; i += 1) {
      const pad = pick(...both);
      const change = pick('stick', 'stick', 'hold', 'hold', 'centre', 'centre', 'none', 'none', 'bad', 'gone', 'focus', 'force');
      if (change === 'stick') pad.axes[pick(0, 1, 2)] = next() * 2 - 1;
      else if (change === 'hold') pick(press, release)(pad, pick(L1, R1));
      else if (change === 'centre') {
        pad.axes = [0, 0, 0, 0];
        if (next() < 0.7) release(pad, L1, R1);
      } else if (change === 'bad') pad.axes[pick(0, 1, 2)] = pick(NaN, undefined, 'x');
      else if (change === 'gone') list = pick(both, [both[0], null], [null, both[1]], []);
      else if (change === 'focus') focus = next() < 0.8;
      else if (change === 'force') {
        drive.releaseAll();
        neutral = new Set();
      }
      const { velocity } = tick();
      for (const it of both) {
        const isLive =
          focus && list.includes(it) && it.mapping === 'standard' &&
          it.axes.slice(0, 3).every((value) => Number.isFinite(value));
        const isHeld = [L1, R1].some((number) => it.buttons[number].pressed);
        const isCentred = it.axes.slice(0, 3).every((value) => Math.abs(value) <= 0.12);
        if (!isLive) neutral.delete(it);
        else if (!isHeld) {
          if (isCentred) neutral.add(it);
          else neutral.delete(it);
        }
        it.mayMove = isLive && isHeld && neutral.has(it);
      }
      if (isZero(velocity)) continue;
      moves += 1;
      assert.ok(both.some((it) => it.mayMove), `seed ${seed}, tick ${i}: ${change}`);
    }
  }
  assert.ok(moves > 100, `only ${moves} ticks moved: the test shows nothing`);
});
