// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** Where the operator's token comes from and where it is kept: this tab, and nowhere else. */

const KEY = 'teleop.token';

/**
 * Take the token out of the address bar, so that it is neither bookmarked nor shown on a stream.
 * @param {{location: Location, history: History, storage: Storage}} browser
 * @returns {string | null}
 */
export function takeToken({ location, history, storage }) {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given !== null) {
    history.replaceState(null, '', location.pathname + location.search);
    if (given.trim()) storeToken(storage, given);
  }
  return storage.getItem(KEY);
}

/** @param {Storage} storage @param {string} token */
export function storeToken(storage, token) {
  storage.setItem(KEY, token.trim());
}

/** @param {Storage} storage */
export function forgetToken(storage) {
  storage.removeItem(KEY);
}
