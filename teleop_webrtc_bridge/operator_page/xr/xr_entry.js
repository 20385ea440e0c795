// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's way into the headset: its button, and what the page and the headset tell each other. */

import { setAttribute, setText } from '../dom.js';
import { text } from '../texts.js';
import { XrSession } from './xr_session.js';
import { XrView } from './xr_view.js';

const $ = (id) => document.getElementById(id);

export class XrEntry {
  #button = $('vr');
  /** Of the operator who drives; null: nobody does. @type {import('../cockpit.js').Cockpit | null} */
  #cockpit = null;
  #session;

  /**
   * @param {object} options
   * @param {() => number} options.nowS
   * @param {() => void} options.onEstop
   */
  constructor({ nowS, onEstop }) {
    this.#session = new XrSession({
      xr: navigator.xr,
      nowS,
      createView: (session) =>
        XrView.create({
          session,
          video: $('video'),
          readings: () => this.#readings(),
          nowS,
          onHeadsetFrame: () => this.#cockpit?.video.onHeadsetFrame(),
          onEstop,
          mayUseMedia: new URLSearchParams(location.search).get('vr') !== 'texture',
        }),
      onChange: () => this.#show(),
    });
    // Asked for in the click itself: browsers demand that.
    this.#button.addEventListener('click', () => {
      void (this.#session.isEntered ? this.#session.leave() : this.#session.enter());
      // The keys must stay the robot's.
      this.#button.blur();
    });
    void this.#session.findOut();
  }

  /** Whether there is a headset that this browser can use. */
  get isOffered() {
    return this.#session.isOffered;
  }

  /** What a person at the page should know; empty: nothing. */
  get note() {
    const { failure, visibilityState } = this.#session;
    if (failure) return text('vr.failed', { failure });
    return ['visible-blurred', 'hidden'].includes(visibilityState) ? text(`vr.${visibilityState}`) : '';
  }

  /**
   * Called at each tick. Who no longer drives leaves the headset's session; a lost link does not end it.
   * @param {import('../cockpit.js').Cockpit | null} cockpit of who drives a robot; null: nobody does
   */
  follow(cockpit) {
    if (this.#cockpit !== cockpit) {
      if (this.#cockpit) {
        this.#cockpit.vr.session = null;
        this.#session.failure = '';
        void this.#session.leave();
      }
      this.#cockpit = cockpit;
      if (cockpit) cockpit.vr.session = this.#session;
    }
    this.#show();
  }

  #show() {
    const { isOffered, isEntered, visibilityState } = this.#session;
    this.#button.hidden = !isOffered || this.#cockpit === null;
    setText(this.#button, text(isEntered ? 'vr.leave' : 'vr.enter'));
    setAttribute(document.body, 'data-vr', isEntered && visibilityState !== 'ended' ? visibilityState : '');
  }

  /** The same words as on the page. @returns {import('./xr_view.js').Readings} */
  #readings() {
    const words = (id) => $(id).textContent;
    const { estop, link, stale } = document.body.dataset;
    const verdict = this.#cockpit?.vr.verdict;
    const latency = words('latency-sum');
    return {
      state: words('state'),
      message: words('message'),
      hint: ['hold', 'ready', 'neutral', 'no-controller', 'faulty'].includes(verdict)
        ? text(`vr.verdict.${verdict}`)
        : '',
      speed: words('velocity'),
      latency: text('vr.latency', { latency }),
      verdict: link ?? '',
      estop: words('estop-state'),
      isStopped: estop !== 'clear',
      isOld: stale === 'true',
      isStereo: this.#cockpit?.cameras.isStereo ?? false,
    };
  }
}
