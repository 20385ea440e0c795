// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { CameraChoice } = await load('cameras.js');

const THREE = ['front', 'rear', 'arm'];
let sent;
let choice;

beforeEach(() => {
  sent = [];
  choice = new CameraChoice({ send: (cams) => sent.push(cams) });
});

/** The robot tells what it has and shows. */
function tell(cameras, selected, nowS = 0) {
  choice.onTelemetry({ cameras, selected }, nowS);
}

test('a robot that tells no cameras offers none', () => {
  for (const state of [{}, { cameras: 'front' }, { cameras: null, selected: [] }]) {
    choice.onTelemetry(state, 0);
    choice.pressNumber(1, 0);
    choice.press('front', 0);
    assert.deepEqual([choice.names, choice.selected(0), sent], [[], [], []]);
  }
});

test('one camera is no choice: its number asks for nothing', () => {
  tell(['image'], ['image']);
  choice.pressNumber(1, 0);
  assert.deepEqual(sent, []);
});

test('what cannot be a name is left out', () => {
  tell(['front', 7, '', null, 'front', 'rear', ...Array(30).keys()], ['rear', 'ceiling']);
  assert.deepEqual(choice.names, ['front', 'rear']);
  assert.deepEqual(choice.selected(0), ['rear']);
});

test('a press shows one alone, at once, and the robot confirms it', () => {
  tell(THREE, ['front']);
  choice.press('rear', 1);
  assert.deepEqual(sent, [['rear']]);
  assert.deepEqual(choice.selected(1), ['rear']);
  tell(THREE, ['front'], 1.1);
  assert.deepEqual(choice.selected(1.1), ['rear'], 'what was under way before');
  tell(THREE, ['rear'], 1.3);
  tell(THREE, ['front'], 1.6);
  assert.deepEqual(choice.selected(1.6), ['front'], 'somebody else, or the robot');
});

test('a wish that the robot does not grant is forgotten', () => {
  tell(THREE, ['front']);
  choice.press('rear', 1);
  tell(THREE, ['front'], 3.5);
  assert.deepEqual(choice.selected(3.5), ['front']);
});

test('side by side, cameras are added and taken away, in the order of the robot', () => {
  tell(THREE, ['rear']);
  choice.toggleSeveral(0);
  assert.deepEqual([choice.several, sent], [true, []], 'which ones is the next press');
  choice.press('arm', 0);
  choice.press('front', 0);
  assert.deepEqual(sent, [['rear', 'arm'], ['front', 'rear', 'arm']]);
  choice.press('rear', 0);
  assert.deepEqual(choice.selected(0), ['front', 'arm']);
  choice.press('front', 0);
  choice.press('arm', 0);
  assert.deepEqual(choice.selected(0), ['arm'], 'the last one stays');
});

test('with two cameras, side by side is both, and off again the left one', () => {
  tell(['front', 'rear'], ['rear']);
  choice.toggleSeveral(0);
  assert.deepEqual(sent.at(-1), ['front', 'rear']);
  tell(['front', 'rear'], ['front', 'rear'], 0.2);
  assert.equal(choice.several, true);
  choice.toggleSeveral(0.3);
  assert.deepEqual(sent.at(-1), ['front']);
  tell(['front', 'rear'], ['front', 'rear'], 0.4);
  tell(['front', 'rear'], ['front'], 0.6);
  assert.equal(choice.several, false);
});

test('of two that are side by side, a press shows that one alone', () => {
  tell(['front', 'rear'], ['front', 'rear']);
  choice.press('front', 0);
  assert.deepEqual(sent, [['front']]);
  choice.press('rear', 0, { add: true });
  assert.deepEqual(sent.at(-1), ['front', 'rear']);
});

test('switched off, side by side stays off', () => {
  tell(THREE, ['front', 'arm']);
  choice.toggleSeveral(0);
  tell(THREE, ['front', 'arm'], 0.1);
  tell(THREE, ['front'], 0.3);
  assert.equal(choice.several, false);
});

test('a number is a press, with add: side by side without the switch', () => {
  tell(THREE, ['front']);
  choice.pressNumber(2, 0);
  choice.pressNumber(3, 0, { add: true });
  choice.pressNumber(4, 0);
  choice.pressNumber(9, 0);
  assert.deepEqual(sent, [['rear'], ['rear', 'arm']]);
});

test('another robot has cameras of its own', () => {
  tell(THREE, ['front', 'rear']);
  choice.press('arm', 0);
  choice.clear();
  assert.deepEqual([choice.names, choice.selected(0), choice.several], [[], [], false]);
});

test('the next camera follows the one shown, and the first one the last', () => {
  const sent = [];
  const choice = new CameraChoice({ send: (cams) => sent.push(cams) });
  choice.next(0);
  choice.onTelemetry({ cameras: ['front', 'rear'], selected: ['front'] }, 0);
  choice.next(1);
  choice.next(2);
  assert.deepEqual(sent, [['rear'], ['front']]);
});

test('stereo: the robot says which two are a pair, and that it shows these two', () => {
  const stereo = ['front', 'rear'];
  for (const [selected, pair, expected] of [
    [['front', 'rear'], stereo, true],
    [['rear', 'front'], stereo, false],
    [['front'], stereo, false],
    [THREE, stereo, false],
    [['front', 'rear'], undefined, false],
    [['front', 'rear'], 'front rear', false],
    [['front'], ['front'], false],
  ]) {
    choice.onTelemetry({ cameras: THREE, selected, stereo: pair }, 0);
    assert.equal(choice.isStereo, expected, `${selected} of ${pair}`);
  }
  choice.onTelemetry({ cameras: THREE, selected: stereo, stereo }, 0);
  choice.clear();
  assert.equal(choice.isStereo, false);
});
