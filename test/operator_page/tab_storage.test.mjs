// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { tabStorage } = await load('tab_storage.js');

test('the tab’s own storage is used', () => {
  const sessionStorage = {};
  assert.equal(tabStorage({ sessionStorage }), sessionStorage);
});

test('where the browser forbids it, things are kept as long as the page', () => {
  const storage = tabStorage({
    get sessionStorage() {
      throw new Error('SecurityError: The operation is insecure.');
    },
  });
  assert.equal(storage.getItem('token'), null);
  storage.setItem('token', 'secret');
  assert.equal(storage.getItem('token'), 'secret');
  storage.removeItem('token');
  assert.equal(storage.getItem('token'), null);
});
