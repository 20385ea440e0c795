// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { ControlDesk } = await load('control.js');
const { BrokerError } = await load('broker_client.js');

let row;
let answer;
let granted;
let taken;
const broker = {
  status: async () => row,
  requestControl: async () => answer,
  grantControl: async (id, sub) => granted.push([id, sub]),
};
const desk = (watching) =>
  new ControlDesk({ broker, watching, onTake: () => (taken += 1) });

beforeEach(() => {
  row = { operator_id: 'ann', control_request: null };
  answer = { state: 'pending', operator_id: 'ann' };
  granted = [];
  taken = 0;
});

test('an operator sees a banner only while somebody asks', async () => {
  const holder = desk(false);
  await holder.poll('s');
  assert.deepEqual(holder.banner(), { text: '', action: '' });
  row = { operator_id: 'ann', control_request: 'ben' };
  await holder.poll('s');
  assert.deepEqual(holder.banner(), { text: 'ben asks for control.', action: 'Grant control' });
  await holder.press('s');
  assert.deepEqual(granted, [['s', 'ben']]);
  assert.equal(holder.banner().action, '');
  row = { operator_id: 'ann', control_request: null };
  await holder.poll('s');
  assert.equal(holder.banner().text, '');
});

test('a viewer asks until control is granted, then takes it once', async () => {
  const viewer = desk(true);
  await viewer.poll('s');
  assert.deepEqual(viewer.banner(), { text: 'Driven by ann.', action: 'Request control' });
  await viewer.press('s');
  assert.deepEqual(viewer.banner(), { text: 'Waiting for ann …', action: 'Cancel' });
  await viewer.poll('s');
  assert.equal(taken, 0);
  answer = { state: 'granted', operator_id: 'ann' };
  await viewer.poll('s');
  await viewer.poll('s');
  assert.equal(taken, 1);
});

test('a request can be withdrawn', async () => {
  const viewer = desk(true);
  await viewer.press('s');
  await viewer.press('s');
  answer = { state: 'granted', operator_id: 'ann' };
  await viewer.poll('s');
  assert.equal(taken, 0);
  assert.equal(viewer.banner().action, 'Request control');
});

test('a robot that nobody drives is taken at once', async () => {
  row = { operator_id: null };
  const viewer = desk(true);
  await viewer.poll('s');
  assert.equal(viewer.banner().action, 'Take control');
  answer = { state: 'free', operator_id: null };
  await viewer.press('s');
  assert.equal(taken, 1);
});

test('a refusal is said and ends the asking', async () => {
  const viewer = desk(true);
  broker.requestControl = async () => {
    throw new BrokerError('refused', 'Your role does not allow this');
  };
  await viewer.press('s');
  assert.deepEqual(viewer.banner(), {
    text: 'Your role does not allow this', action: 'Try again',
  });
  broker.requestControl = async () => answer;
});

test('the row that is read is passed on, and being barred is said', async () => {
  const rows = [];
  const desk = new ControlDesk({
    broker: { ...broker, requestControl: () => Promise.reject(new BrokerError('barred', 'Out.')) },
    watching: true,
    onTake: () => {},
    onStatus: (read) => rows.push(read),
  });
  await desk.poll('s');
  assert.deepEqual(rows, [row]);
  await desk.press('s');
  assert.equal(desk.banner().text, 'Out.');
});
