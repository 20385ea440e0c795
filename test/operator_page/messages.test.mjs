// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hex, load } from './support.mjs';

const { CHANNELS, encodeJoy, encodePose, encodeTwistStamped, newNonce, parseMessage } = await load('messages.js');

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

// docs/protocol.md §7; made by dimos-lcm.
const GOLDEN =
  '9cd2bcbe6cb2a7c0000000076553f100075bcd15000000096b6579626f617264003fe0000000000000' +
  'bfd00000000000000000000000000000000000000000000000000000000000003ff0000000000000';

const STILL = { forward: 0, left: 0, turn: 0 };

test('a TwistStamped has the bytes of the golden vector', () => {
  const bytes = encodeTwistStamped({
    seq: 7,
    stampS: 1700000000.123456789,
    frameId: 'keyboard',
    velocity: { forward: 0.5, left: -0.25, turn: 1 },
  });
  // A double holds this stamp to 0.24 µs, so the last nanoseconds are not its own.
  const stamp = new DataView(bytes).getInt32(16);
  assert.ok(Math.abs(stamp - 123456789) < 250, `nsec ${stamp}`);
  new DataView(bytes).setInt32(16, 123456789);
  assert.equal(hex(bytes), GOLDEN);
});

test('the length follows the frame_id: 72 bytes and the name with its NUL', () => {
  for (const frameId of ['touch', 'keyboard', '']) {
    const bytes = encodeTwistStamped({ seq: 1, stampS: 1, frameId, velocity: STILL });
    assert.equal(bytes.byteLength, 72 + frameId.length + 1);
  }
});

test('a stamp just below a second stays a valid stamp', () => {
  const view = new DataView(
    encodeTwistStamped({ seq: 1, stampS: 10 - 1e-12, frameId: 'touch', velocity: STILL }),
  );
  assert.equal(view.getInt32(12), 9);
  assert.equal(view.getInt32(16), 999_999_999);
});

test('Joy and PoseStamped are bytes that old robots take', () => {
  const header = { seq: 7, stampS: 1700000000.5, frameId: 'left' };
  assert.equal(
    hex(encodeJoy({ ...header, axes: [0.5, -1], buttons: [1, 0, 1] })),
    'a0f07abc86c1684c0000000200000003000000076553f1001dcd6500000000056c656674003f000000bf800000' +
      '000000010000000000000001',
  );
  assert.equal(
    hex(encodePose({ ...header, position: [0.25, 1.5, -0.75], orientation: [0, 0.6, 0, 0.8] })),
    '6a82696458c279a0000000076553f1001dcd6500000000056c656674003fd00000000000003ff8000000000000' +
      'bfe800000000000000000000000000003fe333333333333300000000000000003fe999999999999a',
  );
});
