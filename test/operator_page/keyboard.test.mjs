// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { HeldKeys, attachKeyboard } = await load('input/keyboard.js');
const { padVector } = await load('input/touch_pad.js');

let target;
let keys;
let calls;
let active;

beforeEach(() => {
  target = new EventTarget();
  keys = new HeldKeys();
  calls = { change: 0, estop: 0, lost: 0, actions: [], numbers: [] };
  active = true;
  attachKeyboard({
    target,
    keys,
    isActive: () => active,
    onChange: () => (calls.change += 1),
    onEstop: () => (calls.estop += 1),
    onAction: (action) => calls.actions.push(action),
    onNumber: (number, options) => calls.numbers.push([number, options]),
    onLost: () => (calls.lost += 1),
  });
});

/** Dispatch a key event; `on` is a selector fragment that the focused element matches. */
function key(type, code, { on = null, ...fields } = {}) {
  const event = Object.assign(new Event(type, { cancelable: true }), { code, ...fields });
  if (on) {
    const element = { matches: (selector) => selector.split(', ').includes(on) };
    Object.defineProperty(event, 'target', { value: element });
  }
  target.dispatchEvent(event);
  return event;
}

test('a key drives while it is down', () => {
  assert.equal(key('keydown', 'KeyW').defaultPrevented, true);
  assert.equal(keys.isHeld, true);
  key('keyup', 'KeyW');
  assert.equal(keys.isHeld, false);
  assert.equal(calls.change, 2);
});

test('auto-repeat is no press: what was let go by force stays so', () => {
  key('keydown', 'KeyW');
  keys.releaseAll();
  key('keydown', 'KeyW', { repeat: true });
  assert.equal(keys.isHeld, false);
});

for (const modifier of ['ctrlKey', 'altKey', 'metaKey']) {
  test(`${modifier}: motion is left to the browser, but a release counts`, () => {
    key('keydown', 'KeyW');
    assert.equal(key('keydown', 'KeyS', { [modifier]: true }).defaultPrevented, false);
    key('keyup', 'KeyW', { [modifier]: true });
    assert.equal(keys.isHeld, false);
  });
}

const STOPS = {
  'Space alone': {},
  'with Shift': { shiftKey: true },
  'with Ctrl': { ctrlKey: true },
  'with Alt': { altKey: true },
  'with AltGr': { ctrlKey: true, altKey: true },
  'with Cmd': { metaKey: true },
  'with all of them': { ctrlKey: true, altKey: true, metaKey: true, shiftKey: true },
  'a no-break space of Option or BÉPO': { key: '\u00a0' },
  'an ideographic space': { key: '\u3000' },
  'composing': { key: 'Process', isComposing: true, keyCode: 229 },
  'of a keyboard without codes': { code: '', key: ' ' },
  'of an old browser': { code: undefined, key: 'Spacebar' },
  'its number alone': { code: 'Unidentified', key: 'Unidentified', keyCode: 32 },
  'auto-repeat whose press nobody has seen': { repeat: true },
  'on a button': { on: 'button' },
  'on the slider': { on: 'input[type=range]' },
  'on a list of choices': { on: 'select' },
};
for (const [how, { code = 'Space', ...fields }] of Object.entries(STOPS)) {
  test(`the stop: ${how}`, () => {
    assert.equal(key('keydown', code, { key: ' ', ...fields }).defaultPrevented, true);
    assert.equal(calls.estop, 1);
  });
}

test('Space stops once a press, whatever has the focus, and clicks no button', () => {
  assert.equal(key('keydown', 'Space', { on: 'button' }).defaultPrevented, true);
  key('keydown', 'Space', { repeat: true });
  assert.equal(key('keyup', 'Space').defaultPrevented, true);
  assert.equal(calls.estop, 1);
  key('keydown', 'Space');
  assert.equal(calls.estop, 2);
});

test('a press that somebody kept for themselves counts when it ends', () => {
  key('keyup', 'Space');
  assert.equal(calls.estop, 1);
});

test('a press whose end went elsewhere does not hide the next one', () => {
  key('keydown', 'Space');
  target.dispatchEvent(new Event('blur'));
  key('keydown', 'Space', { repeat: true });
  assert.equal(calls.estop, 2);
});

test('no other listener keeps the stop from us', () => {
  // The window's capturing listeners come first, whatever others do with the event.
  const phases = [];
  const addEventListener = (type, _listener, options) => phases.push([type, options?.capture]);
  attachKeyboard({ target: { addEventListener } });
  for (const type of ['keydown', 'keyup']) {
    assert.deepEqual(phases.filter(([of]) => of === type), [[type, true]]);
  }
  const event = Object.assign(new Event('keydown', { cancelable: true }), { code: 'Space' });
  event.preventDefault();
  target.dispatchEvent(event);
  assert.equal(calls.estop, 1);
});

test('a box to tick, or a field that takes no text, is no text field', () => {
  for (const kind of ['input[type=checkbox]', 'input[type=submit]', ':read-only', ':disabled']) {
    const matches = (selector) => {
      const known = selector.split(', ');
      return known.includes('input:not([type=range])') || known.includes(kind);
    };
    const event = Object.assign(new Event('keydown', { cancelable: true }), { code: 'Space' });
    Object.defineProperty(event, 'target', { value: { matches } });
    target.dispatchEvent(event);
  }
  assert.equal(calls.estop, 4);
});

test('whoever begins to type lets go', () => {
  const event = new Event('focusin');
  Object.defineProperty(event, 'target', { value: { matches: (it) => it.startsWith('input:not') } });
  target.dispatchEvent(event);
  assert.equal(calls.lost, 1);
});

test('text fields keep their keys', () => {
  for (const code of ['KeyW', 'Space']) {
    const event = key('keydown', code, { on: 'input:not([type=range])' });
    assert.equal(event.defaultPrevented, false);
  }
  assert.equal(keys.isHeld, false);
  assert.equal(calls.estop, 0);
});

test('a focused slider keeps its arrows, not the letters', () => {
  key('keydown', 'ArrowUp', { on: 'input[type=range]' });
  assert.equal(keys.isHeld, false);
  key('keydown', 'KeyW', { on: 'input[type=range]' });
  assert.equal(keys.isHeld, true);
});

test('without a robot the keys are the page’s', () => {
  active = false;
  assert.equal(key('keydown', 'Space').defaultPrevented, false);
  key('keydown', 'KeyW');
  assert.equal(keys.isHeld, false);
  assert.equal(calls.estop, 0);
});

test('modifiers and the context menu let go: key releases get lost behind them', () => {
  const names = [
    ['MetaLeft', 'Meta'], ['OSRight', 'OS'], ['', 'Meta'], ['ControlLeft', 'Control'],
    ['AltLeft', 'Alt'], ['AltRight', 'AltGraph'],
  ];
  for (const [code, name] of names) key('keydown', code, { key: name });
  target.dispatchEvent(new Event('contextmenu'));
  assert.equal(calls.lost, 7);
  // Also when they come up: what was released meanwhile is not known.
  key('keyup', 'MetaLeft', { key: 'Meta' });
  key('keyup', '', { key: 'w' });
  assert.equal(calls.lost, 9);
  key('keydown', 'ShiftLeft', { key: 'Shift' });
  key('keyup', 'ShiftLeft', { key: 'Shift' });
  key('keydown', 'CapsLock', { key: 'CapsLock' });
  assert.equal(calls.lost, 9);
});

test('the pad: centre, rim, beyond the rim, and a pad without size', () => {
  const box = { left: 100, top: 50, width: 200, height: 200 };
  assert.deepEqual(padVector(box, 200, 150), { x: 0, y: 0 });
  assert.deepEqual(padVector(box, 200, 50), { x: 0, y: 1 });
  assert.deepEqual(padVector(box, 1200, 150), { x: 1, y: 0 });
  assert.deepEqual(padVector({ ...box, width: 0 }, 1, 1), { x: 0, y: 0 });
});

test('digits choose a camera, with Shift one more, and none while typing or with Ctrl', () => {
  key('keydown', 'Digit2');
  key('keydown', 'Numpad3');
  key('keydown', 'Digit1', { shiftKey: true });
  assert.deepEqual(calls.numbers, [[2, {}], [3, {}], [1, { add: true }]]);
  key('keydown', 'Digit2', { repeat: true });
  key('keydown', 'Digit2', { ctrlKey: true });
  key('keydown', 'Digit0');
  key('keydown', 'Digit2', { on: 'textarea' });
  active = false;
  key('keydown', 'Digit2');
  assert.equal(calls.numbers.length, 3);
  assert.equal(keys.isHeld, false);
});

test('plus and minus change the speed, by their character, once per press', () => {
  key('keydown', 'Equal', { key: '=' });
  key('keydown', 'Equal', { key: '+', shiftKey: true });
  key('keydown', 'BracketRight', { key: '+' });
  key('keydown', 'NumpadAdd', { key: '+' });
  assert.deepEqual(calls.actions, Array(4).fill('faster'));
  calls.actions.length = 0;
  key('keydown', 'Slash', { key: '-' });
  key('keydown', 'Slash', { key: '-', repeat: true });
  key('keydown', 'NumpadSubtract', { key: '-' });
  assert.deepEqual(calls.actions, ['slower', 'slower']);
  // A French keyboard has it there.
  key('keydown', 'Digit6', { key: '-' });
  assert.equal(calls.actions.length, 3);
  assert.deepEqual(calls.numbers, []);
});

test('plus and minus: the zoom, text fields and a page without a robot are left alone', () => {
  key('keydown', 'Equal', { key: '+', ctrlKey: true });
  key('keydown', 'Equal', { key: '+', on: 'input:not([type=range])' });
  active = false;
  key('keydown', 'Equal', { key: '+' });
  assert.deepEqual(calls.actions, []);
});
