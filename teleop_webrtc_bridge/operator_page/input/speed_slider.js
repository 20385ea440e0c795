// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The slider of the top speed: a finger on it counts only as long as the slider stays where it is. */

/**
 * @param {object} options
 * @param {HTMLInputElement} options.slider
 * @param {(percent: number) => void} options.onPercent
 * @returns {{release: () => void}} release: what a finger on it does counts only when touched anew
 */
export function attachSpeedSlider({ slider, onPercent }) {
  let percent = Number(slider.value);
  let isHeld = false;
  let isLost = false;

  const end = () => {
    isHeld = false;
    isLost = false;
    // Focus would leave the arrow keys with the slider.
    slider.blur();
  };
  slider.addEventListener('pointerdown', () => {
    isHeld = true;
    isLost = false;
  });
  slider.addEventListener('pointerup', end);
  slider.addEventListener('pointercancel', end);
  slider.addEventListener('input', () => {
    // The browser has taken a finger that did not move for a wish for another speed.
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
