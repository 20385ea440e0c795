// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { headline, message, pageState } = await load('status.js');

const CALM = {
  signedIn: true, link: 'drivable', estop: 'clear', moving: false, blockedBy: null, held: false,
  hasVideo: true, quiet: false,
};
const TEXTS = { link: '', notice: '', releaseFailure: null };

test('the one state of the page', () => {
  const cases = [
    [{ signedIn: false }, 'signed-out'],
    [{ link: 'idle' }, 'idle'],
    [{ link: 'error' }, 'error'],
    [{ link: 'connecting', estop: 'stopped' }, 'connecting'],
    [{ link: 'reconnecting' }, 'reconnecting'],
    [{}, 'drivable'],
    [{ moving: true }, 'driving'],
    [{ watching: true }, 'watching'],
    [{ watching: true, estop: 'stopped' }, 'stopped'],
    [{ watching: true, link: 'connecting' }, 'connecting'],
    [{ estop: 'not-confirmed', moving: true }, 'stopped'],
    [{ estop: 'releasing' }, 'stopped'],
  ];
  for (const [change, state] of cases) assert.equal(pageState({ ...CALM, ...change }), state);
});

test('an unconfirmed stop is never called stopped', () => {
  const situation = { ...CALM, estop: 'not-confirmed' };
  assert.equal(headline(situation), 'Stop not confirmed');
  assert.match(message(situation, TEXTS), /not confirmed/);
  assert.match(message({ ...situation, link: 'reconnecting' }, TEXTS), /not delivered/);
});

test('what blocks driving is said, and only when it matters', () => {
  assert.match(message({ ...CALM, blockedBy: 'video' }, TEXTS), /frozen/);
  assert.equal(message({ ...CALM, blockedBy: 'neutral' }, TEXTS), '');
  assert.match(message({ ...CALM, blockedBy: 'neutral', held: true }, TEXTS), /Let go/);
  assert.match(message({ ...CALM, hasVideo: false }, TEXTS), /no picture/);
  assert.match(message({ ...CALM, quiet: true }, TEXTS), /silent/);
  assert.match(message({ ...CALM, blind: true }, TEXTS), /camera has stalled/);
  assert.match(message({ ...CALM, blind: true, hasVideo: false }, TEXTS), /no picture/);
  assert.equal(message(CALM, TEXTS), '');
});

test('why the robot does not obey is said, as far as the page has words for it', () => {
  assert.match(message({ ...CALM, refusing: 'disabled' }, TEXTS), /disabled at the robot/);
  assert.match(message({ ...CALM, refusing: 'stale' }, TEXTS), /too late/);
  assert.equal(message({ ...CALM, refusing: 'something_new' }, TEXTS), '');
  assert.equal(message({ ...CALM, refusing: 'constructor' }, TEXTS), '');
  assert.equal(message({ ...CALM, refusing: null }, TEXTS), '');
});

test('a failed connection keeps its reason', () => {
  const texts = { ...TEXTS, link: 'Session already has operator: ben' };
  assert.equal(message({ ...CALM, link: 'error' }, texts), texts.link);
});

test('a failed release is said', () => {
  const texts = { ...TEXTS, releaseFailure: 'The robot refused the release.' };
  assert.equal(message({ ...CALM, estop: 'stopped' }, texts), texts.releaseFailure);
});
