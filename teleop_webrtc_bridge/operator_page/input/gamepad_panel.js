// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The panel of the gamepad: what the pad reports, whether it drives, its drift and its mapping. */

import { newButton, setAttribute, setText } from '../dom.js';
import { decimal, text } from '../texts.js';

/** More would not fit; a pad has four to eight axes and seventeen buttons. */
const MAX_AXES = 8;
const MAX_BUTTONS = 20;
const STILL_CHOICES_S = [5, 10, 30, 2];
const $ = (id) => document.getElementById(id);

export class GamepadPanel {
  #toggle = $('gamepad-toggle');
  #panel = $('gamepad');
  #axes = $('gamepad-axes');
  #buttons = $('gamepad-buttons');
  #cockpit;
  #nowS;
  #hold;
  #still;
  #calibrate;
  #learn;
  #skip;
  #cancel;
  /** What the last calibration or lesson came to. */
  #result = '';

  /**
   * @param {object} options
   * @param {() => import('../cockpit.js').Cockpit | null} options.cockpit
   * @param {() => number} options.nowS
   */
  constructor({ cockpit, nowS }) {
    this.#cockpit = cockpit;
    this.#nowS = nowS;
    this.#toggle.addEventListener('click', (event) => {
      this.#open(this.#panel.hidden);
      if (event.detail > 0) this.#toggle.blur();
    });
    this.#panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      this.#open(false);
      this.#toggle.focus();
    });
    this.#hold = this.#add((_, both) => (both.holdToDrive = !both.holdToDrive));
    this.#still = this.#add((it) => {
      const next = STILL_CHOICES_S.indexOf(it.stillS) + 1;
      it.stillS = STILL_CHOICES_S[next % STILL_CHOICES_S.length];
    });
    this.#calibrate = this.#add((it) => it.calibrate(this.#nowS()));
    this.#learn = this.#add((it) => it.learn());
    this.#skip = this.#add((it) => it.view()?.learner?.skip());
    this.#cancel = this.#add((it) => it.cancel());
  }

  /** Follow the pads of the operator who has just signed in. */
  attach() {
    this.#result = '';
    const pads = this.#pads;
    if (pads) pads.onResult = (result) => (this.#result = result);
  }

  /** @returns {import('./gamepad.js').Gamepads | undefined} */
  get #pads() {
    return this.#cockpit()?.gamepads;
  }

  /** Called at each tick. @param {{hasVr: boolean}} options whether VR controllers may drive, too */
  show({ hasVr }) {
    const pads = this.#pads;
    const view = pads?.view() ?? null;
    if (view || hasVr) this.#toggle.hidden = false;
    if (this.#panel.hidden) return;
    setText($('gamepad-name'), view?.name || text('gamepad.none'));
    setText($('gamepad-verdict'), text(view ? `gamepad.verdict.${view.verdict}` : 'gamepad.gone'));
    setAttribute(this.#panel, 'data-verdict', view?.verdict ?? '');
    setText($('gamepad-task'), this.#task(view));
    this.#showAxes(view?.axes ?? []);
    this.#showButtons(view?.buttons ?? []);
    if (pads) this.#showActions(pads, view, hasVr);
  }

  #open(open) {
    this.#panel.hidden = !open;
    setAttribute(this.#toggle, 'aria-expanded', String(open));
    // Nobody sees any more what is asked for.
    if (!open) this.#pads?.cancel();
    this.#result = '';
  }

  #add(press) {
    const button = newButton('quiet', () => {
      const cockpit = this.#cockpit();
      this.#result = '';
      if (cockpit) press(cockpit.gamepads, cockpit);
    });
    $('gamepad-actions').append(button);
    return button;
  }

  /** What the operator is asked to do, or what came of it. */
  #task(view) {
    const { verdict, learner } = view ?? {};
    if (verdict === 'calibrating') return text('gamepad.calibrating');
    if (!learner) return this.#result && text(`gamepad.result.${this.#result}`);
    return text(learner.waits ? 'gamepad.learn.wait' : `gamepad.learn.${learner.lesson?.control}`);
  }

  #showActions(pads, view, hasVr) {
    const { verdict, learner, canLearn } = view ?? {};
    const isBusy = verdict === 'learning' || verdict === 'calibrating';
    setText(this.#hold, text(pads.holdToDrive ? 'gamepad.hold.on' : 'gamepad.hold.off'));
    setAttribute(this.#hold, 'aria-pressed', String(pads.holdToDrive));
    setText(this.#still, text('gamepad.still', { seconds: pads.stillS }));
    setText(this.#calibrate, text('gamepad.calibrate'));
    setText(this.#learn, text(learner ? 'gamepad.again' : 'gamepad.learn'));
    setText(this.#skip, text('gamepad.skip'));
    setText(this.#cancel, text('gamepad.cancel'));
    this.#hold.hidden = isBusy || !(view || hasVr);
    this.#still.hidden = isBusy || !view;
    this.#calibrate.hidden = isBusy || !view || verdict === 'unmapped';
    this.#learn.hidden = !canLearn || verdict === 'calibrating';
    this.#skip.hidden = !learner?.lesson?.optional;
    this.#cancel.hidden = !isBusy;
  }

  #showAxes(values) {
    const items = rows(this.#axes, Math.min(values.length, MAX_AXES), 'span');
    items.forEach(([item, bar], i) => {
      const value = values[i];
      bar.style.setProperty('--value', String(Math.min(1, Math.max(-1, value)) || 0));
      setAttribute(item, 'data-value', decimal(value, 2));
      setAttribute(bar, 'aria-label', text('gamepad.axis', { number: i, value: decimal(value, 1) }));
    });
  }

  #showButtons(values) {
    const items = rows(this.#buttons, Math.min(values.length, MAX_BUTTONS), 'span');
    items.forEach(([item, bar], i) => {
      const isPressed = values[i] > 0.5;
      setText(bar, String(i));
      setAttribute(item, 'data-pressed', String(isPressed));
      const key = isPressed ? 'gamepad.button.pressed' : 'gamepad.button';
      setAttribute(bar, 'aria-label', text(key, { number: i }));
    });
  }
}

/** As many rows as there are values. @returns {[HTMLElement, HTMLElement][]} each with its child */
function rows(list, count, child) {
  while (list.children.length > count) list.lastElementChild.remove();
  while (list.children.length < count) {
    const item = document.createElement('li');
    item.append(document.createElement(child));
    item.firstElementChild.setAttribute('role', 'img');
    list.append(item);
  }
  return Array.from(list.children, (item) => [item, item.firstElementChild]);
}
