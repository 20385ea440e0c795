// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The controllers of a VR headset as an input device, by the WebXR Gamepads Module
 * (https://www.w3.org/TR/webxr-gamepads-module-1/). Pure.
 *
 * Left stick: forward and sideways. Right stick: turn. Either grip is held to drive. B or Y, the upper button
 * of either hand: E-STOP. X, the lower button of the left hand: next camera.
 *
 * They are read by the page's timer, not by the frames of the headset: a menu, a headset that is taken off or
 * an application that hangs ends the frames, and the values stay as they were. So values count only while
 * frames come. The controllers drive only from neutral, as gamepads do: sticks centred while no grip is
 * held. They are back there after whatever takes the hand away. Tracked hands never drive: a pinch is too
 * easily seen where there is none.
 */

import { shaped, STICK_DEAD_ZONE } from './shaping.js';

/** Headsets show at least 36 frames a second, even when they reproject. */
export const FRAME_AGE_S = 0.1;
const HANDS = Object.freeze(['left', 'right']);
const NO_INTENT = Object.freeze({ forward: 0, left: 0, turn: 0 });
/** Of the mapping `xr-standard`, and of the headsets that add A, B, X and Y to it. */
const [TRIGGER, GRIP, TOUCHPAD, STICK, LOWER, UPPER, MENU] = [0, 1, 2, 3, 4, 5, 6];
const BUTTONS = Object.freeze([TRIGGER, GRIP, TOUCHPAD, STICK, LOWER, UPPER, MENU]);
const [STICK_X, STICK_Y] = [2, 3];
const PRESSED = 0.5;
/** Rounding; beyond it, a value is nonsense. */
const MAX_VALUE = 1.1;
/** As of gamepads. */
const JOY_DEAD_ZONE = 0.05;
/** Turning makes people sick more than anything else does in VR. */
const TURN_FACTOR = 0.5;

/**
 * Why the controllers do not drive; 'driving': they do; 'ready': nothing but a hand is missing.
 * @typedef {'driving' | 'ready' | 'hold' | 'neutral' | 'faulty' | 'no-controller' | 'no-frames' |
 *   'not-visible' | 'no-session'} Verdict
 *
 * @typedef {object} XrInput What of an XRSession is read here; see xr/xr_session.js.
 * @property {string} visibilityState of the XRSession; 'ended': it is over
 * @property {Iterable<XRInputSource>} inputSources
 * @property {number | null} lastFrameS when its last frame began, by the page's clock; null: none yet
 */

/** Both controllers of a headset. @implements {import('../drive.js').InputDevice} */
export class XrSticks {
  name = 'vr';
  response = { deadZone: STICK_DEAD_ZONE, expo: 0.4, turnFactor: TURN_FACTOR };
  /** The session that is read; null: there is none. @type {XrInput | null} */
  session = null;
  #holdToDrive = true;
  /** Whether neutral was seen since the hand was lost. */
  #armed = false;
  #held = false;
  /** @type {Verdict} */
  #verdict = 'no-session';
  #intent = NO_INTENT;
  /** Hand → its controller, at the last poll. @type {Map<string, Gamepad>} */
  #pads = new Map();
  /** The hands that had a controller at the poll before. */
  #hands = '';
  #pressed = new Set();

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

  /** @returns {Verdict} */
  get verdict() {
    return this.#verdict;
  }

  /** Whether a grip must be held. Not stored: it is on again with each new page. */
  get holdToDrive() {
    return this.#holdToDrive;
  }

  set holdToDrive(on) {
    this.releaseAll();
    this.#holdToDrive = on === true;
  }

  /** @param {number} nowS @returns {import('../drive.js').Action[]} */
  poll(nowS) {
    this.#pads = this.#read();
    this.#verdict = this.#judgement(nowS);
    this.#held = this.#verdict === 'driving';
    if (!this.#held) this.#intent = NO_INTENT;
    // A button acts whatever the verdict: the E-STOP is always good.
    return this.#newActions();
  }

  /** @returns {Map<string, Gamepad>} the controllers that are there, by hand */
  #read() {
    const pads = new Map();
    if (!this.session || this.session.visibilityState === 'ended') return pads;
    try {
      for (const { gamepad, hand, handedness } of this.session.inputSources ?? []) {
        // A tracked hand has no mapping, or has joints beside the buttons that it imitates.
        const isController = gamepad?.mapping === 'xr-standard' && !hand;
        if (isController && HANDS.includes(handedness) && !pads.has(handedness)) pads.set(handedness, gamepad);
      }
    } catch {
      // Nonsense: no controller.
      pads.clear();
    }
    return pads;
  }

  /** @returns {Verdict} also remembers whether neutral was seen */
  #judgement(nowS) {
    const lose = (why) => {
      this.#armed = false;
      return why;
    };
    const hands = HANDS.filter((hand) => this.#pads.has(hand)).join(' ');
    const isSame = hands === this.#hands;
    this.#hands = hands;
    const { visibilityState, lastFrameS } = this.session ?? { visibilityState: 'ended' };
    if (visibilityState === 'ended') return lose('no-session');
    if (visibilityState !== 'visible') return lose('not-visible');
    if (!Number.isFinite(lastFrameS) || !(nowS - lastFrameS <= FRAME_AGE_S)) return lose('no-frames');
    if (hands === '') return lose('no-controller');
    // One that comes is let go first, as the others are: whose values were these?
    if (!isSame) return lose('neutral');
    const { forward, left, turn } = this.#steering();
    if (![forward, left, turn].every((it) => Math.abs(it) <= MAX_VALUE)) return lose('faulty');
    const isCentred = [forward, left, turn].every((it) => Math.abs(it) <= this.response.deadZone);
    const isHolding = this.#holdToDrive ? HANDS.some((hand) => this.#isPressed(hand, GRIP)) : !isCentred;
    if (!isHolding) {
      this.#armed = isCentred;
      if (!isCentred) return 'neutral';
      return this.#holdToDrive ? 'hold' : 'ready';
    }
    if (!this.#armed) return 'neutral';
    this.#intent = { forward, left, turn };
    return 'driving';
  }

  /** REP-103: forward, left and counterclockwise are positive. */
  #steering() {
    return {
      forward: 0 - this.#axis('left', STICK_Y),
      left: 0 - this.#axis('left', STICK_X),
      turn: 0 - this.#axis('right', STICK_X),
    };
  }

  /** 0 for a controller or a stick that is not there; some report null for it. */
  #axis(hand, number) {
    return this.#pads.get(hand)?.axes?.[number] ?? 0;
  }

  #isPressed(hand, number) {
    return this.#value(hand, number) > PRESSED;
  }

  #value(hand, number) {
    const { value, pressed } = this.#pads.get(hand)?.buttons?.[number] ?? {};
    if (pressed === true && !(value > 0)) return 1;
    return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0;
  }

  /** The actions whose button went down. A button that is down when the controller is first seen counts. */
  #newActions() {
    const down = HANDS.filter((hand) => this.#isPressed(hand, UPPER)).map((hand) => [hand, 'estop']);
    if (this.#isPressed('left', LOWER)) down.push(['left', 'camera']);
    const news = down.filter((it) => !this.#pressed.has(String(it)));
    this.#pressed = new Set(down.map(String));
    return news.map(([, action]) => action);
  }

  /**
   * Four axes and seven buttons for each hand, left first: stick x and y, trigger, grip; trigger, grip,
   * touch pad, stick, X or A, Y or B, menu. Left and up are positive, as of gamepads; triggers and grips are
   * 0 to 1. The same rule as for driving: without a hand, everything is zero.
   * @returns {import('../drive.js').JoyState | null} null: the controllers are not live
   */
  joy() {
    if (!['driving', 'ready', 'hold', 'neutral'].includes(this.#verdict)) return null;
    const isPassed = this.#holdToDrive ? this.#held : this.#armed;
    // Plus zero: no -0 on the wire.
    const stick = (hand, number) => 0 - shaped(this.#axis(hand, number), { deadZone: JOY_DEAD_ZONE });
    const axes = HANDS.flatMap((hand) => [
      stick(hand, STICK_X), stick(hand, STICK_Y), this.#value(hand, TRIGGER), this.#value(hand, GRIP),
    ]);
    const buttons = HANDS.flatMap((hand) => BUTTONS.map((number) => Number(this.#isPressed(hand, number))));
    return { axes: axes.map((it) => (isPassed ? it : 0)), buttons: buttons.map((it) => (isPassed ? it : 0)) };
  }
}
