// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { OperatorSpeed, LEVELS } = await load('input/speed.js');

test('it begins slowly, and the levels follow each other', () => {
  const speed = new OperatorSpeed();
  const shares = LEVELS.map(({ share }) => share);
  const seen = [speed.share];
  speed.faster();
  seen.push(speed.share);
  speed.faster();
  seen.push(speed.share);
  speed.faster();
  assert.equal(speed.share, shares.at(-1), 'the fastest one is the end');
  assert.deepEqual(seen, shares);
  speed.slower();
  assert.equal(speed.share, shares[1]);
  speed.reset();
  assert.equal(speed.share, shares[0]);
  speed.slower();
  assert.equal(speed.share, shares[0]);
});

test('between two levels, the next one in each direction follows', () => {
  const speed = new OperatorSpeed();
  speed.set(0.45);
  speed.faster();
  assert.equal(speed.share, 0.6);
  speed.set(0.45);
  speed.slower();
  assert.equal(speed.share, 0.3);
});

test('it only lowers what the robot allows, and what is not a number changes nothing', () => {
  const speed = new OperatorSpeed();
  let changes = 0;
  speed.onChange = () => (changes += 1);
  speed.set(5);
  assert.equal(speed.share, 1);
  speed.set(-1);
  assert.equal(speed.share, 0.1);
  speed.set(NaN);
  assert.equal(speed.share, 0.1);
  assert.equal(changes, 2);
});

test('a share between two levels has the name of the faster one', () => {
  const speed = new OperatorSpeed();
  const names = [0.1, 0.3, 0.31, 0.6, 0.61, 1].map((share) => {
    speed.set(share);
    return speed.level;
  });
  assert.deepEqual(names, ['slow', 'slow', 'normal', 'normal', 'fast', 'fast']);
});
