// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

const ROOT = new URL('../../', import.meta.url);
const PAGE = new URL('teleop_webrtc_bridge/operator_page/', ROOT);

async function read(name, folder = PAGE) {
  return readFile(new URL(name, folder), 'utf8');
}

/** Words only: neither line breaks nor what marks them up. */
function words(text) {
  return text.replaceAll(/<[^>]*>|[*`]/g, '').replaceAll(/\s+/g, ' ').trim();
}

test('the page says what the base must do as docs/safety.md says it', async () => {
  const docs = await read('docs/safety.md', ROOT);
  const [, part] = docs.split('## What the robot\'s base must do itself\n');
  const points = part.split('\n## ')[0].split('\n* ').slice(1);
  const page = words(await read('stop.html')).replaceAll('’', "'");
  assert.ok(points.length >= 6);
  for (const point of points) {
    const [claim] = words(point).split(/[,.:;]/);
    assert.ok(page.includes(claim), claim);
  }
});

test('the page about the stop says as much in German as in English', async () => {
  const tags = /<(h1|h2|p|li|strong|code|em)\b/g;
  const parts = async (name) => [...(await read(name)).matchAll(tags)].map(([, tag]) => tag);
  assert.deepEqual(await parts('stop.de.html'), await parts('stop.html'));
});

test('nothing calls the button an emergency stop, and no yellow surrounds it', async () => {
  const index = words(await read('index.html'));
  const html = await read('index.html');
  assert.match(html, /id="estop"[^>]*aria-describedby="[^"]*\bestop-about"/);
  assert.match(html, /href="\.\/stop\.html#base"/);
  for (const [, before] of html.matchAll(/(.{0,60})emergency\s+stop/gis)) {
    assert.match(before, /not an\s*$/, 'only to say that it is not one');
  }
  assert.match(index, /software stop/);
  const css = await read('style.css');
  const rules = [...css.matchAll(/\.estop[^{]*\{[^}]*\}/g)].map(([rule]) => rule);
  assert.ok(rules.length > 5);
  for (const rule of rules.filter((it) => !/estop-(state|note)/.test(it))) {
    assert.doesNotMatch(rule, /#f5c518|yellow|--wait/);
  }
});

test('the page refers to nothing by an absolute path', async () => {
  for (const name of ['index.html', 'stop.html', 'stop.de.html']) {
    for (const [, url] of (await read(name)).matchAll(/\s(?:href|src|action)="([^"]*)"/g)) {
      assert.match(url, /^\.\//, url);
    }
  }
});
