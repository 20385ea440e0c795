// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { WatcherDesk, group, summary } = await load('watchers.js');
const { BrokerError } = await load('broker_client.js');

const ANN = { operator_id: 'ann', role: 'viewer' };
const BEN = { operator_id: 'ben', role: 'operator' };
let removed;
let fails;
let desk;

beforeEach(() => {
  removed = [];
  fails = null;
  desk = new WatcherDesk({
    broker: {
      removeViewer: async (sessionId, who) => {
        removed.push([sessionId, who]);
        if (fails) throw fails;
      },
    },
  });
});

const keyOf = (name) => desk.rows(0).find(({ text }) => text.startsWith(name)).key;
const texts = (nowS = 0) => desk.rows(nowS).map(({ text, action }) => [text, action]);

test('a broker that does not tell who watches shows nobody', () => {
  for (const watching of [undefined, null, 3, 'ann', {}, [], [null, 7, 'ann', {}, { role: 'x' }]]) {
    desk.update(watching);
    assert.deepEqual(desk.rows(0), []);
    assert.equal(desk.summary(), '');
  }
});

test('who watches is told by name and role, each once', () => {
  desk.update([ANN, BEN, ANN, { operator_id: 'ann', role: 'admin' }]);
  assert.deepEqual(texts(), [
    ['ann, viewer (2×)', 'Remove'], ['ben, operator', 'Remove'], ['ann, admin', 'Remove'],
  ]);
  assert.equal(desk.summary(), 'Watched by ann and 2 more');
  desk.update([BEN]);
  assert.equal(desk.summary(), 'Watched by ben');
});

test('what a broker of another make says is bounded', () => {
  const many = Array.from({ length: 500 }, (_, i) => ({ operator_id: `p${i}`, role: 'viewer' }));
  desk.update([{ operator_id: 'x'.repeat(10_000), role: 'king' }, ...many]);
  assert.equal(desk.rows(0).length, 50);
  assert.equal(desk.rows(0)[0].text, 'x'.repeat(160));
  assert.equal(summary(group(many)), 'Watched by p0 and 499 more');
});

test('one press removes nobody, a second within 3 s does', async () => {
  desk.update([ANN, BEN]);
  await desk.press('s', keyOf('ann'), 10);
  assert.deepEqual(removed, []);
  assert.deepEqual(texts(10), [['ann, viewer', 'Press again'], ['ben, operator', 'Remove']]);
  assert.deepEqual(desk.rows(10).map(({ armed }) => armed), [true, false]);
  assert.equal(texts(13)[0][1], 'Remove', 'too late');
  await desk.press('s', keyOf('ann'), 13);
  assert.deepEqual(removed, []);
  await desk.press('s', keyOf('ann'), 14);
  assert.deepEqual(removed, [['s', ANN]]);
  assert.deepEqual(texts(14), [['ben, operator', 'Remove']]);
});

test('a press on somebody else begins anew', async () => {
  desk.update([ANN, BEN]);
  for (const name of ['ann', 'ben', 'ann']) await desk.press('s', keyOf(name), 10);
  assert.deepEqual(removed, []);
});

test('pressed once, the list may be told anew: the second press still counts', async () => {
  desk.update([ANN]);
  await desk.press('s', keyOf('ann'), 10);
  desk.update([BEN, ANN]);
  await desk.press('s', keyOf('ann'), 11);
  assert.deepEqual(removed, [['s', ANN]]);
});

test('while somebody is being removed, more presses do nothing', async () => {
  desk.update([ANN]);
  const key = keyOf('ann');
  await desk.press('s', key, 10);
  const second = desk.press('s', key, 11);
  assert.deepEqual(texts(11), [['ann, viewer', 'Removing …']]);
  await desk.press('s', key, 11);
  await second;
  assert.equal(removed.length, 1);
});

test('a refusal is said, until the next press', async () => {
  fails = new BrokerError('refused', 'Only whoever drives may do that.');
  desk.update([ANN]);
  await desk.press('s', keyOf('ann'), 10);
  await desk.press('s', keyOf('ann'), 11);
  assert.equal(desk.failure, 'ann was not removed: Only whoever drives may do that.');
  assert.deepEqual(texts(11), [['ann, viewer', 'Remove']]);
  await desk.press('s', keyOf('ann'), 12);
  assert.equal(desk.failure, '');
});

test('somebody who has left meanwhile is gone, and that is no failure', async () => {
  fails = new BrokerError('gone', 'Nobody of that name watches.');
  desk.update([ANN]);
  await desk.press('s', keyOf('ann'), 10);
  await desk.press('s', keyOf('ann'), 11);
  assert.deepEqual([desk.failure, texts(11)], ['', []]);
  await desk.press('s', 'no such key', 12);
  assert.equal(removed.length, 1);
});

test('who cannot be removed has no button, and presses do nothing', async () => {
  desk.update([{ ...ANN, removable: false }, BEN]);
  assert.deepEqual(texts(10), [['ann, viewer', ''], ['ben, operator', 'Remove']]);
  await desk.press('s', keyOf('ann'), 10);
  await desk.press('s', keyOf('ann'), 11);
  assert.deepEqual(removed, []);
});

test('a refusal is said as long as the person whom it is about is there', async () => {
  fails = new BrokerError('refused', 'Only whoever drives may do that.');
  desk.update([ANN, BEN]);
  await desk.press('s', keyOf('ann'), 10);
  await desk.press('s', keyOf('ann'), 11);
  desk.update([ANN]);
  assert.match(desk.failure, /^ann was not removed/);
  desk.update([BEN]);
  assert.equal(desk.failure, '');
});
