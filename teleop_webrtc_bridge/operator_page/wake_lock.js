// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Keeps the screen on while a robot is driven (Screen Wake Lock API). A screen that goes dark hides the
 * page, which stops the robot. Without the API, or if the browser refuses, nothing happens.
 */
export class WakeLock {
  #navigator;
  #isWanted = false;
  #isAsking = false;
  /** @type {WakeLockSentinel | null} */
  #lock = null;

  /** @param {{navigator: Navigator, document: Document}} browser */
  constructor({ navigator, document }) {
    this.#navigator = navigator;
    // The browser takes the lock back whenever the page is hidden.
    document.addEventListener('visibilitychange', () => void this.#follow());
  }

  /** @param {boolean} isWanted may be set often */
  set(isWanted) {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    void this.#follow();
  }

  async #follow() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      if (!this.#isWanted) {
        const lock = this.#lock;
        this.#lock = null;
        await lock?.release();
      } else if (this.#lock === null || this.#lock.released) {
        this.#lock = (await this.#navigator.wakeLock?.request('screen')) ?? null;
      }
    } catch {
      // The battery is low, or the page is hidden: it is asked for again when the page is shown.
      this.#lock = null;
    } finally {
      this.#isAsking = false;
    }
    // The wish may have changed in the meantime.
    if (this.#isWanted !== (this.#lock !== null) && !this.#isWanted) void this.#follow();
  }
}
