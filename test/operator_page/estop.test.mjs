// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { Estop } = await load('estop.js');

let estop;
beforeEach(() => {
  let n = 0;
  estop = new Estop(() => `n${(n += 1)}`);
});

/** Run the 20 ms timer from a time to another; returns what was sent, with its time. */
function run(fromS, toS) {
  const sends = [];
  for (let i = 0; fromS + i * 0.02 < toS - 1e-9; i += 1) {
    const nowS = fromS + i * 0.02;
    for (const send of estop.due(nowS)) sends.push({ ...send, nowS });
  }
  return sends;
}

/** Stop at 0, acknowledged at 0.1. */
function stop() {
  estop.press(0);
  run(0, 0.1);
  estop.onAck({ nonce: 'n1', ok: true }, 0.1);
}

test('a press goes out at once on both channels under one nonce', () => {
  estop.press(0);
  assert.deepEqual(estop.due(0), [
    { channel: 'state', message: { type: 'estop', nonce: 'n1' } },
    { channel: 'cmd', message: { type: 'estop', nonce: 'n1' } },
  ]);
});

test('unacknowledged: 50 Hz for 1 s, 10 Hz to 10 s, then silence; reliable once', () => {
  estop.press(0);
  const sends = run(0, 15);
  assert.equal(sends.filter(({ channel }) => channel === 'state').length, 1);
  const copies = sends.filter(({ channel }) => channel === 'cmd').map(({ nowS }) => nowS);
  const within = (from, to) => copies.filter((t) => t >= from && t < to).length;
  assert.ok(Math.abs(within(0, 1) - 50) <= 1, `${within(0, 1)} in the first second`);
  assert.ok(Math.abs(within(1, 10) - 90) <= 2, `${within(1, 10)} in the next nine`);
  assert.equal(within(10.05, 15), 0);
  assert.equal(estop.state(15), 'not-confirmed');
});

test('the acknowledgement ends the repetition', () => {
  stop();
  assert.deepEqual(run(0.1, 2), []);
  assert.equal(estop.state(0.2), 'stopped');
});

test('STOPPING for 300 ms, then NOT CONFIRMED', () => {
  estop.press(10);
  assert.equal(estop.state(10.29), 'stopping');
  assert.equal(estop.state(10.31), 'not-confirmed');
  estop.onAck({ nonce: 'n1', ok: true }, 10.5);
  assert.equal(estop.state(10.5), 'stopped');
});

test('an acknowledgement of something else, or a refusal, confirms nothing', () => {
  estop.press(0);
  run(0, 0.1);
  estop.onAck({ nonce: 'other', ok: true }, 0.1);
  estop.onAck({ nonce: 'n1', ok: false }, 0.1);
  estop.onAck({ nonce: 'n1' }, 0.1);
  assert.equal(estop.state(0.4), 'not-confirmed');
  assert.ok(run(0.4, 0.5).length >= 4, 'it is still repeated');
});

test('pressed again while waiting: the same request, again on the reliable channel', () => {
  estop.press(0);
  run(0, 12);
  estop.press(12);
  assert.equal(estop.state(12), 'not-confirmed');
  const sends = run(12, 12.1);
  assert.equal(sends[0].channel, 'state');
  assert.ok(sends.every(({ message }) => message.nonce === 'n1'));
});

test('an acknowledgement after the repetition has ended still counts', () => {
  estop.press(0);
  run(0, 12);
  estop.onAck({ nonce: 'n1', ok: true }, 12);
  assert.equal(estop.state(12), 'stopped');
});

test('it is sticky: only a release opens it', () => {
  stop();
  assert.equal(estop.latched, true);
  assert.equal(estop.state(1e6), 'stopped');
});

test('release takes two presses within 3 s', () => {
  stop();
  estop.pressRelease(10);
  assert.equal(estop.state(10), 'confirm-release');
  assert.deepEqual(run(10, 13), []);
  assert.equal(estop.state(13.1), 'stopped', 'the second press came too late');
  estop.pressRelease(14);
  estop.pressRelease(15);
  assert.equal(estop.state(15), 'releasing');
  assert.deepEqual(estop.due(15), [
    { channel: 'state', message: { type: 'estop_clear', nonce: 'n2' } },
  ]);
  assert.deepEqual(run(15.02, 16), [], 'the reliable channel needs no copies');
  assert.equal(estop.latched, true);
  estop.onAck({ nonce: 'n2', ok: true }, 16);
  assert.equal(estop.state(16), 'clear');
  assert.equal(estop.latched, false);
});

test('a refused release keeps the latch and says why', () => {
  stop();
  estop.pressRelease(10);
  estop.pressRelease(10.5);
  run(10.5, 11);
  estop.onAck({ nonce: 'n2', ok: false, reason: 'latched by the local stop' }, 11);
  assert.equal(estop.state(11), 'stopped');
  assert.match(estop.releaseFailure, /latched by the local stop/);
});

test('a release without an answer ends stopped', () => {
  stop();
  estop.pressRelease(10);
  estop.pressRelease(10.5);
  run(10.5, 15.6);
  assert.equal(estop.state(15.6), 'stopped');
  assert.match(estop.releaseFailure, /did not confirm/);
});

test('a press during a release stops again', () => {
  stop();
  estop.pressRelease(10);
  estop.pressRelease(10.5);
  run(10.5, 10.6);
  estop.press(10.6);
  estop.onAck({ nonce: 'n2', ok: true }, 10.7);
  assert.equal(estop.latched, true, 'the late acknowledgement of the release is void');
});

test('releasing what was never confirmed stops the copies first', () => {
  estop.press(0);
  run(0, 0.5);
  estop.pressRelease(0.5);
  estop.pressRelease(0.6);
  const sends = run(0.6, 1);
  assert.deepEqual(sends.map(({ message }) => message.type), ['estop_clear']);
  run(1, 6);
  assert.equal(estop.state(6), 'not-confirmed');
});

test('a release cannot be armed while nothing is latched or within the first 300 ms', () => {
  estop.pressRelease(0);
  assert.equal(estop.state(0), 'clear');
  estop.press(1);
  estop.pressRelease(1.1);
  assert.equal(estop.state(1.1), 'stopping');
});

test('telemetry: somebody else latched, and released, the robot', () => {
  estop.onTelemetry(true, 1);
  assert.equal(estop.state(1), 'stopped');
  estop.onTelemetry(false, 2);
  assert.equal(estop.state(2), 'clear');
});

test('a release names the latch that the robot reported last', () => {
  estop.onTelemetry(true, 1, 7);
  estop.pressRelease(2);
  estop.pressRelease(3);
  assert.deepEqual(estop.due(3), [
    { channel: 'state', message: { type: 'estop_clear', nonce: 'n1', latch: 7 } },
  ]);
});

test('telemetry is ignored while a request is pending, and just after', () => {
  estop.press(0);
  run(0, 0.1);
  estop.onTelemetry(false, 0.1);
  assert.equal(estop.latched, true);
  estop.onTelemetry(true, 0.1);
  assert.equal(estop.state(0.4), 'not-confirmed', 'only the acknowledgement confirms');
  estop.onAck({ nonce: 'n1', ok: true }, 0.5);
  estop.onTelemetry(false, 0.6);
  assert.equal(estop.state(0.6), 'stopped', 'that telemetry was older than the stop');
  estop.onTelemetry(false, 2);
  assert.equal(estop.state(2), 'clear');
});

test('an unconfirmed stop is not cleared by telemetry, but may be confirmed by it', () => {
  estop.press(0);
  run(0, 12);
  estop.onTelemetry(false, 12);
  assert.equal(estop.state(12), 'not-confirmed');
  estop.onTelemetry(true, 13);
  assert.equal(estop.state(13), 'stopped');
});

test('a new link sends an unconfirmed stop again, and leaves a confirmed one alone', () => {
  estop.press(0);
  run(0, 12);
  estop.onLinkDown();
  estop.onLinkUp(20);
  assert.equal(run(20, 20.02).length, 2);
  estop.onAck({ nonce: 'n1', ok: true }, 20.1);
  estop.onLinkUp(30);
  assert.deepEqual(run(30, 30.1), []);
});

test('a release that the link took with it leaves the latch', () => {
  stop();
  estop.pressRelease(10);
  estop.pressRelease(10.5);
  estop.onLinkDown();
  assert.equal(estop.state(11), 'stopped');
});

const ANN = { sub: 'ann', role: 'viewer' };

test('who stopped the robot is what the robot says, until the release', () => {
  assert.equal(estop.stoppedBy, null);
  estop.onTelemetry(true, 1, 1, { ...ANN, tenant: 'acme' });
  assert.deepEqual(estop.stoppedBy, { ...ANN, pressedHere: false });
  estop.onTelemetry(false, 2, null);
  assert.equal(estop.stoppedBy, null);
  estop.onTelemetry(true, 3, 2, { sub: 'ben', role: 'operator' });
  assert.equal(estop.stoppedBy.sub, 'ben');
});

test('a robot that does not say who, or says it in a way that cannot be read, names nobody', () => {
  const told = [undefined, null, 'ann', [], {}, { sub: 'ann' }, { sub: 7, role: 'viewer' }];
  for (const by of [...told, { sub: 'ann', role: ['viewer'] }]) {
    estop.onTelemetry(true, 1, 1, by);
    assert.equal(estop.stoppedBy, null);
    assert.equal(estop.state(1), 'stopped');
  }
});

test('this page has pressed until the robot is released, whoever was first', () => {
  stop();
  assert.equal(estop.stoppedBy, null, 'not told yet');
  estop.onTelemetry(true, 1, 1, ANN);
  assert.deepEqual(estop.stoppedBy, { ...ANN, pressedHere: true });
  estop.onTelemetry(false, 2);
  estop.onTelemetry(true, 3, 2, ANN);
  assert.deepEqual(estop.stoppedBy, { ...ANN, pressedHere: false });
});

test('telemetry of before a press names nobody', () => {
  estop.press(0);
  run(0, 0.1);
  estop.onTelemetry(true, 0.1, 1, ANN);
  assert.equal(estop.stoppedBy, null);
  estop.onAck({ nonce: 'n1', ok: true }, 0.2);
  estop.onTelemetry(true, 0.3, 1, ANN);
  assert.equal(estop.stoppedBy, null);
  estop.onTelemetry(true, 1, 1, ANN);
  assert.equal(estop.stoppedBy.sub, 'ann');
});
