// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { Calibration, isPressed, Learner, LESSONS, MAX_INPUTS, PadMemory, STANDARD, snapshot, valueOf } =
  await load('input/gamepad_mapping.js');

const REST = { axes: [0, 0, 0, 0, -1, -1, 1.28], buttons: Array(12).fill(0) };
const TICK_S = 0.02;

/** A state with some axes and buttons set. */
function state(axes = {}, ...buttons) {
  const changed = { axes: [...REST.axes], buttons: [...REST.buttons] };
  for (const [axis, value] of Object.entries(axes)) changed.axes[axis] = value;
  for (const button of buttons) changed.buttons[button] = 1;
  return changed;
}

/** Show a learner a movement, from rest to rest. */
function teach(learner, ...states) {
  for (const seen of [REST, REST, ...states, REST]) learner.add(seen);
}

test('a snapshot is a copy, and what is no number is NaN', () => {
  const pad = {
    axes: [0.5, 'x', undefined, Infinity],
    buttons: [{ value: 0.4, pressed: false }, { pressed: true }, { pressed: true, value: 0 }, null, 0.7, { value: 99 }],
  };
  const seen = snapshot(pad);
  pad.axes[0] = 1;
  assert.deepEqual(seen, { axes: [0.5, NaN, NaN, NaN], buttons: [0.4, 1, 1, NaN, 0.7, NaN] });
  assert.deepEqual(snapshot(null), { axes: [], buttons: [] });
  assert.equal(snapshot({ axes: Array(9000).fill(0), buttons: [] }).axes.length, MAX_INPUTS);
});

test('drift is taken off, and both ends are still reached', () => {
  const value = (raw) => valueOf({ axes: [raw], buttons: [] }, STANDARD, 'leftX', [0.2]);
  assert.equal(value(0.2), 0);
  assert.equal(value(1), 1);
  assert.equal(value(-1), -1);
  assert.ok(value(0.6) > 0.49 && value(0.6) < 0.51);
  assert.ok(Number.isNaN(value(NaN)) && Number.isNaN(value(1.5)));
});

for (const [name, seen, result] of [
  ['at rest', () => state({ 0: 0.125, 3: -0.25 }), { drift: [0.125, 0, 0, -0.25] }],
  ['with noise', (i) => state({ 0: 0.1 + 0.01 * (i % 2) }), null],
  ['moved', (i) => state({ 2: i / 100 }), { failure: 'moved' }],
  ['held', () => state({ 1: -0.31 }), { failure: 'far' }],
  ['silent', () => ({ axes: [], buttons: [] }), { failure: 'silent' }],
  ['once NaN', (i) => state({ 0: i === 50 ? NaN : 0 }), { failure: 'silent' }],
]) {
  test(`calibration: ${name}`, () => {
    const calibration = new Calibration(STANDARD, 10);
    let got = null;
    let i = 0;
    for (; got === null; i += 1) got = calibration.add(seen(i), 10 + i * TICK_S);
    assert.ok(i * TICK_S >= 2);
    if (result) assert.deepEqual(got, result);
    else assert.ok(got.drift[0] > 0.1 && got.drift[0] < 0.11);
  });
}

test('a pad is learned step by step, also with an inverted stick and a trigger that is an axis', () => {
  const learner = new Learner();
  const asked = [];
  const lesson = (...states) => {
    asked.push(learner.lesson.control);
    teach(learner, ...states);
  };
  lesson(state({ 1: 0.7 }), state({ 1: 1 }), state({ 1: 0.5 }));
  lesson(state({ 0: -0.8 }));
  lesson(state({ 3: -1, 2: 0.3 }));
  lesson(state({ 2: -1 }));
  lesson(state({}, 6));
  lesson(state({}, 1));
  lesson(state({}, 3));
  lesson(state({}, 8));
  lesson(state({}, 9));
  lesson(state({ 4: 0.2 }), state({ 4: 1 }));
  assert.equal(learner.mapping, null);
  lesson(state({ 5: 1 }));
  assert.deepEqual(asked, LESSONS.map(({ control }) => control));
  const { mapping } = learner;
  assert.equal(valueOf(state({ 1: 1 }), mapping, 'leftY'), -1, 'forward is up');
  assert.equal(valueOf(state({ 3: -1 }), mapping, 'rightX'), -1);
  assert.equal(valueOf(REST, mapping, 'leftTrigger'), 0);
  assert.equal(valueOf(state({ 4: 1 }), mapping, 'leftTrigger'), 1);
  assert.ok(isPressed(state({}, 1), mapping, 'b') && !isPressed(state({}, 6), mapping, 'b'));
  learner.add(state({ 0: 1 }));
});

test('learning: one control has one meaning, and everything is let go between two', () => {
  const learner = new Learner();
  teach(learner, state({ 1: -1 }));
  teach(learner, state({ 1: -1 }));
  assert.equal(learner.lesson.control, 'leftX', 'the same stick again is no answer');
  learner.skip();
  teach(learner, state({ 2: -1 }));
  learner.skip();
  assert.equal(learner.lesson.control, 'leftShoulder');
  teach(learner, state({}, 4));
  learner.add(state({}, 4));
  assert.equal(learner.lesson.control, 'b');
  learner.add(state({}, 4));
  learner.skip();
  assert.equal(learner.lesson.control, 'b', 'there must be an E-STOP');
  teach(learner, state({}, 5));
  assert.equal(learner.lesson.control, 'y');
  learner.redo();
  assert.equal(learner.lesson.control, 'leftY');
  assert.equal(learner.waits, true);
});

test('learning: a stick that is held at the start, a hat and NaN are not learned', () => {
  const learner = new Learner();
  const heldForward = state({ 1: -1 });
  learner.add(heldForward);
  learner.add(heldForward);
  learner.add(REST);
  learner.add(heldForward);
  assert.equal(learner.lesson.control, 'leftY');
  learner.redo();
  teach(learner, state({ 6: -1 }));
  teach(learner, state({ 0: NaN }));
  learner.add({ axes: [], buttons: [] });
  assert.equal(learner.lesson.control, 'leftY');
});

test('learning: a flick to the other side does not turn a stick round', () => {
  const learner = new Learner();
  teach(learner, state({ 1: -0.9 }), state({ 1: 1 }));
  teach(learner, state({ 0: -1 }));
  teach(learner, state({ 2: -1 }));
  learner.skip();
  teach(learner, state({}, 4));
  teach(learner, state({}, 1));
  for (let i = 0; i < 5; i += 1) learner.skip();
  assert.equal(valueOf(state({ 1: -1 }), learner.mapping, 'leftY'), -1);
});

// --- remembering -------------------------------------------------------------------------------

class FakeStorage {
  items = new Map();
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, text) {
    this.items.set(key, text);
  }
}

const stick = (axis) => ({ axis, rest: 0, full: 1 });
const MAPPING = {
  leftY: stick(1), rightX: stick(2), leftShoulder: { button: 4 }, b: { button: 1 },
  leftTrigger: { axis: 4, rest: -1, full: 1 },
};
const NOTHING = { drift: [], mapping: null };

test('what is remembered is there in the next page, by the name of the pad', () => {
  const storage = new FakeStorage();
  const memory = new PadMemory(() => storage);
  assert.deepEqual(memory.get('a'), NOTHING);
  memory.set('a', { mapping: MAPPING });
  memory.set('a', { drift: [0.1, -0.3] });
  const next = new PadMemory(() => storage);
  assert.deepEqual(next.get('a'), { drift: [0.1, -0.3], mapping: MAPPING });
  assert.deepEqual(next.get('b'), NOTHING);
});

const { b: _, ...WITHOUT_STOP } = MAPPING;
for (const stored of [
  '', 'null', '[]', '5', '{', '"x"', '{"drift":"x","mapping":"y"}', 'x'.repeat(5000),
  ...[[0.31], [null], ['0'], Array(65).fill(0), { 0: 0.1 }].map((drift) => JSON.stringify({ drift })),
  ...[
    [], {}, WITHOUT_STOP,
    { ...MAPPING, b: { button: 4 } },
    { ...MAPPING, b: { button: -1 } },
    { ...MAPPING, b: { button: 1.5 } },
    { ...MAPPING, b: { button: 64 } },
    { ...MAPPING, b: null },
    { ...MAPPING, b: { button: 1, axis: 3, rest: 0, full: 1 } },
    { ...MAPPING, leftY: { axis: 1, rest: 0, full: 0.001 } },
    { ...MAPPING, leftY: { axis: 1, rest: -1, full: 1 } },
    { ...MAPPING, leftY: { button: 9 } },
    { ...MAPPING, leftX: stick(1) },
    { ...MAPPING, leftTrigger: { axis: 4, rest: 0, full: 0.1 } },
    { ...MAPPING, leftTrigger: { axis: 4, rest: 0, full: 1e9 } },
    { ...MAPPING, fire: { button: 9 } },
  ].map((mapping) => JSON.stringify({ mapping })),
]) {
  test(`stored by somebody else: ${stored.slice(0, 90)}`, () => {
    const storage = new FakeStorage();
    storage.setItem('gamepad:a', stored);
    assert.deepEqual(new PadMemory(() => storage).get('a'), NOTHING);
  });
}

for (const [name, storage] of Object.entries({
  'there is none': () => null,
  'it is forbidden': () => assert.fail('SecurityError'),
  'it is full': () => ({ getItem: () => null, setItem: () => assert.fail('QuotaExceededError') }),
})) {
  test(`the storage: ${name}`, () => {
    const memory = new PadMemory(storage);
    memory.set('a', { drift: [0.1] });
    assert.deepEqual(memory.get('a'), { drift: [0.1], mapping: null });
  });
}
