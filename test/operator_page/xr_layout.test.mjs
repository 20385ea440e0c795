// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { inFrontOf, isOn, layout, meets, SCALES, START } = await load('xr/xr_layout.js');

/** A head that has turned to the left by an angle, and then looks up by another. */
function head(position, turn = 0, up = 0) {
  const [ct, st, cu, su] = [Math.cos(turn / 2), Math.sin(turn / 2), Math.cos(up / 2), Math.sin(up / 2)];
  const [x, y, z] = position;
  return { position: { x, y, z }, orientation: { x: ct * su, y: st * cu, z: -st * su, w: ct * cu } };
}

/** A ray that points along -z from a place. */
function ray(x, y, z) {
  return [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, x, y, z, 1];
}

function assertClose(actual, expected) {
  actual.forEach((it, i) => assert.ok(Math.abs(it - expected[i]) < 1e-9, `${actual} is not ${expected}`));
}

test('at the beginning the picture is 1.6 m ahead, 1.5 m high', () => {
  assert.deepEqual(START.centre, [0, 1.5, -1.6]);
  assert.deepEqual(layout(SCALES[0], 16 / 9).picture.width, 1.4);
});

test('recentred, it is in front of the head, upright, whatever the head looks up to', () => {
  for (const up of [0, 0.6, -0.6]) {
    assertClose(inFrontOf(head([1, 1.6, 2], 0, up)).centre, [1, 1.6, 0.4]);
    const { centre, right, back } = inFrontOf(head([1, 1.2, 2], Math.PI / 2, up));
    assertClose(centre, [-0.6, 1.2, 2]);
    assertClose(right, [0, 0, -1]);
    assertClose(back, [1, 0, 0]);
  }
});

test('a head that looks straight up, or lies on the floor, keeps the panels in reach', () => {
  const { centre, back } = inFrontOf(head([0, 0.1, 0], 0, Math.PI / 2));
  assertClose(centre, [0, 0.8, -1.6]);
  assertClose(back, [0, 0, 1]);
  assert.equal(inFrontOf(head([0, 9, 0])).centre[1], 2);
});

test('a picture of any shape stays within its place, undistorted', () => {
  for (const aspect of [0.5, 4 / 3, 16 / 9, 32 / 9]) {
    const { width, height } = layout(1, aspect).picture;
    assert.ok(width <= 1.4 && height <= 0.79 + 1e-9);
    assert.ok(Math.abs(width / height - aspect) < 1e-9);
  }
  for (const aspect of [NaN, 0, Infinity, -1]) assert.equal(layout(1, aspect).picture.width, 1.4);
});

test('the panels do not overlap, in either size', () => {
  for (const scale of SCALES) {
    const { picture, hud, stop } = layout(scale, 16 / 9);
    assert.ok(hud.y + hud.height / 2 < picture.y - picture.height / 2);
    assert.ok(hud.x + hud.width / 2 < stop.x - stop.width / 2);
    assert.ok(Math.abs(stop.x + stop.width / 2 - 0.7 * scale) < 1e-9);
  }
});

test('a ray meets what it points at, and nothing behind it or from behind', () => {
  const { stop, hud } = layout(1, 16 / 9);
  const at = meets(START, ray(stop.x, START.centre[1] + stop.y, 0));
  assertClose([at.x, at.y], [stop.x, stop.y]);
  assert.ok(isOn(stop, at));
  assert.ok(!isOn(hud, at));
  assert.ok(!isOn(stop, meets(START, ray(0, 1.5, 0))));
  assert.equal(meets(START, ray(0, 1.5, -2)), null, 'past the panels');
  const back = ray(0, 1.5, -3);
  back[10] = -1;
  assert.equal(meets(START, back), null, 'from behind');
  const aside = ray(0, 1.5, 0);
  [aside[8], aside[10]] = [1, 0];
  assert.equal(meets(START, aside), null, 'along the panels');
  assert.equal(meets(START, ray(NaN, 0, 0)), null);
  assert.ok(!isOn(stop, null));
});

test('a ray meets panels that have been turned', () => {
  const anchor = inFrontOf(head([0, 1.5, 0], Math.PI / 2));
  // Pointing along -x.
  const matrix = [0, 0, -1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1.4, -0.5, 1];
  const { x, y } = meets(anchor, matrix);
  assertClose([x, y], [0.5, -0.1]);
});
