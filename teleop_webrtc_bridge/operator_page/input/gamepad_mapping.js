// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * What the axes and buttons of a gamepad mean, how far its sticks rest off their centre, and how the page
 * learns both. Pure, except for `PadMemory`, which owns the browser's storage of it.
 *
 * Controls have the names of the Gamepad API's standard mapping (https://www.w3.org/TR/gamepad/#remapping):
 * sticks as axes with right and down positive, triggers as 0..1, everything else as buttons.
 */

/** @typedef {{axis: number, rest: number, full: number} | {button: number}} Source */
/** @typedef {Readonly<Record<string, Source>>} Mapping control → where the pad reports it */

export const STICKS = Object.freeze(['leftX', 'leftY', 'rightX', 'rightY']);
export const TRIGGERS = Object.freeze(['leftTrigger', 'rightTrigger']);
/** In the order of SDL's game controller, which the ROS `joy` driver's `game_controller_node` publishes. */
export const BUTTONS = Object.freeze([
  'a', 'b', 'x', 'y', 'back', 'guide', 'start', 'leftStick', 'rightStick', 'leftShoulder',
  'rightShoulder', 'up', 'down', 'left', 'right',
]);
const CONTROLS = new Set([...STICKS, ...TRIGGERS, ...BUTTONS]);

/** @type {Mapping} */
export const STANDARD = Object.freeze({
  leftX: stick(0), leftY: stick(1), rightX: stick(2), rightY: stick(3),
  leftTrigger: { button: 6 }, rightTrigger: { button: 7 },
  a: { button: 0 }, b: { button: 1 }, x: { button: 2 }, y: { button: 3 },
  leftShoulder: { button: 4 }, rightShoulder: { button: 5 }, back: { button: 8 }, start: { button: 9 },
  leftStick: { button: 10 }, rightStick: { button: 11 },
  up: { button: 12 }, down: { button: 13 }, left: { button: 14 }, right: { button: 15 },
  guide: { button: 16 },
});

/** More are ignored: a keyboard that calls itself a gamepad has hundreds. */
export const MAX_INPUTS = 64;
export const MAX_DRIFT = 0.3;
/** Rounding; a switch that is reported as an axis has values beyond it. */
const MAX_VALUE = 1.1;
/** Half way; a trigger that is used as a button has a long way. */
const PRESSED = 0.5;

function stick(axis) {
  return Object.freeze({ axis, rest: 0, full: 1 });
}

/**
 * A copy: Firefox changes the object that it has given out.
 * @typedef {{axes: number[], buttons: number[]}} Snapshot NaN: the pad said something that is no number
 */

/** @param {unknown} pad of `navigator.getGamepads` @returns {Snapshot} */
export function snapshot(pad) {
  return {
    axes: copy(pad?.axes).map((value) => number(value)),
    buttons: copy(pad?.buttons).map((it) => (typeof it === 'number' ? inRange(it) : pressure(it))),
  };
}

function copy(list) {
  const length = Number(list?.length);
  return length > 0 ? Array.from({ length: Math.min(length, MAX_INPUTS) }, (_, i) => list[i]) : [];
}

function number(value) {
  return typeof value === 'number' && Number.isFinite(value) ? value : NaN;
}

function pressure(button) {
  const value = inRange(button?.value);
  // Some drivers report a digital button without a value.
  return button?.pressed === true && !(value > 0) ? 1 : value;
}

function inRange(value) {
  return Math.abs(number(value)) <= MAX_VALUE ? value : NaN;
}

/**
 * @param {Snapshot} seen
 * @param {Mapping} mapping
 * @param {string} control
 * @param {readonly number[]} drift by axis
 * @returns {number} -1..1; NaN: the pad does not say
 */
export function valueOf(seen, mapping, control, drift = []) {
  const source = mapping[control];
  if (!source) return NaN;
  if ('button' in source) return clamp(seen.buttons[source.button] ?? NaN);
  const raw = inRange(seen.axes[source.axis]);
  const centred = STICKS.includes(control) ? withoutDrift(raw, drift[source.axis] ?? 0) : raw;
  return clamp((centred - source.rest) / (source.full - source.rest));
}

/** Whether a control counts as pressed; what is not a number does not. */
export function isPressed(seen, mapping, control) {
  return valueOf(seen, mapping, control) > PRESSED;
}

function clamp(value) {
  return Math.min(1, Math.max(-1, value));
}

/** Moved to the centre, and stretched so that both ends are still reached. */
function withoutDrift(value, offset) {
  const moved = value - offset;
  return moved / (moved > 0 ? 1 - offset : 1 + offset);
}

// --- measuring the drift -----------------------------------------------------------------------

const CALIBRATION_S = 2;
/** Noise of a stick at rest; a hand moves it more. */
const MAX_NOISE = 0.05;

/** Measures where the sticks rest, while the operator leaves them alone. */
export class Calibration {
  #untilS;
  #mapping;
  /** Axis → readings. @type {Map<number, number[]>} */
  #readings = new Map();

  /** @param {Mapping} mapping @param {number} nowS */
  constructor(mapping, nowS) {
    this.#mapping = mapping;
    this.#untilS = nowS + CALIBRATION_S;
  }

  /**
   * @param {Snapshot} seen
   * @param {number} nowS
   * @returns {{drift: number[]} | {failure: 'moved' | 'far' | 'silent'} | null} null: it goes on
   */
  add(seen, nowS) {
    for (const control of STICKS) {
      const { axis } = this.#mapping[control] ?? {};
      if (axis === undefined) continue;
      const readings = this.#readings.get(axis) ?? [];
      readings.push(seen.axes[axis]);
      this.#readings.set(axis, readings);
    }
    return nowS < this.#untilS ? null : this.#result();
  }

  #result() {
    const drift = [];
    for (const [axis, readings] of this.#readings) {
      const mean = readings.reduce((sum, value) => sum + value, 0) / readings.length;
      const spread = Math.max(...readings) - Math.min(...readings);
      if (!Number.isFinite(mean)) return { failure: 'silent' };
      if (spread > MAX_NOISE) return { failure: 'moved' };
      if (Math.abs(mean) > MAX_DRIFT) return { failure: 'far' };
      drift[axis] = mean;
    }
    return { drift: Array.from(drift, (value) => value ?? 0) };
  }
}

// --- learning a mapping ------------------------------------------------------------------------

/**
 * What is asked for, in this order; `sign`: the direction that is asked for, for a stick.
 * @type {readonly {control: string, sign?: 1 | -1, optional?: boolean}[]}
 */
export const LESSONS = Object.freeze([
  { control: 'leftY', sign: -1 },
  { control: 'leftX', sign: -1, optional: true },
  { control: 'rightX', sign: -1 },
  { control: 'rightY', sign: -1, optional: true },
  { control: 'leftShoulder' },
  { control: 'b' },
  { control: 'y', optional: true },
  { control: 'up', optional: true },
  { control: 'down', optional: true },
  { control: 'leftTrigger', optional: true },
  { control: 'rightTrigger', optional: true },
]);
/** So far must an axis move to be meant; a neighbouring axis moves less. */
const MOVED = 0.6;
/** So near must everything be to its rest before the next lesson. */
const AT_REST = 0.2;

/** Asks for one control after the other, and notes what moves. */
export class Learner {
  /** How everything rests; measured first. @type {Snapshot | null} */
  #rest = null;
  #step = 0;
  #waits = true;
  /** The axis that moves, and its largest deflection. @type {{axis: number, full: number} | null} */
  #moving = null;
  /** @type {Record<string, Source>} */
  #learned = {};

  /** The lesson that is asked for; null: finished. */
  get lesson() {
    return LESSONS[this.#step] ?? null;
  }

  /** @returns {Mapping | null} null: not finished */
  get mapping() {
    return this.lesson === null ? Object.freeze({ ...this.#learned }) : null;
  }

  /** Whether the pad must be let go before the next lesson. */
  get waits() {
    return this.#waits;
  }

  skip() {
    if (this.lesson?.optional) this.#next();
  }

  /** Begin again. */
  redo() {
    this.#rest = null;
    this.#step = 0;
    this.#waits = true;
    this.#moving = null;
    this.#learned = {};
  }

  /** @param {Snapshot} seen */
  add(seen) {
    if (!this.lesson) return;
    if (this.#rest === null) {
      // With a finger on it, nobody knows what its rest is.
      if (!seen.buttons.some((value) => value > PRESSED)) this.#rest = seen;
      return;
    }
    if (this.#waits) {
      if (this.#isAtRest(seen)) this.#waits = false;
      return;
    }
    const { control } = this.lesson;
    if (!STICKS.includes(control)) {
      const button = seen.buttons.findIndex(
        (value, i) => value > PRESSED && !(this.#rest.buttons[i] > PRESSED) && !this.#isUsed('button', i),
      );
      if (button >= 0) return this.#learn({ button });
    }
    this.#learnAxis(seen);
  }

  #learnAxis(seen) {
    const { control, sign = 1 } = this.lesson;
    const isStick = STICKS.includes(control);
    const rest = this.#rest.axes;
    const moved = seen.axes.map((value, i) => Math.abs(value - rest[i]));
    if (this.#moving === null) {
      // A stick that was not left alone at the start would be learned the wrong way round.
      const maxRest = isStick ? MAX_DRIFT : 1;
      const axis = moved.findIndex(
        (size, i) =>
          size > MOVED && Math.abs(rest[i]) <= maxRest && !this.#isUsed('axis', i) &&
          moved.every((other) => !(other > size)),
      );
      if (axis >= 0) this.#moving = { axis, full: clamp(seen.axes[axis]) };
      return;
    }
    const { axis, full } = this.#moving;
    const direction = Math.sign(full - rest[axis]);
    if ((seen.axes[axis] - full) * direction > 0) this.#moving.full = clamp(seen.axes[axis]);
    // Back again: the largest deflection is known.
    if (!(moved[axis] <= AT_REST)) return;
    // A stick goes both ways by the same amount.
    this.#learn(isStick ? { axis, rest: 0, full: direction * sign } : { axis, rest: rest[axis], full });
  }

  #learn(source) {
    this.#learned[this.lesson.control] = Object.freeze(source);
    this.#next();
  }

  #next() {
    this.#step += 1;
    this.#moving = null;
    this.#waits = true;
  }

  #isUsed(kind, index) {
    return Object.values(this.#learned).some((source) => source[kind] === index);
  }

  #isAtRest({ axes, buttons }) {
    const { axes: restAxes, buttons: restButtons } = this.#rest;
    return (
      axes.every((value, i) => !(Math.abs(value - restAxes[i]) > AT_REST)) &&
      buttons.every((value, i) => !(value > PRESSED) || restButtons[i] > PRESSED)
    );
  }
}

// --- remembering -------------------------------------------------------------------------------

const PREFIX = 'gamepad:';
const MAX_ID_LENGTH = 200;
const MAX_TEXT_LENGTH = 4_000;

/** @typedef {{drift: readonly number[], mapping: Mapping | null}} Known */
/** @type {Known} */
const NOTHING = Object.freeze({ drift: Object.freeze([]), mapping: null });

/** What is known of each pad, by the name that it gives itself. Works without the storage, too. */
export class PadMemory {
  #storage;
  /** @type {Map<string, Known>} */
  #known = new Map();

  /** @param {() => Storage | null} storage it may throw */
  constructor(storage) {
    this.#storage = storage;
  }

  /** @param {string} id @returns {Known} */
  get(id) {
    if (!this.#known.has(id)) this.#known.set(id, this.#read(id));
    return this.#known.get(id);
  }

  /** @param {string} id @param {Partial<Known>} change */
  set(id, change) {
    const known = Object.freeze({ ...this.get(id), ...change });
    this.#known.set(id, known);
    try {
      this.#storage()?.setItem(keyOf(id), JSON.stringify(known));
    } catch {
      // It stays known until the page is closed.
    }
  }

  #read(id) {
    try {
      const text = this.#storage()?.getItem(keyOf(id));
      return typeof text === 'string' && text.length <= MAX_TEXT_LENGTH ? parse(text) : NOTHING;
    } catch {
      return NOTHING;
    }
  }
}

function keyOf(id) {
  return PREFIX + String(id).slice(0, MAX_ID_LENGTH);
}

/** Only what this page could have written counts. @param {string} text @returns {Known} */
function parse(text) {
  const stored = JSON.parse(text);
  return {
    drift: isDrift(stored?.drift) ? stored.drift : NOTHING.drift,
    mapping: isMapping(stored?.mapping) ? stored.mapping : null,
  };
}

function isDrift(drift) {
  return (
    Array.isArray(drift) &&
    drift.length <= MAX_INPUTS &&
    drift.every((value) => Number.isFinite(value) && Math.abs(value) <= MAX_DRIFT)
  );
}

function isMapping(mapping) {
  if (typeof mapping !== 'object' || mapping === null || Array.isArray(mapping)) return false;
  const entries = Object.entries(mapping);
  const places = entries.map(([, source]) => JSON.stringify([source?.axis, source?.button]));
  return (
    LESSONS.every(({ control, optional }) => optional || Object.hasOwn(mapping, control)) &&
    entries.every(([control, source]) => CONTROLS.has(control) && isSource(source, control)) &&
    // An E-STOP that is also the button to hold would be neither.
    new Set(places).size === places.length
  );
}

function isSource(source, control) {
  const isIndex = (index) => Number.isInteger(index) && index >= 0 && index < MAX_INPUTS;
  if (STICKS.includes(control)) {
    return isIndex(source?.axis) && source.rest === 0 && Math.abs(source.full) === 1;
  }
  const { axis, button, rest, full } = source ?? {};
  if (button !== undefined) return isIndex(button) && axis === undefined;
  const isInRange = [rest, full].every((value) => Number.isFinite(value) && Math.abs(value) <= 1);
  return isIndex(axis) && isInRange && Math.abs(full - rest) >= MOVED;
}
