// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { CHANNELS, newNonce, parseMessage } = await load('messages.js');

test('text and UTF-8 bytes are both read', () => {
  const text = '{"type":"pong","robot_ts":1,"note":"ü"}';
  const bytes = new TextEncoder().encode(text).buffer;
  assert.deepEqual(parseMessage(text), JSON.parse(text));
  assert.deepEqual(parseMessage(bytes), JSON.parse(text));
});

test('anything else is ignored, never an exception', () => {
  const deep = '{"a":'.repeat(1e5);
  const junk = ['', 'x', '[]', '{', '{}', '{"type":1}', 'null', deep, new ArrayBuffer(8)];
  for (const data of junk) assert.equal(parseMessage(data), null);
});

test('nonces are hex and differ', () => {
  const nonces = new Set(Array.from({ length: 100 }, newNonce));
  assert.equal(nonces.size, 100);
  for (const nonce of nonces) assert.match(nonce, /^[0-9a-f]{32}$/);
});

test('the channels are those of the protocol', () => {
  const reliability = Object.fromEntries(CHANNELS.map(({ label, options }) => [label, options]));
  assert.deepEqual(reliability, {
    cmd_unreliable: { ordered: false, maxRetransmits: 0 },
    state_reliable: { ordered: true },
    state_reliable_back: { ordered: true },
    map_unreliable: { ordered: false, maxRetransmits: 0 },
  });
});
