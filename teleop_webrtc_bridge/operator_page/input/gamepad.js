// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Gamepads as an input device, by the Gamepad API (https://www.w3.org/TR/gamepad/).
 *
 * Left stick: forward and sideways. Right stick: turn. Either shoulder button is held to drive. B (east):
 * E-STOP. Y (north): next camera. D-pad up and down: faster and slower. These are the names of an Xbox pad;
 * the places are the same on others.
 *
 * A pad drives only from neutral: sticks centred while no shoulder button is held. It is back there after
 * whatever takes the hand away: a released button, a pad that is gone or says nonsense, another pad, a page
 * without the focus, a release by force.
 *
 * A pad whose battery is empty, or whose receiver stays plugged in without it, may go on to report its last
 * state. Its timestamp does not tell: Chromium sets it at each poll on Windows and macOS, and only when a
 * value changes on Linux, as Firefox does everywhere. So only values count: a pad that drives while nothing
 * on it changes for `stillS` is taken for dead. The stick of a live one trembles in a hand; a stick that is
 * pressed to its rim may not, and its driver has to move it a little.
 */

import { BUTTONS, Calibration, isPressed, Learner, PadMemory, STANDARD, STICKS, snapshot, TRIGGERS, valueOf }
  from './gamepad_mapping.js';
import { shaped, STICK_DEAD_ZONE } from './shaping.js';

/** At the lowest speed a robot drives 1.5 m in this time, at full speed 5 m. */
export const STILL_S = 5;
/** Browsers have four. */
const MAX_PADS = 16;
const MAX_ID_LENGTH = 200;
/** Such a change means a hand, not drift. */
const TOUCHED = 0.3;
const ACTIONS = Object.freeze({ b: 'estop', y: 'camera', up: 'faster', down: 'slower' });
const HOLDS = Object.freeze(['leftShoulder', 'rightShoulder']);
const NO_INTENT = Object.freeze({ forward: 0, left: 0, turn: 0 });
/** Of `game_controller_node`, by default. */
const JOY_DEAD_ZONE = 0.05;
const RUMBLE = Object.freeze({
  estop: { duration: 400, strongMagnitude: 1, weakMagnitude: 1 },
  link: { duration: 200, strongMagnitude: 0.4, weakMagnitude: 1 },
});

/**
 * Why a pad does not drive; 'driving': it does; 'ready': nothing but a hand is missing.
 * @typedef {'driving' | 'ready' | 'hold' | 'neutral' | 'still' | 'focus' | 'faulty' | 'other' | 'unmapped' |
 *   'calibrating' | 'learning'} Verdict
 *
 * @typedef {object} PadView What the panel shows: the pad that was touched last.
 * @property {string} name
 * @property {number[]} axes as the browser reports them
 * @property {number[]} buttons
 * @property {Verdict} verdict
 * @property {boolean} canLearn whether the browser does not know its mapping
 * @property {import('./gamepad_mapping.js').Learner | null} learner
 */

/** One pad, from one poll to the next. */
class Pad {
  /** @type {import('./gamepad_mapping.js').Snapshot} */
  seen;
  /** When a value has changed last. */
  changedS;
  /** The values when it was touched last. */
  #touched;
  #pressed = new Set();

  constructor({ key, index, id, isStandard, seen }, nowS) {
    Object.assign(this, { key, index, id, isStandard });
    this.seen = seen;
    this.changedS = nowS;
    this.#touched = seen;
  }

  /** @returns {boolean} whether a hand has touched it */
  update(seen, nowS) {
    const before = this.seen;
    this.seen = seen;
    if (!isSame(before, seen)) this.changedS = nowS;
    const isTouched =
      seen.axes.some((value, i) => Math.abs(value - this.#touched.axes[i]) > TOUCHED) ||
      seen.buttons.some((value, i) => value > 0.5 && !(before.buttons[i] > 0.5));
    if (isTouched) this.#touched = seen;
    return isTouched;
  }

  /** The actions whose button went down. A button that is down when the pad is first seen counts. */
  newActions(mapping) {
    const names = Object.keys(ACTIONS).filter((name) => isPressed(this.seen, mapping, name));
    const news = names.filter((name) => !this.#pressed.has(name)).map((name) => ACTIONS[name]);
    this.#pressed = new Set(names);
    return news;
  }
}

/** All gamepads; the one that was touched last drives. @implements {import('../drive.js').InputDevice} */
export class Gamepads {
  name = 'gamepad';
  response = { deadZone: STICK_DEAD_ZONE, expo: 0.4 };
  stillS;
  /** Called when calibration or learning has ended. @type {(result: string) => void} */
  onResult = () => {};
  #getGamepads;
  #hasFocus;
  #memory;
  #holdToDrive = true;
  /** @type {Map<string, Pad>} */
  #pads = new Map();
  /** The pad that drives, and the one that was touched last: it may have no mapping. */
  #active = null;
  #shown = null;
  /** Whether neutral was seen since the hand was lost. */
  #armed = false;
  #held = false;
  /** @type {Verdict} */
  #verdict = 'neutral';
  #intent = NO_INTENT;
  /** @type {{key: string, calibration?: Calibration, learner?: Learner} | null} */
  #lesson = null;

  /**
   * @param {object} [options]
   * @param {() => Iterable<unknown>} [options.getGamepads]
   * @param {() => boolean} [options.hasFocus] whether the page is visible and has the focus
   * @param {() => Storage | null} [options.storage]
   * @param {number} [options.stillS] see above
   */
  constructor({ getGamepads = ofBrowser, hasFocus = pageHasFocus, storage = ofPage, stillS = STILL_S } = {}) {
    this.#getGamepads = getGamepads;
    this.#hasFocus = hasFocus;
    this.#memory = new PadMemory(storage);
    this.stillS = stillS;
  }

  get isHeld() {
    return this.#held;
  }

  intent() {
    return this.#intent;
  }

  releaseAll() {
    this.#armed = false;
    this.#held = false;
    this.#intent = NO_INTENT;
    if (this.#verdict === 'driving') this.#verdict = 'neutral';
  }

  /** Whether a shoulder button must be held. Not stored: it is on again with each new page. */
  get holdToDrive() {
    return this.#holdToDrive;
  }

  set holdToDrive(on) {
    this.releaseAll();
    this.#holdToDrive = on === true;
  }

  /** @param {number} nowS @returns {import('../drive.js').Action[]} */
  poll(nowS) {
    const hasFocus = this.#hasFocus();
    const actions = [];
    const found = this.#read();
    for (const key of this.#pads.keys()) if (!found.has(key)) this.#pads.delete(key);
    for (const [key, raw] of found) {
      const known = this.#pads.get(key);
      const pad = known ?? new Pad(raw, nowS);
      this.#pads.set(key, pad);
      const isTouched = known ? pad.update(raw.seen, nowS) : false;
      const mapping = this.#mappingOf(pad);
      if (isTouched || !this.#pads.has(this.#shown)) this.#shown = key;
      if (mapping && (isTouched || !this.#pads.has(this.#active))) this.#drivenBy(key);
      // The E-STOP acts on every pad, and also without the focus where the browser reports it.
      const news = mapping ? pad.newActions(mapping) : [];
      actions.push(...news.filter((action) => hasFocus || action === 'estop'));
    }
    if (!this.#pads.has(this.#active)) this.#drivenBy(null);
    this.#teach(nowS);
    this.#judge(nowS, hasFocus);
    return actions;
  }

  #drivenBy(key) {
    if (key === this.#active) return;
    this.releaseAll();
    this.#active = key;
  }

  /** @returns {Map<string, object>} the pads that are there */
  #read() {
    const found = new Map();
    try {
      for (const pad of Array.from(this.#getGamepads() ?? []).slice(0, MAX_PADS)) {
        if (pad?.connected !== true) continue;
        const id = typeof pad.id === 'string' ? pad.id.slice(0, MAX_ID_LENGTH) : '';
        const isStandard = pad.mapping === 'standard';
        const index = Number(pad.index);
        const key = `${index} ${isStandard} ${id}`;
        found.set(key, { key, index, id, isStandard, seen: snapshot(pad) });
      }
    } catch {
      // Forbidden by the page's host, or nonsense: no pad.
      found.clear();
    }
    return found;
  }

  #mappingOf({ key, id, isStandard }) {
    if (isStandard) return STANDARD;
    return this.#lesson?.key === key ? null : this.#memory.get(id).mapping;
  }

  #judge(nowS, hasFocus) {
    this.#verdict = this.#judgement(nowS, hasFocus);
    if (this.#verdict !== 'driving') this.#intent = NO_INTENT;
    this.#held = this.#verdict === 'driving';
  }

  /** @returns {Verdict} of the pad that drives; also remembers whether neutral was seen */
  #judgement(nowS, hasFocus) {
    const lose = (why) => {
      this.#armed = false;
      return why;
    };
    const pad = this.#pads.get(this.#active);
    const mapping = pad ? this.#mappingOf(pad) : null;
    if (!mapping) return lose('unmapped');
    if (this.#lesson?.key === pad.key) return lose('calibrating');
    if (!hasFocus) return lose('focus');
    const { forward, left, turn } = this.#steering(pad, mapping);
    if (![forward, left, turn].every(Number.isFinite)) return lose('faulty');
    const isCentred = [forward, left, turn].every((it) => Math.abs(it) <= this.response.deadZone);
    const isHolding = this.#holdToDrive
      ? HOLDS.some((name) => isPressed(pad.seen, mapping, name))
      : !isCentred;
    if (!isHolding) {
      this.#armed = isCentred;
      if (!isCentred) return 'neutral';
      return this.#holdToDrive ? 'hold' : 'ready';
    }
    if (!this.#armed) return this.#verdict === 'still' ? 'still' : 'neutral';
    if (!(nowS - pad.changedS <= this.stillS)) return lose('still');
    this.#intent = { forward, left, turn };
    return 'driving';
  }

  /** REP-103: forward, left and counterclockwise are positive. */
  #steering(pad, mapping) {
    const { drift } = this.#memory.get(pad.id);
    const value = (name) => valueOf(pad.seen, mapping, name, drift);
    // A pad that was learned may have no second axis on its left stick.
    const left = mapping.leftX ? -value('leftX') : 0;
    return { forward: -value('leftY') + 0, left: left + 0, turn: -value('rightX') + 0 };
  }

  /**
   * All axes and buttons, in the order and with the signs of the ROS driver `joy`'s `game_controller_node`:
   * axes left x, left y, right x, right y, left and right trigger, with left and up positive, and a pulled
   * trigger -1. The same rule as for driving: without a hand, everything is zero.
   * @returns {{axes: number[], buttons: number[]} | null} null: no pad is live
   */
  joy() {
    const pad = this.#pads.get(this.#active);
    if (!pad || !['driving', 'ready', 'hold', 'neutral'].includes(this.#verdict)) return null;
    const mapping = this.#mappingOf(pad);
    const isPassed = this.#holdToDrive ? this.#held : this.#armed;
    const { drift } = this.#memory.get(pad.id);
    const axis = (name) => {
      // Plus zero: no -0 on the wire.
      return 0 - shaped(valueOf(pad.seen, mapping, name, drift), { deadZone: JOY_DEAD_ZONE });
    };
    return {
      axes: [...STICKS, ...TRIGGERS].map((name) => (isPassed ? axis(name) : 0)),
      buttons: BUTTONS.map((name) => Number(isPassed && isPressed(pad.seen, mapping, name))),
    };
  }

  /** @param {'estop' | 'link'} event */
  feel(event) {
    try {
      const { index } = this.#pads.get(this.#active) ?? {};
      const pad = Array.from(this.#getGamepads() ?? []).find((it) => it && it.index === index);
      const { duration, strongMagnitude } = RUMBLE[event];
      const played = pad?.vibrationActuator?.playEffect
        ? pad.vibrationActuator.playEffect('dual-rumble', { startDelay: 0, ...RUMBLE[event] })
        : pad?.hapticActuators?.[0]?.pulse?.(strongMagnitude, duration);
      Promise.resolve(played).catch(() => {});
    } catch {
      // Rumble is a courtesy.
    }
  }

  // --- what the panel needs ----------------------------------------------------------------------

  /** @returns {PadView | null} null: no pad */
  view() {
    const pad = this.#pads.get(this.#shown);
    if (!pad) return null;
    const { axes, buttons } = pad.seen;
    const learner = this.#lesson?.key === pad.key ? (this.#lesson.learner ?? null) : null;
    return {
      name: pad.id, axes, buttons, verdict: this.#verdictOf(pad), canLearn: !pad.isStandard, learner,
    };
  }

  #verdictOf(pad) {
    if (this.#lesson?.key === pad.key) return this.#lesson.learner ? 'learning' : 'calibrating';
    if (!this.#mappingOf(pad)) return 'unmapped';
    return pad.key === this.#active ? this.#verdict : 'other';
  }

  /** Measure the drift of the pad that is shown. @param {number} nowS */
  calibrate(nowS) {
    const pad = this.#pads.get(this.#shown);
    const mapping = pad ? this.#mappingOf(pad) : null;
    if (!mapping) return;
    this.releaseAll();
    this.#lesson = { key: pad.key, calibration: new Calibration(mapping, nowS) };
  }

  /** Learn the mapping of the pad that is shown, or begin again. */
  learn() {
    const pad = this.#pads.get(this.#shown);
    if (!pad || pad.isStandard) return;
    this.releaseAll();
    this.#lesson = { key: pad.key, learner: new Learner() };
  }

  /** End calibration or learning; what was known before is kept. */
  cancel() {
    this.#lesson = null;
  }

  #teach(nowS) {
    if (!this.#lesson) return;
    const { key, calibration, learner } = this.#lesson;
    const pad = this.#pads.get(key);
    if (!pad) return this.#endLesson('gone');
    const result = calibration?.add(pad.seen, nowS);
    if (result) {
      if (result.drift) this.#memory.set(pad.id, { drift: result.drift });
      this.#endLesson(result.failure ?? 'calibrated');
    }
    learner?.add(pad.seen);
    if (learner?.mapping) {
      this.#memory.set(pad.id, { mapping: learner.mapping, drift: [] });
      this.#endLesson('learned');
    }
  }

  #endLesson(result) {
    this.#lesson = null;
    this.onResult(result);
  }
}

function isSame(one, other) {
  return ['axes', 'buttons'].every(
    (kind) =>
      one[kind].length === other[kind].length && one[kind].every((it, i) => Object.is(it, other[kind][i])),
  );
}

function ofBrowser() {
  return globalThis.navigator?.getGamepads?.() ?? [];
}

function ofPage() {
  return globalThis.localStorage ?? null;
}

function pageHasFocus() {
  const { document } = globalThis;
  return document !== undefined && document.hasFocus() && !document.hidden;
}
