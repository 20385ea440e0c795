// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { GlassToGlass, Rate, Recent, bothPaths, networkPath, percentile, videoStats } =
  await load('stats.js');

test('nearest-rank percentiles, whatever the order', () => {
  const values = [15, 50, 35, 20, 40];
  assert.equal(percentile(values, 0), 15);
  assert.equal(percentile(values, 30), 20);
  assert.equal(percentile(values, 40), 20);
  assert.equal(percentile(values, 50), 35);
  assert.equal(percentile(values, 100), 50);
  assert.equal(percentile([], 50), null);
  assert.equal(percentile([10, 9, 100], 50), 10, 'numbers, not text');
  assert.deepEqual(values, [15, 50, 35, 20, 40], 'the argument is left alone');
});

test('Recent keeps the newest values in order', () => {
  const recent = new Recent(3);
  for (let i = 1; i <= 10; i += 1) {
    recent.push(i);
    assert.deepEqual(recent.values(), [i - 2, i - 1, i].filter((n) => n > 0));
  }
  recent.clear();
  assert.deepEqual(recent.values(), []);
});

test('a rate counts its window only', () => {
  const rate = new Rate(2);
  for (let i = 0; i < 100; i += 1) rate.tick(i * 0.02);
  assert.equal(rate.perSecond(1.99), 50);
  assert.equal(rate.perSecond(3.5), 12);
  assert.equal(rate.perSecond(10), 0);
});

test('glass-to-glass translates the robot clock and the NTP epoch', () => {
  const latency = new GlassToGlass();
  const shownMs = 1_700_000_000_000;
  // Captured 45 ms before, by a robot clock that is 12.5 s ahead.
  latency.onCapture(9000, shownMs - 45 + 12_500 + 2_208_988_800_000);
  assert.equal(latency.onShown(9000, shownMs, 12.5), 45);
  assert.equal(latency.onShown(9001, shownMs, 12.5), null, 'another frame');
  assert.equal(latency.onShown(9000, shownMs, -90_000), null, 'absurd: a broken clock');
});

test('glass-to-glass forgets old frames', () => {
  const latency = new GlassToGlass();
  for (let i = 0; i < 100; i += 1) latency.onCapture(i, 2_208_988_800_000);
  assert.equal(latency.onShown(0, 10, 0), null);
  assert.equal(latency.onShown(99, 10, 0), 10);
});

test('video_stats are differences over the second, or totals', () => {
  const before = {
    timestamp: 1000, bytesReceived: 100_000, framesDecoded: 30, packetsLost: 5,
    packetsReceived: 100, jitterBufferDelay: 1, jitterBufferEmittedCount: 30, totalDecodeTime: 0.1,
  };
  const after = {
    timestamp: 2000, bytesReceived: 350_000, framesDecoded: 60, packetsLost: 10,
    packetsReceived: 195, jitterBufferDelay: 1.3, jitterBufferEmittedCount: 60,
    totalDecodeTime: 0.16, frameWidth: 1280, frameHeight: 720, jitter: 0.0042,
    framesDropped: 3, freezeCount: 1,
  };
  assert.deepEqual(videoStats(before, after, { codec: 'H264', e2eLatencyMs: 44.4444 }), {
    fps: 30, kbps: 2000, width: 1280, height: 720, loss_pct: 5, jitter_ms: 4.2,
    frames_dropped: 3, freezes: 1, jitter_buffer_ms: 10, decode_ms: 2, e2e_latency_ms: 44.44,
    codec: 'H264', decoder: null,
  });
});

test('video_stats of a stalled stream have no NaN', () => {
  const report = { timestamp: 1000, bytesReceived: 5 };
  const later = { ...report, timestamp: 2000 };
  const stats = videoStats(report, later, { codec: null, e2eLatencyMs: null });
  assert.equal(stats.fps, 0);
  assert.equal(stats.loss_pct, null);
  assert.equal(stats.decode_ms, null);
  for (const value of Object.values(stats)) assert.ok(!Number.isNaN(value));
});

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
