// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { showLayout } = await load('input/key_legend.js');

const US = { KeyW: 'W', KeyA: 'A', KeyQ: 'Q' };
const FRENCH = new Map([['KeyW', 'z'], ['KeyA', 'q'], ['KeyQ', 'a']]);

async function shown(keyboard) {
  const keys = Object.entries(US).map(([code, textContent]) => ({ dataset: { code }, textContent }));
  await showLayout({ keys, keyboard });
  return keys.map(({ textContent }) => textContent).join('');
}

test('the legend shows the letters of the own keyboard', async () => {
  assert.equal(await shown({ getLayoutMap: async () => FRENCH }), 'ZQA');
});

test('the legend falls back to the letters of a US keyboard', async () => {
  for (const keyboard of [
    undefined,
    {},
    { getLayoutMap: async () => new Map() },
    { getLayoutMap: async () => new Map([['KeyW', ''], ['KeyA', 5]]) },
    { getLayoutMap: async () => null },
    { getLayoutMap: () => Promise.reject(new Error('SecurityError')) },
    { getLayoutMap: () => assert.fail('InvalidStateError') },
  ]) {
    assert.equal(await shown(keyboard), 'WAQ');
  }
});
