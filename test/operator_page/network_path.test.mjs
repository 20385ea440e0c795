// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { bothPaths, networkPath } = await load('network_path.js');

/** What Chromium tells of a connection over a local candidate. */
function chromium(local) {
  return new Map([
    ['T', { type: 'transport', selectedCandidatePairId: 'P' }],
    ['Q', { type: 'candidate-pair', localCandidateId: 'M', state: 'failed' }],
    ['P', { type: 'candidate-pair', localCandidateId: 'L', nominated: true }],
    ['L', { type: 'local-candidate', ...local }],
    ['M', { type: 'local-candidate', candidateType: 'relay', relayProtocol: 'udp' }],
  ]);
}

/** What Firefox tells: no pair in the transport, no URL. */
function firefox(local) {
  return new Map([
    ['T', { type: 'transport' }],
    ['P', { type: 'candidate-pair', localCandidateId: 'L', selected: true }],
    ['L', { type: 'local-candidate', ...local }],
  ]);
}

test('a path without a relay is direct', () => {
  for (const candidateType of ['host', 'srflx', 'prflx']) {
    assert.equal(networkPath(chromium({ candidateType })), 'direct');
    assert.equal(networkPath(firefox({ candidateType })), 'direct');
  }
});

test('a relay is named with its transport and host', () => {
  const cases = [
    ['udp', 'turn:turn.example.org:3478?transport=udp', 'TURN/UDP turn.example.org'],
    ['tcp', 'turn:turn.example.org:80?transport=tcp', 'TURN/TCP turn.example.org'],
    ['tls', 'turns:turn.example.org:443?transport=tcp', 'TURN/TLS turn.example.org'],
    ['udp', 'turn:[2001:db8::1]:3478', 'TURN/UDP [2001:db8::1]'],
    [undefined, 'turns:turn.example.org', 'TURN/TLS turn.example.org'],
    [undefined, 'turn:turn.example.org?transport=tcp', 'TURN/TCP turn.example.org'],
    [undefined, 'turn:turn.example.org', 'TURN/UDP turn.example.org'],
    ['tcp', undefined, 'TURN/TCP'],
    [undefined, undefined, 'TURN'],
  ];
  for (const [relayProtocol, url, shown] of cases) {
    const local = { candidateType: 'relay', relayProtocol, url };
    assert.equal(networkPath(chromium(local)), shown);
    assert.equal(networkPath(firefox(local)), shown);
  }
});

test('before there is a connection there is no path', () => {
  assert.equal(networkPath(new Map()), '');
  assert.equal(networkPath(new Map([['T', { type: 'transport' }]])), '');
  const gone = [['T', { type: 'transport', selectedCandidatePairId: 'P' }]];
  assert.equal(networkPath(new Map(gone)), '');
});

test('the ways of both sides are one reading', () => {
  assert.equal(bothPaths('direct', 'direct'), 'direct');
  assert.equal(bothPaths('direct', undefined), 'direct');
  assert.equal(bothPaths('', 'TURN/UDP a'), 'TURN/UDP a');
  assert.equal(bothPaths('', ''), '');
  assert.equal(bothPaths('direct', 'TURN/TCP a:80'), 'you direct, robot TURN/TCP a:80');
});
