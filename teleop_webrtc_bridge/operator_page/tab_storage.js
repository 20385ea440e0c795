// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** What is kept for this tab; only as long as the page where the browser keeps nothing. */

/**
 * A browser that blocks cookies throws already when the storage is looked at.
 * @param {{sessionStorage: Storage}} browser
 * @returns {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>}
 */
export function tabStorage(browser) {
  try {
    return browser.sessionStorage;
  } catch {
    const items = new Map();
    return {
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => items.set(key, value),
      removeItem: (key) => items.delete(key),
    };
  }
}
