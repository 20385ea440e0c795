// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { MediaPanel } = await load('xr/media_panel.js');
const { inFrontOf, START } = await load('xr/xr_layout.js');

globalThis.XRRigidTransform = class {
  constructor(position, orientation) {
    Object.assign(this, { position, orientation });
  }
};

const BASE = 'base';
const PANEL = Object.freeze({ x: 0, y: 0, width: 1.4, height: 0.79 });
let layers, made, session, video;

class Binding {
  constructor(ofSession) {
    assert.equal(ofSession, session);
  }

  createQuadLayer(ofVideo, options) {
    assert.equal(ofVideo, video);
    const layer = { ...options, destroy: () => (layer.isDestroyed = true) };
    made.push(layer);
    return layer;
  }
}

beforeEach(() => {
  [layers, made] = [[], []];
  video = { videoWidth: 1280, videoHeight: 720 };
  session = {
    enabledFeatures: ['local-floor', 'layers'],
    updateRenderState: (state) => (layers = state.layers),
  };
});

function create(changes = {}) {
  return MediaPanel.create({ session, space: 'floor', video, base: BASE, MediaBinding: Binding, ...changes });
}

test('only where the browser has media layers, and the session too', () => {
  assert.equal(create({ MediaBinding: undefined }), null);
  for (const enabledFeatures of [undefined, [], ['local-floor']]) {
    session.enabledFeatures = enabledFeatures;
    assert.equal(create(), null);
  }
});

test('it is behind what the page draws, where the panel is', () => {
  create().show(START, { ...PANEL, x: 0.5, y: -0.25 }, false);
  assert.deepEqual(layers, [made[0], BASE]);
  const { space, layout, width, height, transform } = made[0];
  assert.deepEqual([space, layout, width, height], ['floor', 'mono', 1.4, 0.79]);
  assert.deepEqual(transform.position, { x: 0.5, y: 1.25, z: -1.6 });
  assert.deepEqual(Object.values(transform.orientation).map(Math.abs), [0, 0, 0, 1]);
});

test('it faces the viewer wherever the panels are', () => {
  const half = Math.sqrt(0.5);
  // Turned to the left by a quarter: the panels are at the left, and face right.
  const head = { position: { x: 0, y: 1.5, z: 0 }, orientation: { x: 0, y: half, z: 0, w: half } };
  create().show(inFrontOf(head), PANEL, false);
  const { position, orientation } = made[0].transform;
  assert.ok(Math.abs(position.x + 1.6) < 1e-9 && Math.abs(position.z) < 1e-9);
  assert.ok(Math.abs(orientation.y - half) < 1e-9 && Math.abs(orientation.w - half) < 1e-9);
});

test('one layer follows the panel; another size of the video, or stereo, needs a new one', () => {
  const panel = create();
  panel.show(START, PANEL, false);
  panel.show(START, { ...PANEL, width: 2.1 }, false);
  assert.equal(made.length, 1);
  assert.equal(made[0].width, 2.1);
  panel.show(START, PANEL, true);
  assert.deepEqual(made.map((it) => it.layout), ['mono', 'stereo-left-right']);
  video.videoWidth = 640;
  panel.show(START, PANEL, true);
  assert.deepEqual(made.map((it) => it.isDestroyed === true), [true, true, false]);
  assert.deepEqual(layers, [made[2], BASE]);
});

test('hidden, only what the page draws is left; it can be shown again', () => {
  const panel = create();
  panel.hide();
  assert.deepEqual(layers, []);
  panel.show(START, PANEL, false);
  panel.hide();
  assert.deepEqual(layers, [BASE]);
  panel.show(START, PANEL, false);
  assert.deepEqual(layers, [made[1], BASE]);
});
