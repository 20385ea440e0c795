// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** Shared by the tests of the operator page. Run: node --test test/operator_page/ */

/** Where the page's modules are. @param {string} name @returns {Promise<any>} */
export function load(name) {
  const folder = new URL('../../teleop_webrtc_bridge/operator_page/', import.meta.url);
  return import(new URL(name, folder));
}

/** @param {ArrayBuffer} buffer @returns {string} */
export function hex(buffer) {
  return Buffer.from(buffer).toString('hex');
}

/**
 * A setTimeout whose time passes only when a test says so, until the test's end. Of our own, because
 * the mock timers of node:test differ between Node 18 and 20.
 */
export class FakeTimers {
  #nowMs = 0;
  #lastId = 0;
  #pending = new Map();

  /** @param {import('node:test').TestContext} t */
  constructor(t) {
    const { setTimeout, clearTimeout } = globalThis;
    t.after(() => Object.assign(globalThis, { setTimeout, clearTimeout }));
    globalThis.setTimeout = (callback, delayMs = 0, ...values) => {
      this.#lastId += 1;
      this.#pending.set(this.#lastId, { callback, values, dueMs: this.#nowMs + delayMs });
      return this.#lastId;
    };
    globalThis.clearTimeout = (id) => void this.#pending.delete(id);
  }

  /** Let time pass: call what becomes due, in its order, also what is set meanwhile. */
  pass(ms) {
    const endMs = this.#nowMs + ms;
    for (let next; (next = this.#next(endMs)); ) {
      const [id, { callback, values, dueMs }] = next;
      this.#nowMs = dueMs;
      this.#pending.delete(id);
      callback(...values);
    }
    this.#nowMs = endMs;
  }

  /** The earliest that is due by then; of several, the first that was set. */
  #next(endMs) {
    const due = [...this.#pending].filter(([, { dueMs }]) => dueMs <= endMs);
    return due.sort(([, a], [, b]) => a.dueMs - b.dueMs)[0];
  }
}

/** A data channel that keeps what is sent through it. */
export class FakeChannel {
  readyState = 'open';
  bufferedAmount = 0;
  sent = [];

  send(data) {
    if (this.readyState !== 'open') throw new Error('InvalidStateError');
    this.sent.push(data);
  }

  /** The JSON messages of one type. */
  messages(type) {
    const texts = this.sent.filter((data) => typeof data === 'string');
    return texts.map((text) => JSON.parse(text)).filter((message) => message.type === type);
  }

  /** The drive commands, decoded by hand: not with the code under test. */
  commands() {
    return this.sent.filter((data) => typeof data !== 'string').map(decodeCommand);
  }
}

/** @param {ArrayBuffer} buffer of a TwistStamped */
export function decodeCommand(buffer) {
  const view = new DataView(buffer);
  const length = view.getUint32(20);
  const axis = (i) => view.getFloat64(24 + length + 8 * i);
  return {
    seq: view.getInt32(8),
    stampS: view.getInt32(12) + view.getInt32(16) * 1e-9,
    frameId: Buffer.from(buffer, 24, length - 1).toString(),
    forward: axis(0),
    left: axis(1),
    turn: axis(5),
  };
}
