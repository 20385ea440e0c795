// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { FakeChannel, load } from './support.mjs';

const { Commander } = await load('commander.js');
const { Drive } = await load('drive.js');
const { OperatorSpeed } = await load('input/speed.js');
const { HeldKeys } = await load('input/keyboard.js');
const { Estop } = await load('estop.js');

const AHEAD_S = 3600;
let keys;
let drive;
let estop;
let commander;
let cmd;
let state;

beforeEach(() => {
  let n = 0;
  keys = new HeldKeys();
  drive = new Drive([keys], new OperatorSpeed());
  estop = new Estop(() => `n${(n += 1)}`);
  commander = new Commander({ drive, estop });
  cmd = new FakeChannel();
  state = new FakeChannel();
  commander.attach({ cmd, state }, 0, { sameConnection: false });
});

/** A prompt pong of a robot whose clock is an hour ahead. */
function pong(nowS, rttS = 0.02) {
  return commander.onPong({ client_ts: nowS - rttS, robot_ts: nowS - rttS / 2 + AHEAD_S }, nowS);
}

/** Tick at 50 Hz from a time up to another. */
function run(fromS, toS) {
  for (let i = 0; fromS + i * 0.02 < toS - 1e-9; i += 1) commander.tick(fromS + i * 0.02);
}

/** Synchronised, and neutral for long enough. */
function ready() {
  commander.tick(0);
  pong(0.02);
  run(0.02, 0.5);
  cmd.sent.length = 0;
}

test('no command leaves before the clock is known', () => {
  run(0, 1);
  assert.deepEqual(cmd.commands(), []);
  assert.ok(state.messages('ping').length > 0);
});

test('idle: zeros at 50 Hz, in robot time, numbered one by one', () => {
  commander.tick(0);
  pong(0.02);
  run(0.02, 1.02);
  const commands = cmd.commands();
  assert.equal(commands.length, 50);
  commands.forEach(({ seq, forward, turn }, i) => {
    assert.deepEqual([seq, forward, turn], [i + 1, 0, 0]);
  });
  assert.ok(Math.abs(commands[10].stampS - (0.02 + 10 * 0.02 + AHEAD_S)) < 1e-6);
  assert.equal(commander.commandRate(1.01), 25, '50 within a window of 2 s');
});

test('a held key drives, named after its device', () => {
  ready();
  keys.press('KeyW');
  commander.tick(0.3);
  const [command] = cmd.commands();
  assert.equal(command.forward, 0.3);
  assert.equal(command.frameId, 'keyboard');
  assert.equal(commander.sent().at(-1).zero, false);
});

test('while older bytes wait, a command is left out, not queued', () => {
  ready();
  cmd.bufferedAmount = 1;
  run(0.5, 0.6);
  assert.deepEqual(cmd.commands(), []);
  assert.equal(commander.commandsSkipped, 5);
  cmd.bufferedAmount = 0;
  commander.tick(0.6);
  assert.equal(cmd.commands().length, 1);
});

test('the E-STOP goes out past a backlog', () => {
  ready();
  cmd.bufferedAmount = 1000;
  estop.press(0.5);
  drive.setLock('estop', true);
  commander.tick(0.5);
  assert.equal(cmd.messages('estop').length, 1);
  assert.equal(state.messages('estop').length, 1);
});

test('zeros accompany a pressed E-STOP', () => {
  ready();
  keys.press('KeyW');
  commander.tick(0.5);
  estop.press(0.51);
  drive.setLock('estop', true);
  commander.tick(0.52);
  assert.equal(cmd.commands().at(-1).forward, 0);
});

test('five zeros at once on demand, whatever waits', () => {
  ready();
  keys.press('KeyW');
  commander.tick(0.5);
  cmd.bufferedAmount = 1000;
  drive.releaseAll();
  commander.sendZeros(0.51);
  const commands = cmd.commands().slice(-5);
  assert.deepEqual(commands.map(({ forward }) => forward), [0, 0, 0, 0, 0]);
  const stamps = new Set(commands.map(({ stampS }) => stampS));
  assert.equal(stamps.size, 5, 'each stamp is later than the one before');
});

test('hidden: silence, but the E-STOP', () => {
  ready();
  commander.onLease(1, 0.4);
  cmd.sent.length = 0;
  commander.hidden = true;
  run(0.5, 1);
  assert.deepEqual(cmd.sent, []);
  estop.press(1);
  commander.tick(1);
  assert.equal(cmd.messages('estop').length, 1);
});

test('after a gap in the stream, a held key waits for neutral', () => {
  ready();
  keys.press('KeyW');
  commander.tick(0.5);
  commander.tick(0.94);
  assert.notEqual(cmd.commands().at(-1).forward, 0);
  // The robot takes half a second of silence for a released key.
  commander.tick(1.4);
  assert.equal(cmd.commands().at(-1).forward, 0);
  assert.equal(drive.blockedBy, 'neutral');
});

test('the newest lease is echoed, twice for each of 20 tokens a second', () => {
  ready();
  for (let i = 0; i < 50; i += 1) {
    const nowS = 1 + i * 0.02;
    if (i % 5 === 0 || i % 5 === 3) commander.onLease(i, nowS);
    commander.tick(nowS);
  }
  const tokens = cmd.messages('lease').map(({ token }) => token);
  assert.ok(tokens.length >= 20 && tokens.length <= 34, `${tokens.length} in a second`);
  assert.deepEqual(tokens, [...tokens].sort((a, b) => a - b));
  assert.equal(new Set(tokens).size, 20);
});

test('each echo tells whether a picture is shown: none, until somebody says so', () => {
  ready();
  commander.onLease(1, 1);
  commander.picture = true;
  commander.onLease(2, 2);
  commander.detach();
  commander.attach({ cmd, state }, 3, { sameConnection: false });
  commander.onLease(3, 3);
  const said = cmd.messages('lease').map(({ token, picture }) => [token, picture]);
  assert.deepEqual(said, [[1, false], [2, true], [3, false]]);
});

test('without a lease nothing is echoed, and no nonsense is', () => {
  ready();
  commander.onLease('7', 1);
  commander.onLease(1.5, 1);
  run(1, 1.5);
  assert.deepEqual(cmd.messages('lease'), []);
});

test('an accepted sync is reported, another is not', () => {
  commander.tick(0);
  pong(0.02, 0.02);
  pong(0.5, 0.2);
  const reports = state.messages('clock_report');
  assert.equal(reports.length, 1);
  assert.ok(Math.abs(reports[0].rtt_ms - 20) < 0.01);
  assert.ok(Math.abs(reports[0].offset_ms - AHEAD_S * 1000) < 0.01);
});

test('stamps only rise when a better sample moves the clock back', () => {
  commander.tick(0);
  // All of the way was up: the offset is 100 ms too large.
  commander.onPong({ client_ts: 0, robot_ts: 0.2 + AHEAD_S }, 0.2);
  run(0.2, 0.4);
  pong(0.4, 0.01);
  run(0.4, 0.8);
  const stamps = cmd.commands().map(({ stampS }) => stampS);
  for (let i = 1; i < stamps.length; i += 1) assert.ok(stamps[i] > stamps[i - 1], `at ${i}`);
  assert.ok(Math.abs(stamps.at(-1) - (0.78 + AHEAD_S)) < 1e-3, 'and are right again soon');
});

test('a new connection starts with its own clock and needs neutral', () => {
  ready();
  commander.detach();
  commander.tick(1);
  const fresh = { cmd: new FakeChannel(), state: new FakeChannel() };
  keys.press('KeyW');
  commander.attach(fresh, 2, { sameConnection: false });
  run(2, 2.1);
  assert.deepEqual(fresh.cmd.commands(), []);
  pong(2.1);
  run(2.1, 3);
  assert.ok(fresh.cmd.commands().every(({ forward }) => forward === 0));
  assert.equal(fresh.cmd.commands()[0].seq, commander.lastSeq - fresh.cmd.commands().length + 1);
});

test('fresh channels of the same connection keep the clock', () => {
  ready();
  const fresh = { cmd: new FakeChannel(), state: new FakeChannel() };
  commander.attach(fresh, 1, { sameConnection: true });
  commander.tick(1);
  assert.equal(fresh.cmd.commands().length, 1);
});

test('a channel that closes mid-way is no error', () => {
  ready();
  cmd.readyState = 'closed';
  keys.press('KeyW');
  commander.tick(1);
  commander.sendZeros(1);
  assert.deepEqual(commander.velocity, { forward: 0, left: 0, turn: 0 });
});

test('each echo tells the latencies, and what the robot would refuse is unknown', () => {
  const told = (latency) => {
    cmd.sent.length = 0;
    commander.latency = latency;
    commander.onLease(told.token++, (told.nowS += 1));
    const [{ picture_latency: picture, command_latency: command }] = cmd.messages('lease');
    return [picture, command];
  };
  told.token = 100;
  told.nowS = 10;
  assert.deepEqual(told({ picture: 0.08123456, command: 0.02 }), [0.0812, 0.02]);
  assert.deepEqual(told({ picture: null, command: null }), [null, null]);
  assert.deepEqual(told({ picture: NaN, command: -1 }), [null, null]);
  assert.deepEqual(told({ picture: 61, command: Infinity }), [null, null]);
});

/** The numbers of axes, the first axis and the first button of each Joy that was sent. */
function joys() {
  const binary = cmd.sent.filter((data) => typeof data !== 'string').map((data) => new DataView(data));
  const found = binary.filter((view) => view.getUint32(0) === 0xa0f07abc);
  return found.map((view) => {
    const at = 16 + 16 + view.getUint32(28);
    return { axis: view.getFloat32(at), button: view.getInt32(at + 4 * view.getInt32(8)) };
  });
}

test('a live controller goes to a robot that asks for it, then zeros, then nothing', () => {
  const pad = {
    name: 'pad', isHeld: false, intent: () => ({ forward: 0, left: 0, turn: 0 }), releaseAll() {},
    joy: () => pad.state, state: { axes: [0.5, 0], buttons: [1] },
  };
  drive = new Drive([keys, pad], new OperatorSpeed());
  commander = new Commander({ drive, estop });
  commander.attach({ cmd, state }, 0, { sameConnection: false });
  ready();
  run(1, 1.5);
  assert.deepEqual(joys(), [], 'the robot does not ask');
  commander.offers = { joy: true };
  run(1.5, 2.5);
  assert.ok(joys().length >= 20 && joys().length <= 30, `25 Hz, not ${joys().length}`);
  assert.ok(joys().every(({ axis, button }) => axis === 0.5 && button === 1));
  cmd.sent.length = 0;
  pad.state = null;
  run(2.5, 4);
  const after = joys();
  assert.ok(after.length >= 4 && after.length <= 7, `${after.length}`);
  assert.ok(after.every(({ axis, button }) => axis === 0 && button === 0));
  pad.state = { axes: [1, 1], buttons: [1] };
  cmd.sent.length = 0;
  drive.setLock('estop', true);
  run(4, 5);
  assert.ok(joys().length >= 20, 'the robot decides');
  drive.setLock('video', true);
  run(5, 5.5);
  cmd.sent.length = 0;
  run(5.5, 6);
  assert.deepEqual(joys(), [], 'nothing while locked');
});

test('a press that is a step goes out with its bound, in the same sequence', () => {
  const keys = { name: 'keyboard', isHeld: false, releaseAll() {}, intent: () => ({ forward: 1, left: 0, turn: 0 }) };
  keys.step = () => ({ id: 4, distance: 0.2 });
  drive = new Drive([keys], new OperatorSpeed());
  commander = new Commander({ drive, estop });
  commander.attach({ cmd, state }, 0, { sameConnection: false });
  ready();
  keys.isHeld = true;
  commander.tick(0.52);
  const [step] = cmd.messages('step');
  const { seq, stamp, ...rest } = step;
  assert.deepEqual(rest, { type: 'step', frame_id: 'keyboard', velocity: [0.3, 0, 0], id: 4, distance: 0.2 });
  assert.equal(seq, commander.lastSeq);
  assert.ok(stamp > AHEAD_S);
  keys.isHeld = false;
  commander.tick(0.54);
  assert.equal(cmd.commands().at(-1).seq, seq + 1);
});
