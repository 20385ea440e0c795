// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { connectText, isSameRobot } = await load('robot_list.js');

const ROW = { session_id: 's1', robot_id: 'go2', robot_name: 'Go2', operator_id: 'ann' };

test('the button says what a press does', () => {
  assert.equal(connectText(null, false), 'Connect');
  assert.equal(connectText(ROW, false), 'Connect to Go2');
  assert.equal(connectText({ ...ROW, robot_name: '' }, false), 'Connect to go2');
  const mine = { ...ROW, operator_is_you: true };
  assert.equal(connectText(mine, false), 'Take over from your other page');
  assert.equal(connectText(mine, true), 'Drive here');
});

test('a robot is the same in a later session, but not without a name', () => {
  const target = { sessionId: 's1', robotId: 'go2', robotName: 'Go2' };
  assert.equal(isSameRobot(ROW, target), true);
  assert.equal(isSameRobot({ ...ROW, session_id: 's2' }, target), true);
  assert.equal(isSameRobot({ ...ROW, session_id: 's2', robot_id: 'spot' }, target), false);
  const nameless = { sessionId: 's1', robotId: '', robotName: 'robot' };
  assert.equal(isSameRobot({ ...ROW, session_id: 's2', robot_id: '' }, nameless), false);
  assert.equal(isSameRobot(null, target), false);
  assert.equal(isSameRobot(ROW, null), false);
});
