// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { ClockSync, PingSchedule } = await load('clock.js');

/** One exchange with a robot whose clock is `aheadS` ahead. */
function exchange(clock, sentS, { upS, downS, aheadS }) {
  const pong = { client_ts: sentS, robot_ts: sentS + upS + aheadS };
  return clock.onPong(pong, sentS + upS + downS);
}

function near(actual, expected, tolerance = 1e-9) {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, expected ${expected}`);
}

test('a symmetric exchange gives the exact offset', () => {
  const clock = new ClockSync();
  const sample = exchange(clock, 100, { upS: 0.02, downS: 0.02, aheadS: 3600 });
  assert.equal(sample.accepted, true);
  near(sample.rttS, 0.04);
  near(clock.offsetS, 3600);
});

test('the offset of the fastest exchange is kept', () => {
  const clock = new ClockSync();
  exchange(clock, 100, { upS: 0.02, downS: 0.02, aheadS: -5 });
  const slow = exchange(clock, 100.4, { upS: 0.3, downS: 0.02, aheadS: -5 });
  assert.equal(slow.accepted, false);
  near(clock.offsetS, -5);
  near(clock.lastRttS, 0.32);
  assert.equal(exchange(clock, 101, { upS: 0.01, downS: 0.01, aheadS: -5 }).accepted, true);
});

test('the floor rises by 1 ms a second, so drift is followed', () => {
  const clock = new ClockSync();
  exchange(clock, 0, { upS: 0.02, downS: 0.02, aheadS: 1 });
  assert.equal(exchange(clock, 4, { upS: 0.025, downS: 0.025, aheadS: 1.1 }).accepted, false);
  assert.equal(exchange(clock, 11, { upS: 0.025, downS: 0.025, aheadS: 1.2 }).accepted, true);
  near(clock.offsetS, 1.2);
});

test('pongs from the future, older than 5 s, or without numbers are refused', () => {
  const clock = new ClockSync();
  assert.equal(clock.onPong({ client_ts: 11, robot_ts: 0 }, 10), null);
  assert.equal(clock.onPong({ client_ts: 4.9, robot_ts: 0 }, 10), null);
  assert.equal(clock.onPong({ client_ts: 'x', robot_ts: 0 }, 10), null);
  assert.equal(clock.onPong({ client_ts: 9, robot_ts: NaN }, 10), null);
  assert.equal(clock.offsetS, null);
});

test('a pong that waited for the channel to open does not stamp commands', () => {
  const clock = new ClockSync();
  exchange(clock, 100, { upS: 1.2, downS: 0.01, aheadS: 0 });
  assert.equal(clock.trusted, false);
  // Sent before the first pong came: it may have waited as well.
  exchange(clock, 100.5, { upS: 0.72, downS: 0.01, aheadS: 0 });
  assert.equal(clock.trusted, false);
  exchange(clock, 101.3, { upS: 0.4, downS: 0.4, aheadS: 0 });
  assert.equal(clock.trusted, true, 'sent after the first pong: the channel was open');
  near(clock.offsetS, 0.3, 0.31);
});

test('a prompt first pong is trusted at once', () => {
  const clock = new ClockSync();
  exchange(clock, 100, { upS: 0.05, downS: 0.05, aheadS: 0 });
  assert.equal(clock.trusted, true);
});

test('pings: eager until answered, five at 0.4 s, then one a second', () => {
  const schedule = new PingSchedule();
  const times = [];
  for (let i = 0; i <= 700; i += 1) {
    const nowS = i / 100;
    if (!schedule.due(nowS)) continue;
    times.push(nowS);
    // The robot answers from the fourth on, before the next is due.
    if (times.length >= 4) schedule.onPong({ hurry: false });
  }
  const gaps = times.slice(1).map((time, i) => time - times[i]);
  const expected = [0.1, 0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.4, 1, 1];
  expected.forEach((gap, i) => near(gaps[i], gap, 0.015));
});

test('a pong that is not to be trusted asks for the next ping at once', () => {
  const schedule = new PingSchedule();
  assert.equal(schedule.due(0), true);
  assert.equal(schedule.due(0.01), false);
  schedule.onPong({ hurry: true });
  assert.equal(schedule.due(0.01), true);
});
