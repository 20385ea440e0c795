// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The guard of the E-STOP: keeps it visible and on top, and reports when it is not, because the page is
 * zoomed, shrunk or covered.
 */

/** The tested points of the button: its centre and near its corners, as fractions of its size. */
const TRIED = [[0.5, 0.5], [0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]];

/** Owns the position of the stop. */
export class StopGuard {
  #window;
  #stop;
  #button;
  /** The offset from the position that the style gives, and the scale. */
  #place = { x: 0, y: 0, scale: 1 };

  /**
   * @param {object} options
   * @param {Window} options.window
   * @param {HTMLElement} options.stop kept visible; `position: fixed` at the lower right
   * @param {HTMLElement} options.button the part of it that is pressed
   */
  constructor({ window, stop, button }) {
    this.#window = window;
    this.#stop = stop;
    this.#button = button;
  }

  /**
   * Put the stop where it can be pressed.
   * @returns {boolean} whether a press on any part of it reaches it now
   */
  check() {
    this.#follow();
    if (this.#isPressable()) return true;
    this.#uncover();
    return this.#isPressable();
  }

  /** Back to where its style puts it. */
  reset() {
    this.#move({ x: 0, y: 0, scale: 1 });
  }

  /** Move it into the corner of the visible part of the page, at its unzoomed size. */
  #follow() {
    const view = this.#window.visualViewport;
    if (!view) return;
    const { right, bottom } = this.#stop.getBoundingClientRect();
    const style = this.#window.getComputedStyle(this.#stop);
    const scale = 1 / view.scale;
    const x = view.offsetLeft + view.width - px(style.right) * scale - (right - this.#place.x);
    const y = view.offsetTop + view.height - px(style.bottom) * scale - (bottom - this.#place.y);
    this.#move({ x: round(x), y: round(y), scale });
  }

  #move(place) {
    const before = this.#place;
    if (place.x === before.x && place.y === before.y && place.scale === before.scale) return;
    this.#place = place;
    this.#stop.style.setProperty('--stop-x', `${place.x}px`);
    this.#stop.style.setProperty('--stop-y', `${place.y}px`);
    this.#stop.style.setProperty('--stop-scale', String(place.scale));
  }

  #isPressable() {
    const { document, visualViewport: view, innerWidth, innerHeight } = this.#window;
    const { left, top, width, height } = this.#button.getBoundingClientRect();
    const seen = {
      left: view?.offsetLeft ?? 0,
      top: view?.offsetTop ?? 0,
      width: view?.width ?? innerWidth,
      height: view?.height ?? innerHeight,
    };
    return TRIED.every(([shareX, shareY]) => {
      const x = left + width * shareX;
      const y = top + height * shareY;
      const isSeen = isBetween(x, seen.left, seen.width) && isBetween(y, seen.top, seen.height);
      return isSeen && this.#button.contains(document.elementFromPoint(x, y));
    });
  }

  /** Get it out from under dialogs, full-screen pictures and popovers. */
  #uncover() {
    const { document } = this.#window;
    // These two make the rest of the page inert, even parts that are above them.
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    const full = document.fullscreenElement;
    if (full && !full.contains(this.#stop)) void document.exitFullscreen().catch(() => {});
    // Phones have a full screen for videos that the document does not know of.
    else document.querySelector('video')?.webkitExitFullscreen?.();
    if (typeof this.#stop.showPopover !== 'function') return;
    // The popover that is shown last is on top.
    if (this.#stop.matches(':popover-open')) this.#stop.hidePopover();
    this.#stop.showPopover();
  }
}

function px(text) {
  return Number.parseFloat(text) || 0;
}

/** To hundredths: smaller differences are noise, and a move costs a layout. */
function round(value) {
  return Math.round(value * 100) / 100;
}

function isBetween(value, start, length) {
  return value >= start && value <= start + length;
}
