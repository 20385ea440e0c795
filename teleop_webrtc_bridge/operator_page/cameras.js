// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The choice of the robot's cameras, and its buttons. The robot's report counts;
 * until it arrives, the choice made here is shown. `CameraChoice` is pure: `now` is passed in, in seconds.
 */

import { newButton, setAttribute, setText } from './dom.js';
import { text } from './texts.js';

/** How long a choice may take: the message, and the robot's telemetry. */
const WISH_S = 2;
/** The most cameras that are shown; our robots have at most eight. */
const MAX_CAMERAS = 16;

export class CameraChoice {
  #send;
  /** @type {string[] | null} */
  #wish = null;
  #wishedAtS = -Infinity;
  #told = [];
  /** The left and the right one of a stereo pair. @type {string[]} */
  #pair = [];
  /** All cameras, in the robot's order. @type {string[]} */
  names = [];
  /** Whether a chosen camera is added to those shown, rather than shown alone. */
  several = false;

  /** @param {{send: (cams: string[]) => void}} options */
  constructor({ send }) {
    this.#send = send;
  }

  /** The cameras shown, from the left. @param {number} nowS @returns {string[]} */
  selected(nowS) {
    return this.#pending(nowS) ?? this.#told;
  }

  /** Whether the picture is a stereo pair, side by side, as far as the robot has reported. */
  get isStereo() {
    return this.#pair.length === 2 && same(this.#told, this.#pair);
  }

  /** Take the robot's report. @param {{cameras?: unknown, selected?: unknown, stereo?: unknown}} state */
  onTelemetry({ cameras, selected, stereo }, nowS) {
    this.names = texts(cameras);
    this.#pair = texts(stereo);
    this.#told = texts(selected).filter((name) => this.names.includes(name));
    if (same(this.#told, this.#wish)) this.#wish = null;
    // A report sent before the robot received the choice says nothing about it.
    if (this.#pending(nowS)) return;
    if (this.#told.length > 1) this.several = true;
    else if (this.names.length < 3) this.several = false;
  }

  /** The robot is gone: the next one, or the same one again, will report its cameras. */
  clear() {
    this.names = [];
    this.#told = [];
    this.#pair = [];
    this.#wish = null;
    this.several = false;
  }

  /**
   * A camera was chosen.
   * @param {string} name
   * @param {number} nowS
   * @param {{add?: boolean}} [options] add: add it to those shown, or remove it; with two cameras, a
   *   press on one means that one alone
   */
  press(name, nowS, { add = this.several && this.names.length > 2 } = {}) {
    if (!this.names.includes(name)) return;
    const before = this.selected(nowS);
    const others = before.filter((other) => other !== name);
    if (!add) this.#ask([name], nowS);
    else if (!before.includes(name)) this.#ask([...before, name], nowS);
    // At least one is always shown.
    else if (others.length > 0) this.#ask(others, nowS);
  }

  /** A digit key was pressed, from 1. @param {number} number */
  pressNumber(number, nowS, options) {
    if (this.names.length > 1) this.press(this.names[number - 1], nowS, options);
  }

  /** Show the camera after the one that is shown; after the last one, the first. */
  next(nowS) {
    const [shown] = this.selected(nowS);
    const after = this.names.indexOf(shown) + 1;
    if (this.names.length > 1) this.#ask([this.names[after % this.names.length]], nowS);
  }

  /** Toggle between side by side and one alone. With two cameras, side by side shows both. */
  toggleSeveral(nowS) {
    this.several = !this.several;
    const selected = this.selected(nowS);
    if (!this.several && selected.length > 1) this.#ask(selected.slice(0, 1), nowS);
    if (this.several && this.names.length === 2) this.#ask(this.names, nowS);
  }

  #pending(nowS) {
    return this.#wish && nowS - this.#wishedAtS < WISH_S ? this.#wish : null;
  }

  #ask(cameras, nowS) {
    // In the robot's order, so that front stays left of rear.
    this.#wish = this.names.filter((name) => cameras.includes(name));
    this.#wishedAtS = nowS;
    this.#send(this.#wish);
  }
}

/** The camera buttons: one each, and one for side by side. Shown only if there is a choice. */
export class CameraSwitch {
  #group;
  #onPress;
  #several;
  #shown = '';
  /** Name → button. @type {Map<string, HTMLButtonElement>} */
  #buttons = new Map();

  /**
   * @param {object} options
   * @param {HTMLElement} options.group
   * @param {(name: string, options?: {add: boolean}) => void} options.onPress
   * @param {() => void} options.onSeveral side by side was switched on or off
   */
  constructor({ group, onPress, onSeveral }) {
    this.#group = group;
    this.#onPress = onPress;
    this.#several = this.#button('several', onSeveral);
  }

  /** @param {{names: string[], selected: string[], several: boolean}} choice */
  show({ names, selected, several }) {
    this.#group.hidden = names.length < 2;
    const shown = names.join('\n');
    // The buttons stay the same, so that focus and a press that has begun survive every call.
    if (shown !== this.#shown) this.#build(names);
    this.#shown = shown;
    for (const [name, button] of this.#buttons) setPressed(button, selected.includes(name));
    setText(this.#several.lastElementChild, text('cameras.several'));
    setPressed(this.#several, several);
  }

  #build(names) {
    this.#buttons.clear();
    for (const [index, name] of names.entries()) {
      const press = (event) => this.#onPress(name, event.shiftKey ? { add: true } : undefined);
      const button = this.#button('camera', press);
      button.lastElementChild.textContent = name;
      button.dataset.camera = name;
      if (index < 9) {
        const key = document.createElement('kbd');
        key.textContent = String(index + 1);
        key.setAttribute('aria-hidden', 'true');
        button.prepend(key);
        button.setAttribute('aria-keyshortcuts', String(index + 1));
        button.title = text('cameras.key', { number: index + 1 });
      }
      this.#buttons.set(name, button);
    }
    this.#group.replaceChildren(...this.#buttons.values(), this.#several);
  }

  #button(className, onPress) {
    const button = newButton(className, onPress);
    button.append(document.createElement('span'));
    return button;
  }
}

function setPressed(button, value) {
  setAttribute(button, 'aria-pressed', String(value));
}

function texts(value) {
  if (!Array.isArray(value)) return [];
  const named = value.filter((name) => typeof name === 'string' && name !== '');
  return [...new Set(named)].slice(0, MAX_CAMERAS);
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
