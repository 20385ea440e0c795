// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { attachSpeedSlider } = await load('input/speed_slider.js');

let slider;
let speed;
let percent;

beforeEach(() => {
  slider = Object.assign(new EventTarget(), { value: '50', blur() {} });
  percent = 50;
  speed = attachSpeedSlider({ slider, onPercent: (value) => (percent = value) });
});

function slide(value) {
  slider.value = String(value);
  slider.dispatchEvent(new Event('input'));
}

test('a finger, and keys, set the speed', () => {
  slider.dispatchEvent(new Event('pointerdown'));
  slide(70);
  slider.dispatchEvent(new Event('pointerup'));
  assert.equal(percent, 70);
  slide(75);
  assert.equal(percent, 75);
});

test('a finger that stays while the slider moves away below it sets nothing', () => {
  slider.dispatchEvent(new Event('pointerdown'));
  slide(20);
  speed.release();
  slide(100);
  assert.equal(percent, 20);
  assert.equal(slider.value, '20');
  slider.dispatchEvent(new Event('pointercancel'));
  slider.dispatchEvent(new Event('pointerdown'));
  slide(30);
  assert.equal(percent, 30);
});

test('nothing on it: the next touch counts', () => {
  speed.release();
  slide(80);
  assert.equal(percent, 80);
});
