// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The page's texts in the reader's language. To add a language: one table in texts/, and its name here.
 * A text that a table lacks is shown in English.
 */

import { de } from './texts/de.js';
import { en } from './texts/en.js';

const TABLES = Object.freeze({ en, de });
let table = en;

/** @returns {[string, string][]} code and own name of each language */
export function languages() {
  return Object.entries(TABLES).map(([code, own]) => [code, own['language.name']]);
}

/**
 * Use the first language that there is a table for.
 * @param {readonly string[]} wanted language tags, such as `de-AT`, the best first
 * @returns {string} the language in use
 */
export function chooseLanguage(wanted) {
  const codes = wanted.map((tag) => tag.toLowerCase().split('-')[0]);
  const code = codes.find((it) => Object.hasOwn(TABLES, it)) ?? 'en';
  table = TABLES[code];
  return code;
}

/**
 * @param {string} key of the tables
 * @param {Record<string, string | number>} [values] for `{name}` in the text
 * @returns {string}
 */
export function text(key, values = {}) {
  const template = table[key] ?? en[key];
  if (template === undefined) throw new Error(`no text ${key}`);
  return template.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** @param {number} value @param {number} digits after the point @returns {string} as the language writes it */
export function decimal(value, digits) {
  return value.toFixed(digits).replace('.', text('number.point'));
}
