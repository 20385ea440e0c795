// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The operator's token: where it comes from, and its storage, which is this tab only. */

const KEY = 'teleop.token';

/**
 * One host may serve several brokers below different paths; none must get another's token.
 * @param {string} pathname of the page
 * @returns {string} the storage key of the token
 */
export function keyOf(pathname) {
  const folder = pathname.slice(0, pathname.lastIndexOf('/') + 1);
  return folder === '/' || folder === '' ? KEY : `${KEY} ${folder}`;
}

/**
 * Remove the token from the address bar, so that it is not bookmarked or shown on a stream.
 * @param {{location: Location, history: History, storage: Storage}} browser
 * @returns {string | null}
 */
export function takeToken({ location, history, storage }) {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given !== null) {
    history.replaceState(null, '', location.pathname + location.search);
    if (given.trim()) storeToken(storage, given, keyOf(location.pathname));
  }
  return storage.getItem(keyOf(location.pathname));
}

/** @param {Storage} storage @param {string} token @param {string} [key] see keyOf */
export function storeToken(storage, token, key = KEY) {
  storage.setItem(key, token.trim());
}

/** @param {Storage} storage @param {string} [key] see keyOf */
export function forgetToken(storage, key = KEY) {
  storage.removeItem(key);
}

/**
 * This tab's storage, or a substitute that lasts as long as the page: a browser that blocks cookies
 * throws as soon as the storage is accessed.
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
