// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The letters of the motion keys on the operator's own keyboard, where the browser tells them. */

import { setText } from '../dom.js';

/**
 * @param {object} options
 * @param {Iterable<HTMLElement>} options.keys each with `data-code`; they show the letters of a US keyboard
 * @param {{getLayoutMap?: () => Promise<Map<string, string>>}} [options.keyboard] of the navigator: Chromium has
 *   one on pages with https
 */
export async function showLayout({ keys, keyboard }) {
  let layout;
  try {
    layout = await keyboard?.getLayoutMap?.();
  } catch {
    // Forbidden by the page's host.
  }
  for (const key of keys) {
    const letter = layout?.get(key.dataset.code);
    if (typeof letter === 'string' && letter !== '') setText(key, letter.toLocaleUpperCase());
  }
}
