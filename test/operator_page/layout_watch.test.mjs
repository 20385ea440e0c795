// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { lockZoom, watchLayout } = await load('layout_watch.js');

let window;
let watch;
let observed;
let disturbed;

beforeEach(() => {
  observed = [];
  disturbed = 0;
  window = Object.assign(new EventTarget(), {
    document: new EventTarget(),
    visualViewport: Object.assign(new EventTarget(), { scale: 1 }),
    screen: { orientation: new EventTarget() },
    devicePixelRatio: 1,
    ResizeObserver: class {
      constructor(callback) {
        this.observe = (element) => observed.push([element, callback]);
      }
    },
  });
  watch = watchLayout({ window, elements: ['pad'], onDisturbed: () => (disturbed += 1) });
});

const SOURCES = {
  window: () => window,
  document: () => window.document,
  'visual viewport': () => window.visualViewport,
  orientation: () => window.screen.orientation,
};
for (const [source, type] of [
  ['window', 'resize'],
  ['window', 'orientationchange'],
  ['window', 'blur'],
  ['window', 'pagehide'],
  ['visual viewport', 'resize'],
  ['visual viewport', 'scroll'],
  ['orientation', 'change'],
  ['document', 'visibilitychange'],
  ['document', 'freeze'],
  ['document', 'scroll'],
  ['document', 'fullscreenchange'],
  ['document', 'webkitfullscreenchange'],
  ['document', 'gesturestart'],
]) {
  test(`${type} of the ${source}`, () => {
    SOURCES[source]().dispatchEvent(new Event(type));
    assert.equal(disturbed, 1);
  });
}

test('what no event tells of: another pixel ratio, size or part that is seen', () => {
  watch.check();
  assert.equal(disturbed, 0);
  window.devicePixelRatio = 2;
  watch.check();
  watch.check();
  assert.equal(disturbed, 1);
  window.innerWidth = 500;
  watch.check();
  window.visualViewport.offsetTop = 3;
  watch.check();
  assert.equal(disturbed, 3);
});

test('another size of a control', () => {
  const [[element, callback]] = observed;
  assert.equal(element, 'pad');
  callback([]);
  assert.equal(disturbed, 1);
});

function press(pointerType, control) {
  const target = { closest: (selector) => (selector.split(', ').includes(control) ? {} : null) };
  const event = Object.assign(new Event('pointerdown'), { pointerType });
  Object.defineProperty(event, 'target', { value: target });
  window.dispatchEvent(event);
}

test('a touch beside the controls; not one of a control, nor a click of a mouse', () => {
  press('touch', 'button');
  press('touch', 'input');
  press('touch', '#pad');
  press('mouse', 'nothing');
  assert.equal(disturbed, 0);
  press('touch', 'nothing');
  assert.equal(disturbed, 1);
});

test('an old browser without most of these', () => {
  const bare = Object.assign(new EventTarget(), { document: new EventTarget() });
  watchLayout({ window: bare, elements: [], onDisturbed: () => (disturbed += 1) });
  bare.dispatchEvent(new Event('resize'));
  assert.equal(disturbed, 1);
});

test('two fingers zoom only while nothing is driven, or to get back', () => {
  let isLocked = true;
  lockZoom({ window, isLocked: () => isLocked });
  const isRefused = (type, fields) => {
    const event = Object.assign(new Event(type, { cancelable: true }), fields);
    window.dispatchEvent(event);
    return event.defaultPrevented;
  };
  assert.equal(isRefused('gesturestart'), true);
  assert.equal(isRefused('gesturechange'), true);
  assert.equal(isRefused('wheel', { ctrlKey: true }), true);
  assert.equal(isRefused('wheel', { ctrlKey: false }), false);
  window.visualViewport.scale = 2;
  assert.equal(isRefused('gesturestart'), false);
  window.visualViewport.scale = 1;
  isLocked = false;
  assert.equal(isRefused('wheel', { ctrlKey: true }), false);
});
