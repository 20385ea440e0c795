// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { WakeLock } = await load('wake_lock.js');

let document;
let locks;
let isRefused;
let wakeLock;

beforeEach(() => {
  document = new EventTarget();
  locks = [];
  isRefused = false;
  const request = async (kind) => {
    if (isRefused) throw new Error('NotAllowedError');
    const lock = { kind, released: false, release: async () => (lock.released = true) };
    locks.push(lock);
    return lock;
  };
  wakeLock = new WakeLock({ navigator: { wakeLock: { request } }, document });
});

/** Let everything that waits go on. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

test('one lock while it is wanted, however often it is asked for', async () => {
  for (let i = 0; i < 3; i += 1) wakeLock.set(true);
  await settle();
  assert.deepEqual(locks.map(({ kind, released }) => [kind, released]), [['screen', false]]);
  wakeLock.set(false);
  await settle();
  assert.equal(locks[0].released, true);
});

test('it is asked for again when the page is shown again', async () => {
  wakeLock.set(true);
  await settle();
  locks[0].released = true;
  document.dispatchEvent(new Event('visibilitychange'));
  await settle();
  assert.equal(locks.length, 2);
});

test('a wish that changes while the browser answers is followed', async () => {
  wakeLock.set(true);
  wakeLock.set(false);
  await settle();
  assert.ok(locks.every(({ released }) => released));
});

test('a browser that refuses, or has no such thing, is left alone', async () => {
  isRefused = true;
  wakeLock.set(true);
  await settle();
  isRefused = false;
  document.dispatchEvent(new Event('visibilitychange'));
  await settle();
  assert.equal(locks.length, 1);
  const without = new WakeLock({ navigator: {}, document });
  without.set(true);
  await settle();
  without.set(false);
  await settle();
});
