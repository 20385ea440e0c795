// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The language of the document: `?lang=de` in the address, else the one chosen before, else the browser's.
 * Elements of index.html name their texts: `data-text` their content, `data-label` their aria-label,
 * `data-title` their tooltip, `data-href` the address of a page in this language.
 */

import { setAttribute, setText } from './dom.js';
import { chooseLanguage, languages, text } from './texts.js';

const KEY = 'teleop-language';
const ATTRIBUTES = Object.freeze({ label: 'aria-label', title: 'title', href: 'href' });

/**
 * Fill the document, and offer the choice.
 * @param {object} options
 * @param {Window} options.window
 * @param {() => void} options.onChange another language was chosen: show everything else again
 */
export function startLanguage({ window, onChange }) {
  const { document, location, navigator } = window;
  const asked = new URLSearchParams(location.search).get('lang');
  const wanted = [asked, remembered(window), ...(navigator.languages ?? [])];
  const selects = document.querySelectorAll('select.language');
  const show = (codes) => {
    const code = use(document, codes);
    for (const select of selects) select.value = code;
  };
  for (const select of selects) {
    for (const [code, name] of languages()) {
      const option = new window.Option(name, code);
      option.lang = code;
      select.add(option);
    }
    select.hidden = false;
    select.addEventListener('change', () => {
      remember(window, select.value);
      show([select.value]);
      onChange();
    });
  }
  show(wanted.filter(Boolean));
}

/** @returns {string} the code of the language in use */
function use(document, wanted) {
  const code = chooseLanguage(wanted);
  document.documentElement.lang = code;
  fillTexts(document);
  return code;
}

/** @param {Document} document */
export function fillTexts(document) {
  for (const element of document.querySelectorAll('[data-text]')) {
    setText(element, text(element.dataset.text));
  }
  for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
    for (const element of document.querySelectorAll(`[data-${name}]`)) {
      setAttribute(element, attribute, text(element.dataset[name]));
    }
  }
}

/** Browsers that block storage throw. */
function remembered(window) {
  try {
    return window.localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(window, code) {
  try {
    window.localStorage.setItem(KEY, code);
  } catch {
    // It is asked for again at the next visit.
  }
  // The choice counts from now on, not what the address asked for.
  const address = new URL(window.location.href);
  address.searchParams.delete('lang');
  window.history.replaceState(window.history.state, '', address);
}
