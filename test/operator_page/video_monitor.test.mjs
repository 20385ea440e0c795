// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { VideoMonitor } = await load('video_monitor.js');

let nowS;
let frame;
let source;
let monitor;
let track;

/** A video element that shows a frame when the test says so. */
function fakeVideo() {
  return {
    videoWidth: 640,
    videoHeight: 360,
    play: async () => {},
    requestVideoFrameCallback: (callback) => (frame = callback),
  };
}

function show(metadata = {}) {
  frame(0, { rtpTimestamp: 7, expectedDisplayTime: nowS * 1000 - performance.timeOrigin, ...metadata });
}

beforeEach(() => {
  globalThis.MediaStream ??= class {};
  nowS = 1000;
  source = [];
  track = { kind: 'video' };
  monitor = new VideoMonitor({ video: fakeVideo(), nowS: () => nowS, offsetS: () => 0 });
  monitor.attach(track, { track, getSynchronizationSources: () => source });
});

test('with the capture time, the latency is measured', () => {
  const ntpMs = 2_208_988_800_000;
  source = [{ rtpTimestamp: 7, captureTimestamp: nowS * 1000 - 80 + ntpMs }];
  show();
  assert.ok(Math.abs(monitor.latencyS(nowS, 0.01) - 0.08) < 1e-6);
  nowS += 1.1;
  assert.equal(monitor.latencyS(nowS, 0.01), null, 'a picture that stands still tells nothing');
});

test('without it, an estimate from above, once the figures are there', () => {
  show();
  assert.equal(monitor.latencyS(nowS, 0.02), null);
  monitor.stats = { jitter_buffer_ms: 10, decode_ms: 4, fps: 25 };
  assert.ok(Math.abs(monitor.latencyS(nowS, 0.02) - (0.02 + 0.014 + 0.08 + 0.05)) < 1e-9);
  assert.equal(monitor.latencyS(nowS, null), null);
  monitor.stats = { jitter_buffer_ms: 10, decode_ms: 4, fps: 0 };
  assert.equal(monitor.latencyS(nowS, 0.02), null);
});

test('before the first frame it is unknown', () => {
  assert.equal(monitor.latencyS(nowS, 0.01), null);
});
