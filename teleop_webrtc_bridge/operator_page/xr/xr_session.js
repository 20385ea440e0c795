// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The headset's session (WebXR Device API, https://www.w3.org/TR/webxr/): whether the browser offers one,
 * entering, leaving, and how fresh its last frame is. It knows nothing of the robot: the connection goes on
 * unchanged when the session begins and ends.
 */

/** Passthrough first: who drives a robot nearby wants to see the room. */
const MODES = Object.freeze(['immersive-ar', 'immersive-vr']);
const FEATURES = Object.freeze({ requiredFeatures: ['local-floor'], optionalFeatures: ['hand-tracking', 'layers'] });

/**
 * @typedef {object} XrFrames What is shown in the headset; see xr_view.js.
 * @property {(frame: XRFrame) => boolean} draw tells whether anything is seen
 * @property {() => void} end
 */

/** One session at a time. @implements {import('../input/xr_sticks.js').XrInput} */
export class XrSession {
  #xr;
  #nowS;
  #createView;
  #onChange;
  /** The modes that the browser supports, the best first. */
  #modes = [];
  /** @type {XRSession | null} */
  #session = null;
  /** @type {XrFrames | null} */
  #view = null;
  #isEntering = false;
  #isWanted = false;
  /** When something was seen last; null: nothing yet. @type {number | null} */
  lastFrameS = null;
  /** Why the last session failed; empty: it did not. */
  failure = '';

  /**
   * @param {object} options
   * @param {XRSystem | undefined} options.xr `navigator.xr`
   * @param {() => number} options.nowS
   * @param {(session: XRSession) => Promise<XrFrames>} options.createView
   * @param {() => void} [options.onChange]
   */
  constructor({ xr, nowS, createView, onChange = () => {} }) {
    this.#xr = xr;
    this.#nowS = nowS;
    this.#createView = createView;
    this.#onChange = onChange;
  }

  /** Ask the browser, now and whenever a headset is connected. */
  async findOut() {
    this.#xr?.addEventListener?.('devicechange', () => void this.#ask());
    await this.#ask();
  }

  async #ask() {
    const isSupported = async (mode) => {
      try {
        return (await this.#xr?.isSessionSupported?.(mode)) === true;
      } catch {
        // Forbidden by the page's host.
        return false;
      }
    };
    const answers = await Promise.all(MODES.map(isSupported));
    this.#modes = MODES.filter((_, i) => answers[i]);
    this.#onChange();
  }

  get isOffered() {
    return this.#modes.length > 0;
  }

  /** Whether there is a session, or is about to be. */
  get isEntered() {
    return this.#isEntering || this.#session !== null;
  }

  /** @returns {XRVisibilityState | 'ended'} */
  get visibilityState() {
    return this.#session?.visibilityState ?? 'ended';
  }

  get inputSources() {
    return this.#session?.inputSources ?? [];
  }

  /** Call it in the handler of a click: browsers demand that. */
  async enter() {
    if (this.isEntered || !this.isOffered) return;
    this.failure = '';
    this.#isEntering = true;
    this.#isWanted = true;
    this.#onChange();
    let session = null;
    try {
      session = await this.#request();
      // Left meanwhile.
      if (!this.#isWanted) return void (await end(session));
      session.addEventListener('end', () => this.#onEnd(session));
      session.addEventListener('visibilitychange', () => this.#onChange());
      this.#session = session;
      this.lastFrameS = null;
      const view = await this.#createView(session);
      // It may have ended meanwhile.
      if (this.#session === session) this.#begin(session, view);
      else view.end();
    } catch (error) {
      if (this.#isWanted) this.failure = String(error?.message || error);
      await end(session);
      if (this.#session === session) this.#onEnd(session);
    } finally {
      this.#isEntering = false;
      this.#onChange();
    }
  }

  async #request() {
    const [first, second] = this.#modes;
    try {
      return await this.#xr.requestSession(first, FEATURES);
    } catch (error) {
      // A person who said no is not asked again.
      if (!second || error?.name !== 'NotSupportedError') throw error;
      return this.#xr.requestSession(second, FEATURES);
    }
  }

  #begin(session, view) {
    this.#view = view;
    const onFrame = (_, frame) => {
      if (this.#session !== session) return;
      session.requestAnimationFrame(onFrame);
      // Who sees nothing must not drive: only frames that show something count.
      try {
        if (view.draw(frame)) this.lastFrameS = this.#nowS();
      } catch (error) {
        this.failure = String(error?.message || error);
        void this.leave();
      }
    };
    session.requestAnimationFrame(onFrame);
  }

  async leave() {
    this.#isWanted = false;
    const session = this.#session;
    if (!session) return;
    // Not only when the browser says so: from now on, nothing in the headset drives.
    this.#onEnd(session);
    await end(session);
  }

  #onEnd(session) {
    if (this.#session !== session) return;
    this.#session = null;
    this.lastFrameS = null;
    const view = this.#view;
    this.#view = null;
    view?.end();
    this.#onChange();
  }
}

/** @param {XRSession | null} session */
async function end(session) {
  try {
    await session?.end();
  } catch {
    // It has ended already.
  }
}
