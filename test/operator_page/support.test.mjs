// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { FakeTimers } from './support.mjs';

test('fake time calls what is due in its order, also what is set meanwhile', (t) => {
  const timers = new FakeTimers(t);
  const called = [];
  setTimeout((name) => {
    called.push(name);
    setTimeout(() => called.push('set meanwhile'), 100);
    setTimeout(() => called.push('too late'), 101);
  }, 200, 'second');
  setTimeout(() => called.push('first'), 100);
  clearTimeout(setTimeout(() => called.push('cleared'), 150));
  timers.pass(99);
  assert.deepEqual(called, []);
  timers.pass(201);
  assert.deepEqual(called, ['first', 'second', 'set meanwhile']);
});

test('real time is back after a test with fake time', async () => {
  await new Promise((resolve) => setTimeout(resolve, 1));
});

test('no test uses the mock timers of node, which differ from version to version', async () => {
  const folder = new URL('.', import.meta.url);
  for (const name of await readdir(folder)) {
    const text = await readFile(new URL(name, folder), 'utf8');
    assert.ok(!/mock[.]timers/.test(text), name);
  }
});
