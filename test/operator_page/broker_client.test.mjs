// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './support.mjs';

const { BrokerClient, BrokerError } = await load('broker_client.js');

/** A fetch that answers with what is given, and keeps the requests. */
function answering(status, body, headers = {}) {
  const requests = [];
  const fetch = async (url, options) => {
    requests.push({ url, ...options });
    return {
      ok: status >= 200 && status < 300,
      status,
      headers: new Headers(headers),
      json: async () => (typeof body === 'function' ? body() : body),
    };
  };
  return { requests, client: new BrokerClient({ token: 'secret', fetch }) };
}

async function failureOf(promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof BrokerError, `${error}`);
    return error;
  }
  return assert.fail('it did not fail');
}

const CASES = [
  [401, 'no such token', 'unauthorized', /Sign in again/],
  [403, 'not the bound operator', 'refused', /^not the bound operator$/],
  [404, 'unknown session', 'gone', /not connected to the broker/],
  [409, 'media session gone', 'conflict', /^media session gone$/],
  [409, 'Session already has operator: ben', 'taken', /^Session already has operator: ben$/],
  [403, 'A newer join of the same operator took over', 'replaced', /^You drive this robot from another/],
  [409, 'A newer join of the same operator took over', 'replaced', /^You drive this robot from another/],
  [422, 'sdp_offer: field required', 'refused', /sdp_offer: field required/],
  [429, 'slow down', 'busy', /Too many attempts/],
  [500, null, 'server', /HTTP 500/],
  [502, 'media backend failed', 'server', /media backend failed/],
];

for (const [status, detail, kind, text] of CASES) {
  test(`HTTP ${status} is ${kind}, in one line`, async () => {
    const { client } = answering(status, { detail });
    const error = await failureOf(client.join('s', 'v=0'));
    assert.equal(error.kind, kind);
    assert.equal(error.status, status);
    assert.match(error.message, text);
    assert.ok(!error.message.includes('\n'));
  });
}

test('429 says how long to wait', async () => {
  const { client } = answering(429, { detail: '' }, { 'Retry-After': '7' });
  assert.equal((await failureOf(client.sessions())).retryAfterS, 7);
});

test('who was removed is barred for a while, and reads why', async () => {
  const headers = { 'Retry-After': '590' };
  const said = answering(403, { detail: 'You were removed; come back in 590 s' }, headers).client;
  const error = await failureOf(said.join('s', 'v=0'));
  assert.equal(error.kind, 'barred');
  assert.equal(error.retryAfterS, 590);
  assert.equal(error.message, 'You were removed; come back in 590 s');
  const silent = answering(403, {}, headers).client;
  assert.match((await failureOf(silent.join('s', 'v=0'))).message, /removed from.* in 10 min/);
});

test('somebody who watches is removed by name and role', async () => {
  const { client, requests } = answering(200, { removed: 1 });
  await client.removeViewer('a/b', { operator_id: 'ann', role: 'viewer', more: 1 });
  assert.equal(requests[0].url, '/api/v1/sessions/a%2Fb/remove-viewer');
  assert.equal(requests[0].method, 'POST');
  assert.deepEqual(JSON.parse(requests[0].body), { operator_id: 'ann', role: 'viewer' });
});

test('an error page that is not JSON is still one line', async () => {
  const { client } = answering(502, () => Promise.reject(new SyntaxError('<html>')));
  assert.match((await failureOf(client.sessions())).message, /HTTP 502/);
});

const BASE = 'https://host/teleop/api/v1';

/** A proxy that answers by itself. */
function proxied(status, body, type = 'text/html') {
  const fetch = async () => ({
    ok: status >= 200 && status < 300,
    status,
    headers: new Headers({ 'Content-Type': type }),
    json: async () => (body === undefined ? Promise.reject(new SyntaxError('<')) : body),
  });
  return new BrokerClient({ token: 'secret', fetch, base: BASE });
}

for (const [status, body] of [
  [200, undefined], [301, undefined], [401, undefined], [403, undefined], [404, undefined],
  [404, { message: 'no Route matched' }], [404, { detail: 'Not Found' }], [404, {}], [404, 'lost'],
  [405, undefined], [413, undefined], [429, undefined],
]) {
  test(`a proxy's ${status} with ${JSON.stringify(body)} is about neither robot nor token`, async () => {
    const error = await failureOf(proxied(status, body).join('s', 'v=0'));
    assert.equal(error.kind, 'misrouted');
    const said = `The broker’s API is not at ${BASE}: a proxy answered HTTP ${status}.`;
    assert.equal(error.message, said);
  });
}

for (const status of [500, 502, 503, 504, 521]) {
  test(`a proxy's ${status}: the call may have come through`, async () => {
    const error = await failureOf(proxied(status).join('s', 'v=0'));
    assert.equal(error.kind, 'misrouted');
    assert.equal(error.status, null);
    assert.match(error.message, new RegExp(`proxy answered HTTP ${status}`));
  });
}

test('an empty answer of a broker is no proxy’s', async () => {
  assert.equal(await proxied(200, null, 'application/json').heartbeat('s'), null);
});

test('a schema violation with a list as detail is still one line', async () => {
  const { client } = answering(422, { detail: [{ loc: ['body'], msg: 'x' }] });
  assert.match((await failureOf(client.join('s', 'v=0'))).message, /HTTP 422/);
});

test('no network is unreachable', async () => {
  const fetch = async () => {
    throw new TypeError('Failed to fetch');
  };
  const error = await failureOf(new BrokerClient({ token: 't', fetch }).sessions());
  assert.equal(error.kind, 'unreachable');
  assert.equal(error.status, null);
});

test('an abort of ours passes on its own reason', async () => {
  const abort = new AbortController();
  const fetch = (_, { signal }) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('aborted')));
    });
  const call = new BrokerClient({ token: 't', fetch }).sessions({ signal: abort.signal });
  const reason = new Error('too slow');
  abort.abort(reason);
  await assert.rejects(call, reason);
});

test('the token travels in the header, never in the address', async () => {
  const { client, requests } = answering(200, { sdp_answer: 'v=0' });
  await client.join('a/b', 'offer');
  const [request] = requests;
  assert.equal(request.url, '/api/v1/sessions/a%2Fb/join');
  assert.equal(request.method, 'POST');
  assert.equal(request.headers.Authorization, 'Bearer secret');
  assert.equal(request.redirect, 'error');
  assert.deepEqual(JSON.parse(request.body), { role: 'operator', sdp_offer: 'offer' });
});

test('bridge has no body, and refuses ids that a broker must not hand out', async () => {
  const good = {
    cmd_channel_id: 2, state_channel_id: 3, state_back_channel_id: 4, map_channel_id: 5,
    video_offer: null, video_status: 'ok',
  };
  const { client, requests } = answering(200, good);
  assert.equal((await client.bridge('s')).cmd_channel_id, 2);
  assert.equal(requests[0].body, undefined);
  for (const bad of [0, 1, '2', 2.5, null, 65535]) {
    const broker = answering(200, { ...good, map_channel_id: bad }).client;
    const error = await failureOf(broker.bridge('s'));
    assert.equal(error.kind, 'server', `${bad}`);
  }
});

test('no TURN credentials are no failure; a refused token is', async () => {
  assert.deepEqual(await answering(503, { detail: 'none' }).client.iceServers(), []);
  assert.deepEqual(await answering(429, {}).client.iceServers(), []);
  assert.deepEqual(await answering(200, { nonsense: 1 }).client.iceServers(), []);
  assert.equal((await failureOf(answering(401, {}).client.iceServers())).kind, 'unauthorized');
});

test('TURN credentials are kept for reconnects: the broker limits their rate', async () => {
  const servers = [{ urls: 'turn:relay', username: 'u', credential: 'c' }];
  const { client, requests } = answering(200, { ice_servers: servers });
  assert.deepEqual(await client.iceServers(), servers);
  assert.deepEqual(await client.iceServers(), servers);
  assert.equal(requests.length, 1);
});

test('leave outlives the page and never fails', async () => {
  const { client, requests } = answering(500, {});
  await client.leave('s', 'page closed');
  assert.equal(requests[0].keepalive, true);
  assert.deepEqual(JSON.parse(requests[0].body), { reason: 'page closed' });
});

test('rows without a session id are left out of the list', async () => {
  const { client } = answering(200, [{ session_id: 's' }, null, { robot_id: 'r' }]);
  assert.deepEqual(await client.sessions(), [{ session_id: 's' }]);
  assert.equal((await failureOf(answering(200, {}).client.sessions())).kind, 'server');
});

test('a viewer says which one it is, wherever an operator need not', async () => {
  const { client, requests } = answering(200, { sdp_answer: 'v=0', state: 'pending' });
  await client.join('s', 'offer', { role: 'viewer' });
  await client.heartbeat('s', { joinId: 'm1' });
  await client.renegotiateAnswer('s', 'answer', { joinId: 'm1' });
  await client.leave('s', 'done', 'm1');
  await client.requestControl('s');
  await client.grantControl('s', 'ben');
  const bodies = requests.map(({ body }) => (body === undefined ? null : JSON.parse(body)));
  assert.deepEqual(bodies, [
    { role: 'viewer', sdp_offer: 'offer' },
    { cf_session_id: 'm1' },
    { sdp_answer: 'answer', cf_session_id: 'm1' },
    { reason: 'done', cf_session_id: 'm1' },
    null,
    { operator_id: 'ben' },
  ]);
});
