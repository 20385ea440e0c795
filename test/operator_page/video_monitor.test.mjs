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
let video;

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
  video = fakeVideo();
  monitor = new VideoMonitor({ video, nowS: () => nowS, offsetS: () => 0 });
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

test('the latency follows within a few frames, and no single one moves it', () => {
  const ntpMs = 2_208_988_800_000;
  const after = (delayMs) => {
    nowS += 0.033;
    source = [{ rtpTimestamp: 7, captureTimestamp: nowS * 1000 - delayMs + ntpMs }];
    show();
    return Math.round(1000 * monitor.latencyS(nowS, 0.01));
  };
  for (let i = 0; i < 40; i += 1) after(80);
  assert.deepEqual([after(230), after(80), after(230), after(230)], [80, 80, 80, 80]);
  assert.equal(after(230), 230);
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

test('while a headset shows the picture and the page is not drawn, uploads that differ are frames', () => {
  show();
  const upload = (seconds, time) => {
    nowS += seconds;
    video.currentTime = time;
    monitor.onHeadsetFrame();
  };
  upload(0.01, 1);
  upload(0.02, 1.03);
  assert.equal(monitor.framesPresented, 1, 'the page counts them itself');
  for (let i = 0; i < 100; i += 1) upload(0.03, 2 + i / 30);
  assert.ok(!monitor.isFrozen(nowS));
  assert.ok(monitor.isShowing(nowS));
  const counted = monitor.framesPresented;
  assert.ok(counted > 80 && counted <= 101, `counted ${counted}`);
  for (let i = 0; i < 50; i += 1) upload(0.03, 99);
  assert.equal(monitor.framesPresented, counted + 1);
  assert.equal(monitor.isShowing(nowS), false, 'a picture that stands still');
  // After a pause, the first different picture may have been there for long.
  upload(5, 100);
  assert.equal(monitor.isShowing(nowS), false);
  upload(0.03, 101);
  assert.equal(monitor.isShowing(nowS), true);
});

test('an upload is no frame of a track that is gone, nor the first one of a new track', () => {
  show();
  nowS += 1;
  monitor.onHeadsetFrame();
  monitor.detach();
  nowS += 0.1;
  video.currentTime = 5;
  monitor.onHeadsetFrame();
  assert.equal(monitor.hasPicture, false);
  monitor.attach(track, { track });
  video.currentTime = 6;
  monitor.onHeadsetFrame();
  assert.equal(monitor.hasPicture, false);
});
