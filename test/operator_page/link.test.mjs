// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { FakeTimers, load } from './support.mjs';

const { Link, backoffS, findAgain } = await load('link.js');
const { BrokerError } = await load('broker_client.js');

const TARGET = { sessionId: 's1', robotId: 'go2', robotName: 'Go2' };
let sessions;
let rows;
let states;
let sleeps;
let unauthorized;
let nowMs;
/** What the n-th session's open does; the last one stays in force. */
let opens;
let link;
/** What the broker says of the last join before a redial. */
let checkJoin;

/** Let everything that waits for nothing but promises happen. */
async function settle() {
  await new Promise((resolve) => setImmediate(resolve));
}

/** The sleep in force ends. */
async function wake() {
  sleeps.at(-1).resolve();
  await settle();
}

beforeEach(() => {
  sessions = [];
  states = [];
  sleeps = [];
  nowMs = 0;
  checkJoin = () => {};
  unauthorized = [];
  rows = [{ session_id: 's1', robot_id: 'go2' }];
  opens = [async () => {}];
  link = new Link({
    listSessions: async () => rows,
    createSession: (id) => {
      const open = opens[Math.min(sessions.length, opens.length - 1)];
      const session = { id, open, closed: undefined, close: (reason) => (session.closed = reason) };
      sessions.push(session);
      return session;
    },
    checkJoin: async (id) => checkJoin(id),
    onState: (state, message) => states.push([state, message]),
    onUnauthorized: (message) => unauthorized.push(message),
    sleep: (ms) => new Promise((resolve) => sleeps.push({ ms, resolve })),
    now: () => nowMs,
  });
});

afterEach(() => link.disconnect('test over'));

const failing = (kind, details) => async () => {
  throw new BrokerError(kind, `${kind}.`, details);
};

test('back-off doubles from 0.5 s to 5 s', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 9].map(backoffS), [0.5, 1, 2, 4, 5, 5]);
});

test('a robot is found again by session, then by id, never by an empty id', () => {
  assert.equal(findAgain([{ session_id: 's1', robot_id: 'x' }], TARGET), 's1');
  assert.equal(findAgain([{ session_id: 's9', robot_id: 'go2' }], TARGET), 's9');
  assert.equal(findAgain([{ session_id: 's9', robot_id: '' }], { ...TARGET, robotId: '' }), null);
  assert.equal(findAgain([], TARGET), null);
});

test('open channels are not enough: drivable comes with the first answer', async () => {
  link.connect({ ...TARGET });
  await settle();
  assert.equal(link.state, 'connecting');
  link.onDrivable();
  await settle();
  assert.equal(link.state, 'drivable');
});

test('one set-up in flight: a second connect is ignored', async () => {
  link.connect({ ...TARGET });
  link.connect({ ...TARGET, sessionId: 's2' });
  await settle();
  assert.deepEqual(sessions.map(({ id }) => id), ['s1']);
});

for (const kind of ['conflict', 'gone', 'refused']) {
  test(`${kind} at the first attempt ends it, and says why`, async () => {
    opens = [failing(kind)];
    link.connect({ ...TARGET });
    await settle();
    assert.deepEqual(states.at(-1), ['error', `${kind}.`]);
    assert.equal(link.isWanted, false);
    assert.equal(sleeps.length, 0);
  });
}

test('a session that ends while connecting leaves a robot that may dial anew', async () => {
  opens = [failing('ended')];
  link.connect({ ...TARGET });
  await settle();
  assert.equal(link.state, 'reconnecting');
  rows = [];
  await wake();
  assert.equal(link.state, 'reconnecting', 'not listed yet');
  rows = [{ session_id: 's2', robot_id: 'go2' }];
  opens = [async () => {}];
  await wake();
  assert.deepEqual(sessions.map(({ id }) => id), ['s1', 's2']);
});

test('what may pass is tried again, with back-off', async () => {
  opens = [failing('unreachable')];
  link.connect({ ...TARGET });
  await settle();
  assert.equal(link.state, 'reconnecting');
  assert.match(states.at(-1)[1], /unreachable/);
  for (let i = 0; i < 5; i += 1) await wake();
  assert.deepEqual(sleeps.map(({ ms }) => ms), [500, 1000, 2000, 4000, 5000, 5000]);
});

test('Retry-After is honoured', async () => {
  opens = [failing('busy', { retryAfterS: 9 })];
  link.connect({ ...TARGET });
  await settle();
  assert.equal(sleeps[0].ms, 9000);
});

test('a lost link is rebuilt without leaving, in the robot’s new session', async () => {
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  link.onLost(new Error('The robot fell silent.'));
  await settle();
  assert.deepEqual(states.at(-1), ['reconnecting', 'The robot fell silent.']);
  assert.equal(sessions[0].closed, null, 'closed, but the slot is kept');
  rows = [{ session_id: 's2', robot_id: 'go2' }];
  await wake();
  assert.equal(sessions[1].id, 's2');
  link.onDrivable();
  await settle();
  assert.equal(link.state, 'drivable');
});

for (const [workedMs, pauses] of [[5_001, [100, 500, 1000]], [4_999, [500, 1000, 2000]]]) {
  test(`a link that worked for ${workedMs} ms is tried again after ${pauses[0]} ms`, async () => {
    link.connect({ ...TARGET });
    await settle();
    link.onDrivable();
    await settle();
    nowMs += workedMs;
    rows = [];
    link.onLost(new Error('The connection was lost.'));
    await settle();
    await wake();
    await wake();
    assert.deepEqual(sleeps.map(({ ms }) => ms), pauses);
  });
}

test('once driven, even a conflict or a missing robot is waited out', async () => {
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  rows = [];
  link.onLost(new Error('Lost.'));
  await settle();
  await wake();
  assert.equal(link.state, 'reconnecting');
  rows = [{ session_id: 's3', robot_id: 'go2' }];
  opens = [failing('conflict')];
  await wake();
  assert.equal(link.state, 'reconnecting');
  assert.deepEqual(sleeps.map(({ ms }) => ms), [500, 1000, 2000]);
});

test('back-off starts anew after a link that worked', async () => {
  opens = [failing('server'), failing('server'), async () => {}];
  link.connect({ ...TARGET });
  await settle();
  await wake();
  await wake();
  link.onDrivable();
  await settle();
  link.onLost(new Error('Lost.'));
  await settle();
  assert.equal(sleeps.at(-1).ms, 500);
});

test('Disconnect ends the session with a reason, and the retries', async () => {
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  link.disconnect('operator');
  assert.equal(sessions[0].closed, 'operator');
  assert.equal(link.state, 'idle');
  await settle();
  assert.equal(link.state, 'idle');
  assert.equal(sleeps.length, 0);
});

test('Disconnect during the back-off is final', async () => {
  opens = [failing('server')];
  link.connect({ ...TARGET });
  await settle();
  link.disconnect('operator');
  await wake();
  assert.equal(sessions.length, 1);
  assert.equal(link.state, 'idle');
});

test('Disconnect during the set-up, then Connect: the old attempt is void', async () => {
  opens = [() => new Promise(() => {}), async () => {}];
  link.connect({ ...TARGET });
  await settle();
  link.disconnect('operator');
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  assert.equal(link.state, 'drivable');
  assert.equal(sessions.length, 2);
});

test('a refused token ends everything, also in the middle', async () => {
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  link.onLost(new BrokerError('unauthorized', 'Sign in again.'));
  await settle();
  assert.deepEqual(unauthorized, ['Sign in again.']);
  assert.equal(link.state, 'idle');
  assert.equal(link.isWanted, false);
});

test('a set-up that hangs ends after 20 s', async (t) => {
  const timers = new FakeTimers(t);
  let aborted = null;
  opens = [(signal) => new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject((aborted = signal.reason)));
  })];
  link.connect({ ...TARGET });
  await settle();
  timers.pass(19_900);
  await settle();
  assert.equal(link.state, 'connecting');
  timers.pass(200);
  await settle();
  assert.match(aborted.message, /within 20 s/);
  assert.equal(link.state, 'reconnecting');
});

test('a robot that never answers ends after 20 s too', async (t) => {
  const timers = new FakeTimers(t);
  link.connect({ ...TARGET });
  await settle();
  timers.pass(20_100);
  await settle();
  assert.equal(link.state, 'reconnecting');
});

test('a robot that another operator has taken over is not dialled again', async () => {
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  opens = [failing('taken')];
  link.onLost(new Error('closed'));
  await settle();
  await wake();
  assert.deepEqual(states.at(-1), ['error', 'taken.']);
  assert.equal(link.isWanted, false);
});

test('who was put out does not knock again, also not after Retry-After', async () => {
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  opens = [failing('barred', { retryAfterS: 600 })];
  link.onLost(new Error('closed'));
  await settle();
  await wake();
  assert.deepEqual(states.at(-1), ['error', 'barred.']);
  assert.equal(link.isWanted, false);
  assert.equal(sessions.length, 2, 'one attempt, then no more');
  assert.equal(sleeps.length, 1);
});

test('a page whose place another page of this person has taken ends, says so, and can be told to take it back', async () => {
  link.connect({ ...TARGET });
  await settle();
  link.onDrivable();
  await settle();
  checkJoin = (id) => {
    assert.equal(id, 's1');
    throw new BrokerError('replaced', 'You drive this robot from another page.');
  };
  link.onLost(new Error('The robot closed its channels.'));
  await settle();
  await wake();
  assert.deepEqual(states.at(-1), ['idle', 'You drive this robot from another page.']);
  assert.equal(link.isWanted, false);
  assert.equal(link.isReplaced, true);
  assert.equal(sessions.length, 1, 'it does not join again');
  assert.equal(sleeps.length, 1);
  link.connect({ ...TARGET });
  await settle();
  assert.equal(link.isReplaced, false);
  assert.equal(sessions.length, 2);
});

for (const when of ['while connecting', 'while driving']) {
  test(`another page takes over ${when}: no attempt follows`, async () => {
    link.connect({ ...TARGET });
    await settle();
    if (when === 'while driving') link.onDrivable();
    await settle();
    link.onLost(new BrokerError('replaced', 'You drive this robot from another page.'));
    await settle();
    assert.equal(link.isReplaced, true);
    assert.equal(sleeps.length, 0);
    link.disconnect('');
    assert.equal(link.isReplaced, false);
    assert.deepEqual(states.at(-1), ['idle', '']);
  });
}

test('what a redial waits for is said once: the headline says that it reconnects', async () => {
  opens = [failing('busy')];
  link.connect({ ...TARGET });
  await settle();
  assert.deepEqual(states.at(-1), ['reconnecting', 'busy.']);
});
