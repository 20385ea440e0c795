// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The hand-over of control: polls the broker for requests, and sends our own. No DOM, no timers.
 */

import { text } from './texts.js';

/**
 * @typedef {object} ControlBanner
 * @property {string} text empty: nothing to show
 * @property {string} action the button's label; empty: no button
 */

const NOTHING = Object.freeze({ text: '', action: '' });

/** One connection's view of who has control; each connection has a new one. */
export class ControlDesk {
  #broker;
  #onTake;
  #onStatus;
  #watching;
  #busy = false;
  #asking = false;
  /** Who drives, as far as the broker has said. @type {string | null} */
  #holder = null;
  /** Who asks us for control. @type {string | null} */
  #request = null;
  #granted = false;
  #failure = '';

  /**
   * @param {object} options
   * @param {import('./broker_client.js').BrokerClient} options.broker
   * @param {boolean} options.watching whether this page only watches
   * @param {() => void} options.onTake control may be taken: join as the operator now
   * @param {(row: object) => void} [options.onStatus] the session's row was read
   */
  constructor({ broker, watching, onTake, onStatus = () => {} }) {
    this.#broker = broker;
    this.#watching = watching;
    this.#onTake = onTake;
    this.#onStatus = onStatus;
  }

  /** @returns {ControlBanner} */
  banner() {
    if (this.#failure) return { text: this.#failure, action: this.#watching ? text('control.again') : '' };
    if (this.#watching) return this.#watcherBanner();
    if (!this.#request) return NOTHING;
    const name = this.#request;
    if (this.#granted) return { text: text('control.handing', { name }), action: '' };
    return { text: text('control.asks', { name }), action: text('control.grant') };
  }

  #watcherBanner() {
    const name = this.#holder;
    if (this.#asking) {
      const waiting = name ? text('control.waiting', { name }) : text('control.waiting-somebody');
      return { text: waiting, action: text('control.cancel') };
    }
    if (name) return { text: text('control.driven', { name }), action: text('control.request') };
    return { text: text('control.nobody'), action: text('control.take') };
  }

  /** The banner's button was pressed. @param {string} sessionId */
  async press(sessionId) {
    this.#failure = '';
    if (this.#watching) {
      this.#asking = !this.#asking;
      await this.poll(sessionId);
    } else if (this.#request && !this.#granted) {
      this.#granted = true;
      await this.#try(() => this.#broker.grantControl(sessionId, this.#request));
    }
  }

  /** Call this every second or two: a request that is not repeated lapses. */
  async poll(sessionId) {
    if (this.#busy) return;
    this.#busy = true;
    await this.#try(() => (this.#asking ? this.#ask(sessionId) : this.#look(sessionId)));
    this.#busy = false;
  }

  async #ask(sessionId) {
    const { state, operator_id: holder } = await this.#broker.requestControl(sessionId);
    this.#holder = typeof holder === 'string' ? holder : null;
    if (!this.#asking || state === 'pending') return;
    this.#asking = false;
    this.#onTake();
  }

  async #look(sessionId) {
    const row = await this.#broker.status(sessionId);
    this.#holder = typeof row?.operator_id === 'string' ? row.operator_id : null;
    const request = row?.control_request;
    if (request !== this.#request) this.#granted = false;
    this.#request = typeof request === 'string' ? request : null;
    this.#onStatus(row);
  }

  async #try(call) {
    try {
      await call();
    } catch (error) {
      // The link reports an unreachable broker; a refusal is the answer to the press.
      if (!['refused', 'barred', 'conflict'].includes(error.kind)) return;
      this.#failure = error.message;
      this.#asking = false;
      this.#granted = false;
    }
  }
}
