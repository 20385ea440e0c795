// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { connected, createPeer } = await load('peer.js');

class FailingPeer extends EventTarget {
  connectionState = 'failed';

  constructor(...lines) {
    super();
    this.localDescription = { sdp: lines.map((line) => `${line}\r\n`).join('') };
  }
}

function failure(...lines) {
  return connected(new FailingPeer(...lines), new AbortController().signal).then(
    () => assert.fail('it has connected'),
    (error) => error.message,
  );
}

test('a browser that has addresses, and reaches nobody, has found no path', async () => {
  const candidate = 'a=candidate:0 1 UDP 2122187007 8b52d6a8.local 53317 typ host';
  assert.match(await failure('v=0', candidate), /^No network path/);
});

test('a browser that gives no address is told apart, with the way out', async () => {
  const message = await failure('v=0', 'm=application 9 UDP/DTLS/SCTP webrtc-datachannel');
  assert.match(message, /no network address.*add a route, or use Chromium/);
});

test('a browser without WebRTC is told so, once and for all', () => {
  assert.equal(typeof globalThis.RTCPeerConnection, 'undefined');
  assert.throws(
    () => createPeer([]),
    (error) => error.kind === 'refused' && /WebRTC is switched off/.test(error.message),
  );
});
