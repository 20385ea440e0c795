// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * A client of the broker's HTTP API (docs/protocol.md §2). Every failure is a BrokerError whose message
 * is one line for the operator. A proxy's answer is reported as the proxy's: it knows no robots.
 */

import { text } from './texts.js';

const TIMEOUT_MS = 8_000;
const TAKEN = 'Session already has operator';
const REPLACED = 'A newer join of the same operator';
/** The detail for a path outside the API; for an unknown session, brokers say more. */
const NO_SUCH_CALL = 'Not Found';
/** The broker limits the rate of credentials; reconnecting must not exceed it. */
const ICE_SERVERS_MAX_AGE_MS = 5 * 60_000;

/**
 * @typedef {object} RobotSession One row of `GET /sessions`.
 * @property {string} session_id
 * @property {string} robot_id
 * @property {string} robot_name
 * @property {string} robot_type
 * @property {'idle' | 'active'} state
 * @property {string | null} operator_id
 * @property {boolean} [operator_is_you]
 * @property {string | null} [control_request] who asks the operator for control
 * @property {Watcher[]} [watching] only for the operator and administrators
 * @property {{hint: string}} [split] its robot most likely has a second session
 *
 * @typedef {{operator_id: string, role: string, removable?: boolean}} Watcher A person who watches.
 *
 * @typedef {object} Bridge
 * @property {number} cmd_channel_id
 * @property {number} state_channel_id
 * @property {number} state_back_channel_id
 * @property {number} map_channel_id
 * @property {string | null} video_offer
 * @property {string} video_status
 */

/** A call that failed: `kind` decides what to do, `message` is for the operator. */
export class BrokerError extends Error {
  /**
   * @param {'unauthorized' | 'refused' | 'barred' | 'conflict' | 'taken' | 'replaced' | 'gone' | 'ended'
   *   | 'busy' | 'server' | 'unreachable' | 'misrouted'} kind
   * @param {string} message
   * @param {{status?: number | null, retryAfterS?: number}} [details]
   */
  constructor(kind, message, { status = null, retryAfterS = 0 } = {}) {
    super(message);
    this.name = 'BrokerError';
    this.kind = kind;
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** The calls of an operator. Holds the bearer token and sends it only in the header. */
export class BrokerClient {
  #token;
  #fetch;
  #base;
  #iceServers = null;
  #iceServersAtMs = 0;

  /**
   * @param {{token: string, fetch?: typeof fetch, base?: string}} options base: the API's address
   */
  constructor({ token, fetch = globalThis.fetch, base = '/api/v1' }) {
    this.#token = token;
    // Called unbound: fetch as a method of this object would throw "Illegal invocation".
    this.#fetch = (...args) => fetch(...args);
    this.#base = base;
  }

  /** @returns {Promise<RobotSession[]>} */
  async sessions({ signal } = {}) {
    const rows = await this.#call('GET', '/sessions', { signal });
    if (!Array.isArray(rows)) throw unreadable();
    return rows.filter((row) => typeof row?.session_id === 'string');
  }

  /** @returns {Promise<RTCIceServer[]>} empty if the broker has none */
  async iceServers({ signal } = {}) {
    const nowMs = performance.now();
    if (this.#iceServers && nowMs - this.#iceServersAtMs < ICE_SERVERS_MAX_AGE_MS) {
      return this.#iceServers;
    }
    try {
      const body = await this.#call('GET', '/sessions/turn-credentials', { signal });
      if (!Array.isArray(body?.ice_servers)) return [];
      this.#iceServers = body.ice_servers;
      this.#iceServersAtMs = nowMs;
      return this.#iceServers;
    } catch (error) {
      // A relay is optional; but with a refused token everything that follows fails.
      if (error instanceof BrokerError && error.kind !== 'unauthorized') return [];
      throw error;
    }
  }

  /**
   * @returns {Promise<{sdp_answer: string, cf_session_id?: string, operator_id?: string,
   *   may_stop?: boolean, split?: {hint: string}}>}
   */
  async join(sessionId, sdpOffer, { role = 'operator', signal } = {}) {
    const body = { role, sdp_offer: sdpOffer };
    const answer = await this.#call('POST', `${path(sessionId)}/join`, { body, signal });
    if (typeof answer?.sdp_answer !== 'string') throw unreadable();
    return answer;
  }

  /**
   * @param {string} sessionId
   * @param {{joinId?: string, signal?: AbortSignal}} [options] joinId: required from a viewer
   * @returns {Promise<Bridge>}
   */
  async bridge(sessionId, { joinId, signal } = {}) {
    const body = join(joinId);
    const resource = `${path(sessionId)}/bridge-datachannel`;
    const bridge = await this.#call('POST', resource, { body, signal });
    const ids = ['cmd', 'state', 'state_back', 'map'].map((name) => bridge?.[`${name}_channel_id`]);
    if (!ids.every((id) => Number.isInteger(id) && id > 1 && id < 65535)) throw unreadable();
    return bridge;
  }

  async renegotiateAnswer(sessionId, sdpAnswer, { joinId, signal } = {}) {
    const body = { sdp_answer: sdpAnswer, ...join(joinId) };
    await this.#call('POST', `${path(sessionId)}/renegotiate-answer`, { body, signal });
  }

  /** @returns {Promise<{video_reason?: string} | null>} */
  async heartbeat(sessionId, { joinId, signal } = {}) {
    const body = join(joinId);
    return this.#call('POST', `${path(sessionId)}/op-heartbeat`, { body, signal });
  }

  /** @returns {Promise<RobotSession>} */
  async status(sessionId) {
    return this.#call('GET', `${path(sessionId)}/status`);
  }

  /** Request control, or repeat the request. */
  async requestControl(sessionId) {
    const answer = await this.#call('POST', `${path(sessionId)}/request-control`);
    if (typeof answer?.state !== 'string') throw unreadable();
    return answer;
  }

  /** Let a person who asks take over with their next join. */
  async grantControl(sessionId, operatorId) {
    const body = { operator_id: operatorId };
    await this.#call('POST', `${path(sessionId)}/grant-control`, { body });
  }

  /** Remove a viewer; for ten minutes they cannot come back. @param {Watcher} who */
  async removeViewer(sessionId, { operator_id, role }) {
    const body = { operator_id, role };
    await this.#call('POST', `${path(sessionId)}/remove-viewer`, { body });
  }

  /** Free the robot; survives the end of the page. Never fails: the broker evicts silent operators. */
  async leave(sessionId, reason, joinId) {
    const body = { reason, ...join(joinId) };
    try {
      await this.#call('POST', `${path(sessionId)}/leave`, { body, keepalive: true });
    } catch {
      // The page is leaving: an error would reach no one.
    }
  }

  async #call(method, resource, { body, signal, keepalive = false } = {}) {
    const abort = new AbortController();
    const onAbort = () => abort.abort();
    if (signal?.aborted) abort.abort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(onAbort, TIMEOUT_MS);
    try {
      const response = await this.#fetch(`${this.#base}${resource}`, {
        method,
        keepalive,
        signal: abort.signal,
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        headers: this.#headers(body),
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const answer = await response.json().catch(() => null);
      const said = failure(response, answer, this.#base);
      if (said) throw said;
      return answer;
    } catch (error) {
      if (signal?.aborted) throw signal.reason ?? error;
      if (error instanceof BrokerError) throw error;
      throw new BrokerError('unreachable', text('broker.not-reached'));
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #headers(body) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    return headers;
  }
}

function path(sessionId) {
  return `/sessions/${encodeURIComponent(sessionId)}`;
}

/** Names the join that a call is about: a person may have several pages. */
function join(joinId) {
  return joinId === undefined ? undefined : { cf_session_id: joinId };
}

function unreadable() {
  return new BrokerError('server', text('broker.unreadable'));
}

function barredFor(seconds) {
  return text('broker.barred', { minutes: Math.ceil(seconds / 60) });
}

/**
 * @param {Response} response
 * @param {unknown} answer its JSON; null: it is not JSON
 * @param {string} base
 * @returns {BrokerError | null} null: no failure
 */
function failure(response, answer, base) {
  const { status } = response;
  const isBroker = typeof answer === 'object' && answer !== null;
  const isPage = response.headers?.get('Content-Type')?.startsWith('text/html') ?? false;
  if (response.ok) return isPage ? misrouted(status, base) : null;
  const { detail } = isBroker ? answer : {};
  const said = typeof detail === 'string' && detail ? detail.slice(0, 200) : null;
  if (!isBroker || (status === 404 && (!said || said === NO_SUCH_CALL))) {
    return misrouted(status, base);
  }
  const retryAfterS = Math.max(0, Number(response.headers?.get('Retry-After')) || 0);
  const error = (kind, message) => new BrokerError(kind, message, { status, retryAfterS });
  if (status === 401) return error('unauthorized', text('broker.unauthorized'));
  if ([403, 409].includes(status) && said?.startsWith(REPLACED)) {
    return error('replaced', text('broker.elsewhere'));
  }
  if (status === 403 && retryAfterS > 0) return error('barred', said ?? barredFor(retryAfterS));
  if (status === 403) return error('refused', said ?? text('broker.not-operator'));
  if (status === 404) return error('gone', text('broker.gone'));
  if (status === 409 && said?.startsWith(TAKEN)) return error('taken', said);
  if (status === 409) return error('conflict', said ?? text('broker.in-use'));
  if (status === 429) return error('busy', text('broker.busy'));
  const why = said ?? `HTTP ${status}`;
  if (status < 500) return error('refused', text('broker.refused', { why }));
  return error('server', text('broker.problem', { why }));
}

/** Something other than the broker has answered: the answer is not about a robot or a token. */
function misrouted(status, base) {
  if (status >= 500) {
    // It may have forwarded the call nevertheless: the status is not the broker's.
    return new BrokerError('misrouted', text('broker.proxy', { status }));
  }
  return new BrokerError('misrouted', text('broker.misrouted', { base, status }), { status });
}
