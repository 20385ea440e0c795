// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { StopGuard } = await load('stop_guard.js');

const EDGE_PX = 20;
const SIZE_PX = 100;
const WIDTH_PX = 800;
const HEIGHT_PX = 400;

let window;
let stop;
let button;
let guard;
/** What is laid over the button; null: nothing. */
let cover;

beforeEach(() => {
  cover = null;
  const style = {};
  const place = () => {
    const scale = Number(style['--stop-scale'] ?? 1);
    const right = WIDTH_PX - EDGE_PX + Number.parseFloat(style['--stop-x'] ?? 0);
    const bottom = HEIGHT_PX - EDGE_PX + Number.parseFloat(style['--stop-y'] ?? 0);
    const size = SIZE_PX * scale;
    return { left: right - size, top: bottom - size, right, bottom, width: size, height: size };
  };
  stop = {
    style: { setProperty: (name, value) => (style[name] = value) },
    getBoundingClientRect: place,
    matches: () => false,
    showPopover() {
      cover = cover === 'popover' ? null : cover;
    },
  };
  button = { getBoundingClientRect: place, contains: (element) => element === button };
  window = {
    innerWidth: WIDTH_PX,
    innerHeight: HEIGHT_PX,
    visualViewport: { scale: 1, offsetLeft: 0, offsetTop: 0, width: WIDTH_PX, height: HEIGHT_PX },
    getComputedStyle: () => ({ right: `${EDGE_PX}px`, bottom: `${EDGE_PX}px` }),
    document: {
      elementFromPoint: () => cover ?? button,
      querySelectorAll: () => (cover === 'dialog' ? [{ close: () => (cover = null) }] : []),
      querySelector: () => null,
    },
  };
  guard = new StopGuard({ window, stop, button });
});

/** Where the button stands in what is seen, as the eye has it. */
function seen() {
  const { scale, offsetLeft, offsetTop, width, height } = window.visualViewport;
  const { right, bottom, width: size } = button.getBoundingClientRect();
  return {
    fromRight: Math.round((offsetLeft + width - right) * scale),
    fromBottom: Math.round((offsetTop + height - bottom) * scale),
    size: Math.round(size * scale),
  };
}

const AT_ITS_PLACE = { fromRight: EDGE_PX, fromBottom: EDGE_PX, size: SIZE_PX };

test('nothing zoomed: it stays where it is', () => {
  assert.equal(guard.check(), true);
  assert.deepEqual(seen(), AT_ITS_PLACE);
});

for (const view of [
  { scale: 4, offsetLeft: 100, offsetTop: 50, width: WIDTH_PX / 4, height: HEIGHT_PX / 4 },
  { scale: 1.5, offsetLeft: 0, offsetTop: 0, width: WIDTH_PX / 1.5, height: HEIGHT_PX / 1.5 },
  // An on-screen keyboard.
  { scale: 1, offsetLeft: 0, offsetTop: 0, width: WIDTH_PX, height: 180 },
]) {
  test(`zoomed by ${view.scale}, ${Math.round(view.height)} high: it follows, and comes back`, () => {
    const before = window.visualViewport;
    window.visualViewport = view;
    assert.equal(guard.check(), true);
    assert.deepEqual(seen(), AT_ITS_PLACE);
    assert.equal(guard.check(), true);
    assert.deepEqual(seen(), AT_ITS_PLACE, 'again');
    window.visualViewport = before;
    assert.equal(guard.check(), true);
    assert.deepEqual(seen(), AT_ITS_PLACE);
  });
}

test('it does not fit into what is seen: that is told', () => {
  window.visualViewport = { scale: 1, offsetLeft: 0, offsetTop: 0, width: WIDTH_PX, height: 90 };
  assert.equal(guard.check(), false);
});

test('what browsers lay over the page is topped, or closed', () => {
  for (const what of ['popover', 'dialog']) {
    cover = what;
    assert.equal(guard.check(), true, what);
  }
  cover = 'something of an extension';
  assert.equal(guard.check(), false);
});

test('an old browser without popovers and visual viewport', () => {
  window.visualViewport = undefined;
  delete stop.showPopover;
  assert.equal(guard.check(), true);
  cover = 'a picture';
  let exits = 0;
  window.document.fullscreenElement = { contains: () => false };
  window.document.exitFullscreen = async () => void (exits += 1);
  assert.equal(guard.check(), false);
  assert.equal(exits, 1);
  // The whole page in full screen is none of its own doing.
  window.document.fullscreenElement = { contains: () => true };
  guard.check();
  assert.equal(exits, 1);
});
