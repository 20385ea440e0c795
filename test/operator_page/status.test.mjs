// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const status = await load('status.js');
const { headline, message, pageState, stoppedByText } = status;

const CALM = {
  signedIn: true, link: 'drivable', estop: 'clear', moving: false, blockedBy: null, held: false,
  hasVideo: true, quiet: false,
};
const ANN = { sub: 'ann', role: 'viewer', isMe: false };
const TEXTS = { link: '', notice: '', releaseFailure: null };

test('the one state of the page', () => {
  const cases = [
    [{ signedIn: false }, 'signed-out'],
    [{ link: 'idle' }, 'idle'],
    [{ link: 'error' }, 'error'],
    [{ link: 'connecting', estop: 'stopped' }, 'connecting'],
    [{ link: 'reconnecting' }, 'reconnecting'],
    [{}, 'drivable'],
    [{ moving: true }, 'driving'],
    [{ watching: true }, 'watching'],
    [{ watching: true, estop: 'stopped' }, 'stopped'],
    [{ watching: true, link: 'connecting' }, 'connecting'],
    [{ estop: 'not-confirmed', moving: true }, 'stopped'],
    [{ estop: 'releasing' }, 'stopped'],
  ];
  for (const [change, state] of cases) assert.equal(pageState({ ...CALM, ...change }), state);
});

test('an unconfirmed stop is never called stopped', () => {
  const situation = { ...CALM, estop: 'not-confirmed' };
  assert.equal(headline(situation), 'Stop not confirmed');
  assert.match(message(situation, TEXTS), /not confirmed/);
  assert.match(message({ ...situation, link: 'reconnecting' }, TEXTS), /not delivered/);
});

test('what blocks driving is said, and only when it matters', () => {
  assert.match(message({ ...CALM, blockedBy: 'video' }, TEXTS), /frozen/);
  assert.equal(message({ ...CALM, blockedBy: 'neutral' }, TEXTS), '');
  assert.match(message({ ...CALM, blockedBy: 'neutral', held: true }, TEXTS), /Release all/);
  assert.match(message({ ...CALM, hasVideo: false }, TEXTS), /no picture/);
  assert.match(message({ ...CALM, quiet: true }, TEXTS), /silent/);
  assert.match(message({ ...CALM, blind: true }, TEXTS), /no current image/);
  assert.match(message({ ...CALM, blind: true, hasVideo: false }, TEXTS), /no picture/);
  const unseen = { ...CALM, blind: true, blindPage: true };
  assert.match(message(unseen, TEXTS), /No picture is shown here: the robot is slowed or stopped until there is one/);
  assert.match(message({ ...unseen, hasVideo: false }, TEXTS), /no picture. The robot is slowed or stopped/);
});

test('a browser that cannot take the robot’s codec is told which, and what follows', () => {
  const videoReason = 'No picture: this robot sends H.264 only, and this browser takes VP8 only.';
  const shown = (situation) => message({ ...CALM, videoReason, ...situation }, TEXTS);
  assert.equal(shown({ hasVideo: false }), `${videoReason} You would be driving blind.`);
  assert.equal(shown({ blindPage: true, blind: true }), `${videoReason} The robot is slowed or stopped.`);
  assert.equal(shown({ blockedBy: 'video' }), `${videoReason} Driving is locked.`);
  assert.equal(shown({ watching: true, blockedBy: 'watching' }), videoReason);
  assert.equal(message(CALM, TEXTS), '');
});

test('why there is no picture to drive by is said in the words of the robot', () => {
  const cameraFaults = { front: 'what comes cannot be shown: no keyframe yet', rear: 'something' };
  const said = 'Camera front: what comes cannot be shown: no keyframe yet';
  assert.equal(message({ ...CALM, blind: true, cameraFaults }, TEXTS), said);
  assert.equal(message({ ...CALM, blockedBy: 'video', cameraFaults }, TEXTS), said);
  assert.equal(message({ ...CALM, watching: true, blind: true, cameraFaults }, TEXTS), said);
  assert.equal(message({ ...CALM, cameraFaults }, TEXTS), '', 'there is one all the same');
  for (const strange of [null, 5, [], {}, { front: 5 }, { front: null }]) {
    assert.match(message({ ...CALM, blind: true, cameraFaults: strange }, TEXTS), /^There is no current image/);
  }
  const long = { front: 'x'.repeat(9000) };
  assert.ok(message({ ...CALM, blind: true, cameraFaults: long }, TEXTS).length <= 400);
});

test('why the robot does not obey is said, as far as the page has words for it', () => {
  assert.match(message({ ...CALM, refusing: 'disabled' }, TEXTS), /disabled at the robot/);
  assert.match(message({ ...CALM, refusing: 'stale' }, TEXTS), /too late/);
  assert.equal(message({ ...CALM, refusing: 'something_new' }, TEXTS), '');
  assert.equal(message({ ...CALM, refusing: 'constructor' }, TEXTS), '');
  assert.equal(message({ ...CALM, refusing: null }, TEXTS), '');
});

test('what to change about a robot with two sessions is said with whatever comes of it', () => {
  const split = 'Give both the same robot_id.';
  const said = (change, texts = TEXTS) => message({ ...CALM, split, ...change }, texts);
  assert.equal(said({}), split);
  assert.equal(said({ watching: true }), split);
  for (const change of [{ hasVideo: false }, { quiet: true }, { blockedBy: 'video' }]) {
    assert.equal(said(change), `${message({ ...CALM, ...change }, TEXTS)} ${split}`);
  }
  assert.match(said({ watching: true, hasVideo: false }), /no picture.*robot_id/);
  const texts = { ...TEXTS, link: 'No answer.' };
  assert.equal(said({ link: 'connecting' }, texts), `No answer. ${split}`);
  // What the operator has to know first is not pushed away by it.
  for (const change of [
    { estop: 'stopped' }, { blockedBy: 'neutral', held: true }, { link: 'error' },
  ]) {
    assert.equal(said(change), message({ ...CALM, ...change }, TEXTS));
  }
});

test('a failed connection keeps its reason', () => {
  const texts = { ...TEXTS, link: 'Session already has operator: ben' };
  assert.equal(message({ ...CALM, link: 'error' }, texts), texts.link);
});

test('a failed release is said', () => {
  const texts = { ...TEXTS, releaseFailure: 'The robot refused the release.' };
  assert.equal(message({ ...CALM, estop: 'stopped' }, texts), texts.releaseFailure);
});

test('who stopped the robot, in words', () => {
  const cases = [
    [{ sub: 'ann', role: 'viewer' }, 'by ann, viewer'],
    [{ sub: 'ben', role: 'operator' }, 'by ben'],
    [{ sub: 'root', role: 'admin' }, 'by root, admin'],
    [{ sub: '/teleop_bridge/estop_in', role: 'robot' }, 'by /teleop_bridge/estop_in on the robot'],
    [{ sub: '', role: 'robot' }, 'on the robot'],
    [{ sub: '', role: 'operator' }, 'by somebody'],
    [{ sub: 'you', role: 'operator' }, 'by “you”'],
    [{ sub: '', role: 'admin' }, 'by an admin'],
    [{ sub: '', role: 'viewer' }, 'by a viewer'],
    [{ sub: 'you', role: 'viewer' }, 'by you, viewer'],
    [{ sub: 'ann', role: 'constructor' }, 'by ann'],
    [{ sub: '', role: 'something new' }, ''],
  ];
  for (const [by, text] of cases) {
    assert.equal(stoppedByText({ ...by, isMe: false }), text);
  }
  assert.equal(stoppedByText(null), '');
  assert.equal(stoppedByText(undefined), '');
  assert.equal(stoppedByText({ sub: 'ann', role: 'operator', isMe: true }), 'by you');
  assert.equal(stoppedByText({ sub: 'ann', role: 'robot', isMe: true }), 'by ann on the robot');
  assert.equal(stoppedByText({ sub: '', role: 'operator', isMe: true }), 'by somebody');
});

test('no name is longer than its place', () => {
  const long = 'a'.repeat(5_000) + 'z'.repeat(5_000);
  assert.ok(stoppedByText({ sub: long, role: 'viewer' }).length < 200);
  const note = (sub, role) =>
    status.estopDisplay(
      { ...CALM, estop: 'stopped', stoppedBy: { sub, role } },
      { usable: true, mayStop: true },
    ).note;
  assert.equal(note(long, 'viewer'), `by ${'a'.repeat(17)}…, viewer`);
  assert.equal(note(long, 'robot'), `by …${'z'.repeat(23)} on the robot`);
  assert.equal(note('/teleop_bridge/estop_in', 'robot'), 'by /teleop_bridge/estop_in on the robot');
});

test('who stopped the robot is said to whoever drives and to whoever watches', () => {
  const stopped = { ...CALM, estop: 'stopped', stoppedBy: ANN };
  assert.match(message(stopped, TEXTS), /^Stopped by ann, viewer\. The robot does not move/);
  assert.match(
    message({ ...stopped, watching: true }, TEXTS),
    /^Stopped by ann, viewer\. Only the operator who drives/,
  );
  assert.match(message({ ...stopped, stoppedBy: null }, TEXTS), /^The E-STOP is engaged\./);
});

test('beside the E-STOP: who stopped the robot, else why this page cannot', () => {
  const may = { usable: true, mayStop: true };
  const mayNot = { usable: true, mayStop: false };
  const stopped = { ...CALM, estop: 'stopped', stoppedBy: ANN };
  assert.equal(status.estopDisplay(CALM, may).note, '');
  assert.equal(status.estopDisplay(stopped, may).note, 'by ann, viewer');
  assert.equal(status.estopDisplay(CALM, mayNot).note, 'Viewers may not stop this robot.');
  assert.equal(status.estopDisplay(stopped, mayNot).note, 'by ann, viewer');
  assert.equal(status.estopDisplay(stopped, { usable: false, mayStop: true }).note, '');
  assert.match(status.estopDisplay(CALM, may).hint, /^Stop the robot/);
  assert.equal(status.estopDisplay(CALM, mayNot).hint, 'Viewers may not stop this robot.');
  assert.match(status.estopDisplay(CALM, { usable: false, mayStop: true }).hint, /^Connect/);
});

test('what a press of the E-STOP is worth is said on it, and never more than that', () => {
  const may = { usable: true, mayStop: true };
  const cases = [
    [{}, may, 'ready', 'software stop'],
    [{ quiet: true }, may, 'unanswered', 'no answer'],
    [{ estop: 'not-confirmed' }, may, 'unanswered', 'no answer'],
    [{ estop: 'stopping' }, may, 'ready', 'software stop'],
    [{ estop: 'stopped' }, may, 'ready', 'software stop'],
    [{ canSend: false }, may, 'unconnected', 'no connection'],
    [{ link: 'connecting' }, may, 'unconnected', 'no connection'],
    [{ link: 'reconnecting', quiet: true }, may, 'unconnected', 'no connection'],
    [{}, { usable: true, mayStop: false }, 'refused', 'not allowed'],
    [{ link: 'idle' }, { usable: false, mayStop: true }, 'none', 'no robot'],
  ];
  for (const [change, button, reach, caption] of cases) {
    const shown = status.estopDisplay({ ...CALM, ...change }, button);
    assert.equal(shown.reach, reach);
    assert.equal(shown.caption, caption);
  }
  const hint = (change) => status.estopDisplay({ ...CALM, ...change }, may).hint;
  assert.match(hint({}), /software stop/);
  assert.match(hint({ canSend: false }), /sent as soon as/);
  assert.match(hint({ quiet: true }), /may not receive/);
});

test('an E-STOP that cannot be pressed locks driving, and that is said', () => {
  const situation = { ...CALM, blockedBy: 'covered' };
  assert.equal(headline(situation), 'Driving locked');
  assert.match(message(situation, TEXTS), /covers the E-STOP/);
});
