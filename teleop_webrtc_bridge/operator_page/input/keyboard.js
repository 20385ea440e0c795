// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Keys to the drive state: what is held, what must be let go, the stop, and the cameras' numbers.
 *
 * Nothing on the keyboard's side refuses a stop: no modifier, layout, input method, focus or
 * auto-repeat, and no other listener. The only exception is a field in which text is typed.
 */

import { isDriveKey } from '../drive.js';

const ARROW = /^Arrow/;
const DIGIT = /^(Digit|Numpad)[1-9]$/;
const INPUT = 'input:not([type=range]), textarea, [contenteditable]';
/** What INPUT matches as well, but no text can be typed into. */
const NOT_TYPED = [
  ...['button', 'checkbox', 'color', 'file', 'image', 'radio', 'reset', 'submit'].map(
    (type) => `input[type=${type}]`,
  ),
  ':disabled',
  ':read-only',
].join(', ');
/** Releases of other keys get lost while these are held: macOS swallows them, window managers too. */
const MODIFIERS = new Set(['Alt', 'AltGraph', 'Control', 'Meta', 'OS']);
const MODIFIER_CODE = /^(Alt|Control|Meta|OS)(Left|Right)$/;

/**
 * @param {object} options
 * @param {EventTarget} options.target the window
 * @param {import('../drive.js').Drive} options.drive
 * @param {() => boolean} options.isActive whether a robot is, or is about to be, under control
 * @param {() => void} options.onChange a motion key went down or up
 * @param {() => void} options.onEstop
 * @param {(number: number, options: {add?: boolean}) => void} options.onNumber a digit, 1 to 9
 * @param {() => void} options.onLost key releases may have been missed: let go of everything
 */
export function attachKeyboard({ target, drive, isActive, onChange, onEstop, onNumber, onLost }) {
  /** Whether the press of the stop key that goes on now has stopped the robot already. */
  let hasStopped = false;

  const onStopKey = (event) => {
    // Not another time for auto-repeat; but a repeat whose press nobody has seen is a press.
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
    // Ctrl and Alt are the browser's: Ctrl+W must not be a motion.
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (isDriveKey(event.code) && !isSliderKey(event)) {
      event.preventDefault();
      // Auto-repeat is no press: a key that was let go by force counts only when pressed anew.
      if (event.repeat) return;
      drive.press(event.code);
      onChange();
    } else if (DIGIT.test(event.code) && !event.repeat) {
      // By place, not by sign: there are keyboards on which digits need Shift.
      onNumber(Number(event.code.at(-1)), event.shiftKey ? { add: true } : {});
    }
  };

  const onUp = (event) => {
    if (isStopKey(event)) {
      if (isActive() && !isTyped(event.target)) {
        // A focused button would be clicked by the release of Space.
        event.preventDefault();
        // An input method or the system has kept the press for itself.
        if (!hasStopped) onEstop();
      }
      hasStopped = false;
    }
    // Whatever the modifiers, or where the focus went meanwhile: a release always counts.
    if (isDriveKey(event.code)) {
      drive.release(event.code);
      onChange();
    } else if (isModifier(event) || !event.code || event.code === 'Unidentified') {
      // What else was released meanwhile, or just now, cannot be told.
      onLost();
    }
  };

  // At the window, before anything else: nobody else's listener can keep a key from us.
  target.addEventListener('keydown', onDown, { capture: true });
  target.addEventListener('keyup', onUp, { capture: true });
  target.addEventListener('contextmenu', onLost, { capture: true });
  target.addEventListener('focusin', (event) => isTyped(event.target) && onLost());
  target.addEventListener('blur', () => (hasStopped = false));
}

/**
 * Space: by its place, by what it writes (also a no-break or an ideographic space), and by the old
 * number, which is left when an input method hides the others.
 */
function isStopKey({ code, key, keyCode }) {
  return code === 'Space' || keyCode === 32 || key === 'Spacebar' || /^\s$/u.test(key ?? '');
}

function isModifier({ code, key }) {
  return MODIFIERS.has(key) || MODIFIER_CODE.test(code ?? '');
}

/** Whether keys are text there. */
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
