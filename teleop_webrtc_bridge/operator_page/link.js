// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The link: keeps the operator connected to the chosen robot, with one set-up at a time, an overall
 * time-out and back-off. No DOM and no WebRTC: a function opens the sessions.
 */

import { BrokerError } from './broker_client.js';
import { text } from './texts.js';

const SETUP_TIMEOUT_MS = 20_000;
const BACKOFF_FIRST_S = 0.5;
/** After a link that worked: the robot may have redialled already. Not zero, to spread the pages. */
const AGAIN_AT_ONCE_S = 0.1;
/** A shorter link did not work: pages that take a robot from each other must not race. */
const WORKED_MS = 5_000;
const BACKOFF_MAX_S = 5;
/** Errors that a retry cannot fix as long as the robot was never reached. */
const FINAL_KINDS = new Set(['conflict', 'gone', 'refused']);
/** Another operator has the robot, and must not lose it to a page that redials. */
const TAKEN = 'taken';
/** Another page of this person has the robot. Two that redial would take it from each other forever. */
const REPLACED = 'replaced';
/** The operator has removed this person, so the page must not try again. */
const BARRED = 'barred';
/** The joined session is over. Its robot was there, and has redialled or will. */
const ENDED = 'ended';

/**
 * @typedef {'idle' | 'connecting' | 'drivable' | 'reconnecting' | 'error'} LinkState
 * @typedef {{sessionId: string, robotId: string, robotName: string}} Target
 * @typedef {object} OpenableSession
 * @property {(signal: AbortSignal) => Promise<void>} open
 * @property {(reason: string | null) => void} close
 */

/**
 * @param {number} failures in a row, from 1
 * @returns {number} seconds to wait
 */
export function backoffS(failures) {
  return Math.min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (failures - 1));
}

/**
 * Find the target again: the same session, or the same robot in a session of a later dial.
 * @param {import('./broker_client.js').RobotSession[]} rows
 * @param {Target} target
 * @returns {string | null} session id
 */
export function findAgain(rows, { sessionId, robotId }) {
  if (rows.some((row) => row.session_id === sessionId)) return sessionId;
  // Robots without an id are distinguished by their session only.
  if (!robotId) return null;
  return rows.find((row) => row.robot_id === robotId)?.session_id ?? null;
}

/** Owns the link's state and the one session that may exist. */
export class Link {
  #listSessions;
  #createSession;
  #checkJoin;
  #onState;
  #onUnauthorized;
  #sleep;
  #now;
  /**
   * The current connect; replaced or aborted as a whole.
   * @type {AbortController | null}
   */
  #run = null;
  /** @type {OpenableSession | null} */
  #session = null;
  /**
   * Settles the running attempt.
   * @type {{drivable: () => void, lost: (error: Error) => void} | null}
   */
  #attempt = null;
  /** @type {LinkState} */
  state = 'idle';
  /** @type {Target | null} */
  target = null;
  /** Whether the last link ended because another page of this person drives. */
  isReplaced = false;

  /**
   * @param {object} options
   * @param {(options: {signal: AbortSignal}) => Promise<object[]>} options.listSessions
   * @param {(sessionId: string) => OpenableSession} options.createSession
   * @param {(sessionId: string, signal: AbortSignal) => Promise<void>} [options.checkJoin] before a
   *   redial: fails as 'replaced' if a newer join of this person has taken the last one's place
   * @param {(state: LinkState, message: string) => void} options.onState
   * @param {(message: string) => void} options.onUnauthorized
   * @param {(ms: number) => Promise<void>} [options.sleep]
   * @param {() => number} [options.now] in milliseconds
   */
  constructor({
    listSessions,
    createSession,
    checkJoin = async () => {},
    onState,
    onUnauthorized,
    sleep = realSleep,
    now = () => performance.now(),
  }) {
    this.#listSessions = listSessions;
    this.#createSession = createSession;
    this.#checkJoin = checkJoin;
    this.#onState = onState;
    this.#onUnauthorized = onUnauthorized;
    this.#sleep = sleep;
    this.#now = now;
  }

  /** @returns {OpenableSession | null} */
  get session() {
    return this.#session;
  }

  /** Whether the operator wants a robot now. */
  get isWanted() {
    return this.#run !== null;
  }

  /** Connect, and stay connected. Ignored while connected or connecting. @param {Target} target */
  connect(target) {
    if (this.#run) return;
    this.target = target;
    this.isReplaced = false;
    this.#run = new AbortController();
    this.#set('connecting', text('link.connecting', { name: target.robotName }));
    void this.#keep(target, this.#run.signal);
  }

  /** @param {string} reason told to the broker */
  disconnect(reason) {
    this.#stop(reason);
    this.isReplaced = false;
    this.#set('idle', '');
  }

  /** The robot answers: the attempt has succeeded. */
  onDrivable() {
    this.#attempt?.drivable();
  }

  /** The link is dead. @param {Error} error */
  onLost(error) {
    this.#attempt?.lost(error);
  }

  #stop(reason) {
    this.#run?.abort(new Error('Disconnected.'));
    this.#run = null;
    this.#closeSession(reason);
  }

  #closeSession(reason) {
    this.#session?.close(reason);
    this.#session = null;
    this.#attempt = null;
  }

  async #keep(target, signal) {
    let failures = 0;
    let wasThere = false;
    let redial = false;
    while (!signal.aborted) {
      let reachedMs = Infinity;
      const reached = () => {
        failures = 0;
        wasThere = true;
        reachedMs = this.#now();
      };
      // Ends only with an error: a working link lasts until it is lost.
      const error = await this.#try(target, { redial, signal, reached }).catch((e) => e);
      if (signal.aborted) return;
      redial = true;
      failures += 1;
      wasThere ||= error.kind === ENDED;
      if (['unauthorized', REPLACED].includes(error.kind)) return this.#end(error.kind, error);
      const isOver = error.kind === TAKEN || error.kind === BARRED;
      if (isOver || (!wasThere && FINAL_KINDS.has(error.kind))) {
        return this.#end('error', error);
      }
      this.#closeSession(null);
      const worked = this.#now() - reachedMs > WORKED_MS;
      // This was not a failure to connect: the next one, if any, is the first.
      if (worked) failures = 0;
      const pauseS = worked ? AGAIN_AT_ONCE_S : backoffS(failures);
      const waitS = Math.max(pauseS, error.retryAfterS ?? 0);
      this.#set('reconnecting', error.message);
      await this.#sleep(waitS * 1000);
    }
  }

  #end(why, error) {
    this.#stop('setup failed');
    this.isReplaced = why === REPLACED;
    if (this.isReplaced) this.#set('idle', error.message);
    else if (why === 'error') this.#set('error', error.message);
    else {
      this.#set('idle', '');
      this.#onUnauthorized(error.message);
    }
  }

  /** One attempt: set up within the time-out, then wait until the link is lost. Always rejects. */
  async #try(target, { redial, signal, reached }) {
    const attempt = new AbortController();
    const giveUp = () => attempt.abort(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    const tooSlow = new BrokerError('unreachable', text('link.no-answer'));
    const timer = setTimeout(() => attempt.abort(tooSlow), SETUP_TIMEOUT_MS);
    const lost = new Promise((_, reject) => {
      attempt.signal.addEventListener('abort', () => reject(attempt.signal.reason), { once: true });
    });
    lost.catch(() => {});
    try {
      const id = redial ? await this.#find(target, attempt.signal) : target.sessionId;
      target.sessionId = id;
      const drivable = new Promise((resolve) => {
        this.#attempt = { drivable: resolve, lost: (error) => attempt.abort(error) };
      });
      this.#session = this.#createSession(id);
      await Promise.race([this.#session.open(attempt.signal), lost]);
      await Promise.race([drivable, lost]);
      clearTimeout(timer);
      reached();
      this.#set('drivable', '');
      await lost;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    }
  }

  async #find(target, signal) {
    const [rows] = await Promise.all([
      this.#listSessions({ signal }),
      this.#checkJoin(target.sessionId, signal),
    ]);
    const id = findAgain(rows, target);
    if (id === null) throw new BrokerError('gone', text('link.not-there'));
    return id;
  }

  #set(state, message) {
    this.state = state;
    this.#onState(state, message);
  }
}

function realSleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
