// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The slider of the top speed: a finger on it counts only while the slider does not move away. */

/**
 * @param {object} options
 * @param {HTMLInputElement} options.slider
 * @param {(percent: number) => void} options.onPercent
 * @returns {{release: () => void}} release: a finger on it counts only after a new touch
 */
export function attachSpeedSlider({ slider, onPercent }) {
  /** Before the finger moved it: keys and other devices change it too. */
  let percent = Number(slider.value);
  let isHeld = false;
  let isLost = false;

  const end = () => {
    isHeld = false;
    isLost = false;
    // With the focus, the slider would keep the arrow keys.
    slider.blur();
  };
  slider.addEventListener('pointerdown', () => {
    percent = Number(slider.value);
    isHeld = true;
    isLost = false;
  });
  slider.addEventListener('pointerup', end);
  slider.addEventListener('pointercancel', end);
  slider.addEventListener('input', () => {
    // The slider moved under the finger, and the browser took that for another speed.
    if (isLost) slider.value = String(percent);
    else percent = Number(slider.value);
    onPercent(percent);
  });
  return {
    release() {
      isLost = isHeld;
    },
  };
}
