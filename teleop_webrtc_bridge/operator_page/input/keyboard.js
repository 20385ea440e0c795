// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The keyboard as an input device: the held motion keys, the stop key, the speed, and the camera numbers.
 *
 * Nothing about the keyboard prevents a stop: no modifier, layout, input method, focus, auto-repeat or
 * other listener. The only exception is a field in which text is typed.
 */

/** `event.code` → unit axes. Codes, not letters: the keys stay where they are on every layout. */
const KEY_AXES = new Map([
  ['KeyW', { forward: 1 }],
  ['ArrowUp', { forward: 1 }],
  ['KeyS', { forward: -1 }],
  ['ArrowDown', { forward: -1 }],
  ['KeyA', { turn: 1 }],
  ['ArrowLeft', { turn: 1 }],
  ['KeyD', { turn: -1 }],
  ['ArrowRight', { turn: -1 }],
  ['KeyQ', { left: 1 }],
  ['KeyE', { left: -1 }],
]);

/** @param {string} code @returns {boolean} */
export function isDriveKey(code) {
  return KEY_AXES.has(code);
}

/** `event.key` → action. Characters, not places: they are somewhere else on each layout. */
const KEY_ACTIONS = new Map([['+', 'faster'], ['=', 'faster'], ['-', 'slower']]);
/** @param {string} code of a motion key @returns {Partial<import('../drive.js').Intent>} */
export function axesOf(code) {
  return KEY_AXES.get(code);
}

const ARROW = /^Arrow/;
const DIGIT = /^(Digit|Numpad)[1-9]$/;
const INPUT = 'input:not([type=range]), textarea, [contenteditable]';
/** Also matched by INPUT, but no text can be typed there. */
const NOT_TYPED = [
  ...['button', 'checkbox', 'color', 'file', 'image', 'radio', 'reset', 'submit'].map(
    (type) => `input[type=${type}]`,
  ),
  ':disabled',
  ':read-only',
].join(', ');
/** Key releases may be lost while these are held: macOS and window managers swallow them. */
const MODIFIERS = new Set(['Alt', 'AltGraph', 'Control', 'Meta', 'OS']);
const MODIFIER_CODE = /^(Alt|Control|Meta|OS)(Left|Right)$/;

/** The motion keys that are down. @implements {import('../drive.js').InputDevice} */
export class HeldKeys {
  name = 'keyboard';
  #codes = new Set();

  /** @param {string} code keys that are not for motion are ignored */
  press(code) {
    if (isDriveKey(code)) this.#codes.add(code);
  }

  /** @param {string} code */
  release(code) {
    this.#codes.delete(code);
  }

  releaseAll() {
    this.#codes.clear();
  }

  get isHeld() {
    return this.#codes.size > 0;
  }

  intent() {
    const sum = { forward: 0, left: 0, turn: 0 };
    for (const code of this.#codes) {
      for (const [axis, value] of Object.entries(KEY_AXES.get(code))) sum[axis] += value;
    }
    return sum;
  }
}

/**
 * @param {object} options
 * @param {EventTarget} options.target the window
 * @param {HeldKeys} options.keys
 * @param {() => boolean} options.isActive whether a robot is connected, or is about to be
 * @param {() => void} options.onChange a motion key went down or up
 * @param {() => void} options.onEstop
 * @param {(action: import('../drive.js').Action) => void} options.onAction faster or slower, once per press
 * @param {(number: number, options: {add?: boolean}) => void} options.onNumber a digit, 1 to 9
 * @param {() => void} options.onLost key releases may have been missed: release everything
 */
export function attachKeyboard({ target, keys, isActive, onChange, onEstop, onAction, onNumber, onLost }) {
  /** Whether the current press of the stop key has already stopped the robot. */
  let hasStopped = false;

  const onStopKey = (event) => {
    // Not again on auto-repeat; but a repeat without a seen press counts as a press.
    if (event.repeat && hasStopped) return;
    hasStopped = true;
    onEstop();
  };

  const onDown = (event) => {
    if (isModifier(event)) onLost();
    if (!isActive() || isTyped(event.target)) return;
    if (isStopKey(event)) {
      event.preventDefault();
      onStopKey(event);
      return;
    }
    if (event.code === 'Escape') onLost();
    // Ctrl and Alt belong to the browser: Ctrl+W must not be a motion.
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (isDriveKey(event.code) && !isSliderKey(event)) {
      event.preventDefault();
      // Auto-repeat is not a press: a key that was released by force counts only when pressed again.
      if (event.repeat) return;
      keys.press(event.code);
      onChange();
    } else if (KEY_ACTIONS.has(event.key)) {
      // Before the digits: on a French keyboard "-" has the place of 6.
      if (!event.repeat) onAction(KEY_ACTIONS.get(event.key));
    } else if (DIGIT.test(event.code) && !event.repeat) {
      // By position, not by character: on some keyboards digits need Shift.
      onNumber(Number(event.code.at(-1)), event.shiftKey ? { add: true } : {});
    }
  };

  const onUp = (event) => {
    if (isStopKey(event)) {
      if (isActive() && !isTyped(event.target)) {
        // A focused button would be clicked by the release of Space.
        event.preventDefault();
        // An input method or the system swallowed the press.
        if (!hasStopped) onEstop();
      }
      hasStopped = false;
    }
    // A release always counts, whatever the modifiers and the focus.
    if (isDriveKey(event.code)) {
      keys.release(event.code);
      onChange();
    } else if (isModifier(event) || !event.code || event.code === 'Unidentified') {
      // Which other keys were released is unknown.
      onLost();
    }
  };

  // On the window, in the capture phase: no other listener can keep a key from us.
  target.addEventListener('keydown', onDown, { capture: true });
  target.addEventListener('keyup', onUp, { capture: true });
  target.addEventListener('contextmenu', onLost, { capture: true });
  target.addEventListener('focusin', (event) => isTyped(event.target) && onLost());
  target.addEventListener('blur', () => (hasStopped = false));
}

/**
 * Space: by its position, by its character (also a no-break or an ideographic space), and by its old
 * number, which remains when an input method hides the others.
 */
function isStopKey({ code, key, keyCode }) {
  return code === 'Space' || keyCode === 32 || key === 'Spacebar' || /^\s$/u.test(key ?? '');
}

function isModifier({ code, key }) {
  return MODIFIERS.has(key) || MODIFIER_CODE.test(code ?? '');
}

/** Whether keys type text there. */
function isTyped(element) {
  return matches(element, INPUT) && !matches(element, NOT_TYPED);
}

/** The arrows belong to a focused slider. */
function isSliderKey(event) {
  return ARROW.test(event.code) && matches(event.target, 'input[type=range]');
}

function matches(element, selector) {
  return typeof element?.matches === 'function' && element.matches(selector);
}
