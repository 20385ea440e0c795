// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** Keys to the drive state: what is held, what must be let go, Space, and the cameras' numbers. */

import { isDriveKey } from '../drive.js';

const ARROW = /^Arrow/;
const DIGIT = /^(Digit|Numpad)[1-9]$/;
const TEXT_FIELD = 'input:not([type=range]), textarea, select, [contenteditable]';

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
  target.addEventListener('keydown', (event) => {
    // macOS swallows key releases while Meta is held, a context menu those behind it.
    if (event.code === 'MetaLeft' || event.code === 'MetaRight') onLost();
    // Ctrl and Alt are the browser's: Ctrl+W must not be a motion.
    if (!isActive() || event.ctrlKey || event.altKey || event.metaKey) return;
    if (matches(event.target, TEXT_FIELD)) return;
    if (event.code === 'Space') {
      event.preventDefault();
      if (!event.repeat) onEstop();
    } else if (isDriveKey(event.code) && !isSliderKey(event)) {
      event.preventDefault();
      // Auto-repeat is no press: a key that was let go by force counts only when pressed anew.
      if (event.repeat) return;
      drive.press(event.code);
      onChange();
    } else if (DIGIT.test(event.code) && !event.repeat) {
      // By place, not by sign: there are keyboards on which digits need Shift.
      onNumber(Number(event.code.at(-1)), event.shiftKey ? { add: true } : {});
    }
  });

  target.addEventListener('keyup', (event) => {
    // A focused button would be clicked by the release of Space.
    if (event.code === 'Space' && isActive() && !matches(event.target, TEXT_FIELD)) {
      event.preventDefault();
    }
    // Whatever the modifiers, or where the focus went meanwhile: a release always counts.
    if (!isDriveKey(event.code)) return;
    drive.release(event.code);
    onChange();
  });

  target.addEventListener('contextmenu', onLost);
}

/** The arrows belong to a focused slider. */
function isSliderKey(event) {
  return ARROW.test(event.code) && matches(event.target, 'input[type=range]');
}

function matches(element, selector) {
  return typeof element?.matches === 'function' && element.matches(selector);
}
