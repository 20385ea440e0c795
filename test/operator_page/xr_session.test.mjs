// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { XrSession } = await load('xr/xr_session.js');

let xr;
let nowS;
let view;
let changes;
let session;
/** Whether the view can be created, and what it says of each frame. */
let create;
let draw;

/** What a browser gives; its frames come when a test says so. */
class FakeSession extends EventTarget {
  visibilityState = 'visible';
  inputSources = ['left'];
  frame = null;
  ends = 0;

  requestAnimationFrame(callback) {
    this.frame = callback;
  }

  async end() {
    this.ends += 1;
    if (this.ends > 1) throw new Error('InvalidStateError');
    this.dispatchEvent(new Event('end'));
  }

  show() {
    const { frame } = this;
    this.frame = null;
    frame?.(0, {});
  }
}

class FakeXr extends EventTarget {
  supported = ['immersive-ar', 'immersive-vr'];
  asked = [];
  given = [];
  refuse = () => null;

  async isSessionSupported(mode) {
    if (this.supported === null) throw new Error('SecurityError');
    return this.supported.includes(mode);
  }

  async requestSession(mode, features) {
    this.asked.push([mode, features]);
    const refusal = this.refuse(mode);
    if (refusal) throw refusal;
    this.given.push(new FakeSession());
    return this.given.at(-1);
  }
}

beforeEach(() => {
  xr = new FakeXr();
  nowS = 10;
  changes = 0;
  draw = () => true;
  view = { draws: 0, ends: 0, draw: () => ((view.draws += 1), draw()), end: () => (view.ends += 1) };
  create = async () => view;
  session = new XrSession({ xr, nowS: () => nowS, createView: (it) => create(it), onChange: () => (changes += 1) });
});

async function entered() {
  await session.findOut();
  await session.enter();
  return xr.given.at(-1);
}

function named(name) {
  return Object.assign(new Error(name), { name });
}

test('it is offered where the browser has any such mode, and when a headset comes', async () => {
  xr.supported = [];
  await session.findOut();
  assert.equal(session.isOffered, false);
  xr.supported = ['immersive-vr'];
  xr.dispatchEvent(new Event('devicechange'));
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(session.isOffered, true);
  xr.supported = null;
  xr.dispatchEvent(new Event('devicechange'));
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(session.isOffered, false);
});

test('a browser without WebXR is left alone', async () => {
  for (const none of [undefined, {}]) {
    const without = new XrSession({ xr: none, nowS: () => nowS, createView: create });
    await without.findOut();
    assert.equal(without.isOffered, false);
    await without.enter();
    assert.equal(without.visibilityState, 'ended');
    assert.deepEqual([...without.inputSources], []);
  }
});

test('passthrough first; the floor is required, hands are not', async () => {
  await entered();
  assert.deepEqual(xr.asked, [
    ['immersive-ar', { requiredFeatures: ['local-floor'], optionalFeatures: ['hand-tracking', 'layers'] }],
  ]);
  assert.equal(session.visibilityState, 'visible');
  assert.deepEqual(session.inputSources, ['left']);
});

test('the session is asked for in the click itself', async () => {
  await session.findOut();
  void session.enter();
  assert.equal(xr.asked.length, 1);
});

test('without passthrough a virtual room; a person who said no is not asked again', async () => {
  xr.refuse = (mode) => (mode === 'immersive-ar' ? named('NotSupportedError') : null);
  await entered();
  assert.deepEqual(xr.asked.map(([mode]) => mode), ['immersive-ar', 'immersive-vr']);
  assert.equal(session.isEntered, true);
  await session.leave();
  xr.asked = [];
  xr.refuse = () => named('NotAllowedError');
  await session.enter();
  assert.deepEqual(xr.asked.map(([mode]) => mode), ['immersive-ar']);
  assert.equal(session.isEntered, false);
  assert.equal(session.failure, 'NotAllowedError');
});

test('only frames that show something count', async () => {
  const browser = await entered();
  assert.equal(session.lastFrameS, null);
  browser.show();
  assert.equal(session.lastFrameS, 10);
  nowS = 11;
  draw = () => false;
  browser.show();
  assert.equal(session.lastFrameS, 10, 'no tracking: nothing is seen');
  draw = () => true;
  browser.show();
  assert.equal(session.lastFrameS, 11);
});

test('a view that fails ends the session, and says why', async () => {
  const browser = await entered();
  draw = () => {
    throw new Error('lost');
  };
  browser.show();
  assert.equal(session.visibilityState, 'ended');
  assert.deepEqual([session.failure, browser.ends, view.ends], ['lost', 1, 1]);
  browser.show();
  assert.equal(view.draws, 1, 'nothing is drawn afterwards');
});

test('a view that cannot be created ends the session, and says why', async () => {
  create = async () => {
    throw new Error('no graphics');
  };
  const browser = await entered();
  assert.deepEqual([session.failure, session.isEntered, browser.ends], ['no graphics', false, 1]);
  create = async () => view;
  await session.enter();
  assert.deepEqual([session.failure, session.isEntered], ['', true]);
});

test('the end from outside: no frame, no source, and it can be entered again', async () => {
  const browser = await entered();
  browser.show();
  changes = 0;
  await browser.end();
  assert.deepEqual([session.visibilityState, session.lastFrameS, view.ends], ['ended', null, 1]);
  assert.deepEqual([...session.inputSources], []);
  assert.ok(changes > 0);
  browser.show();
  assert.equal(session.lastFrameS, null, 'a late frame of the old session');
  await session.enter();
  assert.equal(session.isEntered, true);
  browser.dispatchEvent(new Event('end'));
  assert.equal(session.isEntered, true, 'a late end of the old session');
});

test('leaving ends it at once, even before the browser has', async () => {
  const browser = await entered();
  browser.show();
  const left = session.leave();
  assert.deepEqual([session.visibilityState, session.lastFrameS], ['ended', null]);
  await left;
  assert.equal(browser.ends, 1);
  await session.leave();
});

test('who leaves while the browser still asks has no session afterwards', async () => {
  await session.findOut();
  const entering = session.enter();
  await session.leave();
  await entering;
  assert.deepEqual([session.isEntered, session.failure, xr.given[0].ends], [false, '', 1]);
});

test('it may end while its view is created', async () => {
  create = async (it) => {
    await it.end();
    return view;
  };
  await entered();
  assert.deepEqual([session.isEntered, view.ends, view.draws], [false, 1, 0]);
});

test('a second click while it begins is not a second session', async () => {
  await session.findOut();
  await Promise.all([session.enter(), session.enter()]);
  assert.equal(xr.given.length, 1);
});

test('visibility is the browser’s, and each change is told', async () => {
  const browser = await entered();
  changes = 0;
  browser.visibilityState = 'hidden';
  browser.dispatchEvent(new Event('visibilitychange'));
  assert.deepEqual([session.visibilityState, changes], ['hidden', 1]);
});
