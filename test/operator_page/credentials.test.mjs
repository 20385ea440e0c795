// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { load } from './support.mjs';

const { forgetToken, keyOf, storeToken, tabStorage, takeToken } = await load('credentials.js');

let storage;
let urls;
beforeEach(() => {
  const values = new Map();
  storage = {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
  urls = [];
});

function open(hash, pathname = '/') {
  const history = { replaceState: (_state, _title, url) => urls.push(url) };
  return takeToken({ location: { hash, pathname, search: '?x=1' }, history, storage });
}

test('the fragment’s token is kept, and taken out of the address at once', () => {
  assert.equal(open('#token=top%2Bsecret'), 'top+secret');
  assert.deepEqual(urls, ['/?x=1']);
  assert.equal(open(''), 'top+secret', 'after a reload');
});

test('no token, or an empty one, is none', () => {
  assert.equal(open(''), null);
  assert.equal(open('#token='), null);
  assert.deepEqual(urls, ['/?x=1']);
});

test('a token can be typed, and forgotten', () => {
  storeToken(storage, ' typed \n');
  assert.equal(open(''), 'typed');
  forgetToken(storage);
  assert.equal(open(''), null);
});

test('brokers below several paths of one host do not get each other’s token', () => {
  assert.equal(open('#token=of-a', '/a/'), 'of-a');
  assert.equal(open('', '/b/'), null);
  assert.equal(open('', '/'), null);
  assert.equal(open('', '/a/index.html'), 'of-a');
  assert.deepEqual(urls, ['/a/?x=1']);
  forgetToken(storage, keyOf('/a/'));
  assert.equal(open('', '/a/'), null);
});

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
