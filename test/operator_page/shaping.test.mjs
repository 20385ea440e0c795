// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { shaped, STICK_DEAD_ZONE } = await load('input/shaping.js');

test('nothing inside the dead zone, from zero just beyond it, all at the rim', () => {
  const response = { deadZone: STICK_DEAD_ZONE };
  assert.ok(STICK_DEAD_ZONE >= 0.12);
  for (const drift of [0, 0.05, -0.119, 0.12]) assert.equal(shaped(drift, response), 0);
  assert.ok(shaped(0.13, response) < 0.02);
  assert.equal(shaped(1, response), 1);
  assert.equal(shaped(-1, response), -1);
  assert.equal(shaped(7, response), 1);
});

test('what is not a number is nothing', () => {
  for (const value of [NaN, undefined, null]) assert.equal(shaped(value, { deadZone: 0.1 }), 0);
});

test('the curve rises, keeps its ends and is flatter near the centre', () => {
  const response = { deadZone: 0.12, expo: 0.4 };
  let before = 0;
  for (let value = 0.13; value <= 1; value += 0.01) {
    const now = shaped(value, response);
    assert.ok(now >= before);
    assert.equal(shaped(-value, response), -now);
    assert.ok(now <= shaped(value, { deadZone: 0.12 }) + 1e-12);
    before = now;
  }
  assert.equal(shaped(1, response), 1);
});
