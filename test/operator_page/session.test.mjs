// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';

import { FakeTimers, load } from './support.mjs';

const { Session } = await load('session.js');
const { BrokerError } = await load('broker_client.js');
const { Link } = await load('link.js');

const BRIDGE = {
  cmd_channel_id: 2,
  state_channel_id: 3,
  state_back_channel_id: 4,
  map_channel_id: 5,
  video_offer: null,
  video_status: 'ok',
};

class FakeDataChannel extends EventTarget {
  readyState = 'open';

  close() {
    this.readyState = 'closed';
  }
}

/** A connection that comes up when a test says so. */
class FakePeer extends EventTarget {
  connectionState = 'new';
  iceGatheringState = 'complete';
  localDescription = null;

  addTransceiver() {}

  getTransceivers() {
    return [];
  }

  getConfiguration() {
    return { iceServers: [] };
  }

  createDataChannel() {
    return new FakeDataChannel();
  }

  async createOffer() {
    return { type: 'offer', sdp: 'offer' };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
  }

  async setRemoteDescription() {}

  become(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  close() {
    this.connectionState = 'closed';
  }
}

/** Answers the calls of a session; `heartbeatFails` is how it answers heartbeats. */
class FakeBroker {
  heartbeats = [];
  joins = [];
  left = [];
  heartbeatFails = null;
  /** What it adds to the answer to a heartbeat. */
  beatSays = {};
  bridges = [];
  /** What it adds to the answer to a bridge. */
  bridgeSays = {};
  /** Set: heartbeats are not answered before it resolves. */
  holdsHeartbeats = null;

  async iceServers() {
    return [];
  }

  async join(sessionId) {
    this.joins.push(sessionId);
    return { sdp_answer: 'answer', cf_session_id: 'me' };
  }

  async bridge(sessionId, { joinId } = {}) {
    this.bridgedAs = joinId;
    this.bridges.push(this.bridgeSays);
    return { ...BRIDGE, ...this.bridgeSays };
  }

  async heartbeat(sessionId, { joinId }) {
    this.heartbeats.push([sessionId, joinId]);
    await this.holdsHeartbeats;
    if (this.heartbeatFails) throw new BrokerError(this.heartbeatFails, 'The broker says no.');
    return { ack: true, ...this.beatSays };
  }

  async leave(sessionId, reason, joinId) {
    this.left.push([sessionId, reason, joinId]);
  }
}

let broker;
let peers;
let lost;
let session;
let attempt;
let timers;
/** What the session has said about why there is no picture. */
let reasons;

/** Let everything that waits for nothing but promises happen. */
async function settle() {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function pass(seconds) {
  for (let i = 0; i < seconds; i += 1) {
    timers.pass(1_000);
    await settle();
  }
}

function createSession(sessionId, onLost, role = 'operator', onJoined = () => {}) {
  const events = {
    onJoined,
    onChannels: () => {},
    onTrack: () => {},
    onVideoPromised: () => {},
    onNoVideo: () => {},
    onVideoReason: (reason) => reasons.push(reason),
    onMessage: () => {},
    onLost,
    canInterrupt: () => true,
  };
  return new Session({ broker, sessionId, events, role });
}

/** Join; the connection is not up yet. */
async function joined(t, role) {
  timers = new FakeTimers(t);
  session = createSession('s1', (error) => lost.push(error), role);
  const opened = session.open(attempt.signal);
  opened.catch(() => {});
  await settle();
  assert.deepEqual(broker.joins, ['s1']);
  return { opened };
}

beforeEach(() => {
  broker = new FakeBroker();
  peers = [];
  lost = [];
  reasons = [];
  session = null;
  attempt = new AbortController();
  globalThis.RTCPeerConnection = class extends FakePeer {
    constructor() {
      super();
      peers.push(this);
    }
  };
});

afterEach(() => {
  session?.close(null);
  delete globalThis.RTCPeerConnection;
});

test('a session that ends before the connection is up is noticed by the next heartbeat', async (t) => {
  await joined(t);
  await pass(2);
  assert.deepEqual(lost, []);
  broker.heartbeatFails = 'gone';
  await pass(1);
  assert.deepEqual(lost.map(({ kind }) => kind), ['ended']);
});

for (const kind of [
  'refused', 'conflict', 'unauthorized', 'server', 'busy', 'unreachable', 'misrouted',
]) {
  test(`a broker that answers heartbeats with ${kind} before the bridge is no end`, async (t) => {
    broker.heartbeatFails = kind;
    const { opened } = await joined(t);
    await pass(5);
    assert.equal(broker.heartbeats.length, 5);
    assert.deepEqual(lost, []);
    peers[0].become('connected');
    await opened;
    broker.heartbeatFails = null;
    await pass(10);
    assert.deepEqual(lost, []);
  });
}

for (const kind of ['refused', 'barred', 'conflict', 'unauthorized']) {
  test(`${kind} after the bridge has given the robot away`, async (t) => {
    const { opened } = await joined(t);
    peers[0].become('connected');
    await opened;
    broker.heartbeatFails = kind;
    await pass(1);
    assert.equal(lost[0]?.kind, kind);
  });
}

for (const kind of ['unreachable', 'misrouted']) {
  test(`a broker that is out of reach is no end: ${kind}`, async (t) => {
    const { opened } = await joined(t);
    peers[0].become('connected');
    await opened;
    broker.heartbeatFails = kind;
    await pass(40);
    assert.deepEqual(lost, []);
  });
}

test('once a second while the longest set-up takes, then every 5 s', async (t) => {
  const { opened } = await joined(t);
  peers[0].become('connected');
  await opened;
  await pass(20);
  assert.equal(broker.heartbeats.length, 20);
  await pass(20);
  assert.equal(broker.heartbeats.length, 24);
});

test('one heartbeat at a time', async (t) => {
  let answer;
  broker.holdsHeartbeats = new Promise((resolve) => (answer = resolve));
  await joined(t);
  await pass(5);
  assert.equal(broker.heartbeats.length, 1);
  answer();
  await settle();
  await pass(1);
  assert.equal(broker.heartbeats.length, 2);
});

test('why there is no picture is heard with each heartbeat, and that it is over', async (t) => {
  const { opened } = await joined(t, 'viewer');
  peers[0].become('connected');
  await opened;
  broker.beatSays = { video_reason: 'No picture: H.264.' };
  await pass(1);
  assert.equal(reasons.at(-1), 'No picture: H.264.');
  broker.beatSays = { video_reason: { no: 'text' } };
  await pass(1);
  assert.equal(reasons.at(-1), null);
  broker.beatSays = { video_reason: 'x'.repeat(10_000) };
  await pass(1);
  assert.ok(reasons.at(-1).length <= 200);
  session.close(null);
  const heard = reasons.length;
  await pass(10);
  assert.equal(reasons.length, heard);
});

test('what this browser cannot take is not asked for again', async (t) => {
  broker.bridgeSays = { video_status: 'pull_error', video_reason: 'No picture: H.264.' };
  const { opened } = await joined(t);
  peers[0].become('connected');
  await opened;
  await pass(20);
  assert.equal(broker.bridges.length, 1);
  assert.equal(reasons.at(-1), null, 'the heartbeat says that it is over');
  assert.ok(reasons.includes('No picture: H.264.'));
});

test('other trouble with the picture is asked about again', async (t) => {
  broker.bridgeSays = { video_status: 'no_published_track' };
  const { opened } = await joined(t);
  peers[0].become('connected');
  await opened;
  await pass(20);
  assert.equal(broker.bridges.length, 7);
});

for (const role of ['operator', 'viewer']) {
  test(`which of a person’s pages it is, is said with each heartbeat: ${role}`, async (t) => {
    const { opened } = await joined(t, role);
    peers[0].become('connected');
    await opened;
    await pass(1);
    assert.deepEqual(broker.heartbeats, [['s1', 'me']]);
    assert.equal(broker.bridgedAs, role === 'viewer' ? 'me' : undefined);
  });
}

for (const [role, kinds] of [['operator', ['replaced']], ['viewer', []]]) {
  test(`a newer join of the same person, before the bridge: ${role}`, async (t) => {
    await joined(t, role);
    broker.heartbeatFails = 'replaced';
    await pass(1);
    assert.deepEqual(lost.map(({ kind }) => kind), kinds);
  });
}

test('a session that was closed sends no more', async (t) => {
  await joined(t);
  await pass(1);
  session.close('operator');
  await pass(30);
  assert.equal(broker.heartbeats.length, 1);
  assert.deepEqual(broker.left, [['s1', 'operator', 'me']]);
});

test('nor does one that is closed while a heartbeat is under way', async (t) => {
  let answer;
  broker.holdsHeartbeats = new Promise((resolve) => (answer = resolve));
  await joined(t);
  await pass(1);
  session.close(null);
  broker.heartbeatFails = 'gone';
  answer();
  await pass(30);
  assert.equal(broker.heartbeats.length, 1);
  assert.deepEqual(lost, []);
});

test('the page joins the robot’s next session when the first ends while connecting', async (t) => {
  timers = new FakeTimers(t);
  const states = [];
  let rows = [];
  const link = new Link({
    listSessions: async () => rows,
    createSession: (id) => createSession(id, (error) => link.onLost(error)),
    onState: (state, message) => states.push([state, message]),
    onUnauthorized: () => {},
    sleep: async () => {},
  });
  t.after(() => link.disconnect('test over'));
  link.connect({ sessionId: 's1', robotId: 'go2', robotName: 'Go2' });
  await settle();
  rows = [{ session_id: 's2', robot_id: 'go2' }];
  broker.heartbeatFails = 'gone';
  await pass(1);
  broker.heartbeatFails = null;
  assert.deepEqual(states.at(-1), [
    'reconnecting',
    'The robot’s session has ended.',
  ]);
  assert.deepEqual(broker.joins, ['s1', 's2']);
  peers[1].become('connected');
  await settle();
  link.onDrivable();
  await settle();
  assert.equal(link.state, 'drivable');
});

test('what the broker says of this person at the join is passed on', async () => {
  const told = [];
  broker.join = async () => ({ sdp_answer: 'answer', operator_id: 'ann', may_stop: false });
  session = createSession('s1', () => {}, 'viewer', (answer) => told.push(answer));
  session.open(attempt.signal).catch(() => {});
  await settle();
  assert.deepEqual(told, [{ sdp_answer: 'answer', operator_id: 'ann', may_stop: false }]);
});
