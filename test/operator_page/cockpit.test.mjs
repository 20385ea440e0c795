// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { BrokerError } = await load('broker_client.js');
const { Cockpit } = await load('cockpit.js');

const ROW = { session_id: 's', robot_id: 'r', robot_name: 'Robot' };

test('a join and a redial begin slowly, before there is a connection', async () => {
  /** The operator's speed at each attempt, when nothing of its connection exists yet. */
  const shares = [];
  let cockpit;
  await new Promise((resolve) => {
    const broker = {
      sessions: async () => [ROW],
      leave: async () => {},
      heartbeat: async () => {},
      iceServers: async () => {
        shares.push(cockpit.speed.share);
        // The operator has made it fast again when the connection is lost.
        cockpit.speed.set(1);
        if (shares.length === 3) resolve();
        throw new BrokerError('unreachable', 'The broker cannot be reached.');
      },
    };
    const video = { addEventListener: () => {}, removeAttribute: () => {}, pause: () => {}, load: () => {} };
    cockpit = new Cockpit({ video, broker, onChange: () => {}, onUnauthorized: () => {} });
    cockpit.speed.set(1);
    cockpit.connect(ROW);
  });
  cockpit.disconnect('test');
  assert.deepEqual(shares, [0.3, 0.3, 0.3]);
});
