// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { afterEach, test } from 'node:test';

import { load } from './support.mjs';

const { chooseLanguage, decimal, languages, text } = await load('texts.js');
const { de } = await load('texts/de.js');
const { en } = await load('texts/en.js');
const PAGE = new URL('../../teleop_webrtc_bridge/operator_page/', import.meta.url);
/** Of messages that only developers read, and of words that are not shown. */
const NOT_SHOWN = [
  /^no text \$/,
  /^The offered video cannot be taken/,
  /^The session was closed\.$/,
  /^Disconnected\.$/,
  // Reasons that the broker's log gets.
  /^(signed out|takes control|page closed|setup failed)$/,
  // What brokers answer.
  /^(Session already has operator|A newer join of the same operator|Not Found)$/,
  /^Bearer \$/,
  // Names of classes.
  /^quiet [a-z-]+$/,
];
const KEY = /^[a-z]+(-[a-z]+)*(\.[A-Za-z0-9_-]+)+$/;

afterEach(() => chooseLanguage(['en']));

async function modules() {
  const names = (await readdir(PAGE, { recursive: true })).filter((it) => it.endsWith('.js'));
  const own = names.filter((it) => !it.startsWith('texts/')).sort();
  return Promise.all(own.map(async (name) => [name, await readFile(new URL(name, PAGE), 'utf8')]));
}

async function index() {
  return readFile(new URL('index.html', PAGE), 'utf8');
}

/** The contents of all string literals outside comments. */
function literals(source) {
  const tokens = /\/\*[^]*?\*\/|\/\/[^\n]*|'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g;
  const found = [...source.matchAll(tokens)].map(([, a, b, c]) => a ?? b ?? c);
  return found.filter((it) => it !== undefined);
}

/** Whether people could read it: a word of several letters with a capital or beside another word. */
function isProse(literal) {
  const plain = literal.replace(/\$\{[^]*?\}/g, ' ');
  return /^[A-Z][a-z]+(…|\.|$)/.test(plain) || /[A-Za-z]{2,}[.,:]? [A-Za-z]{2,}/.test(plain);
}

/** What a browser reads, such as selectors, events, styles and permissions. */
function isCode(literal) {
  return /[[\]#=<>]|^\.|\\s|, \.|^[a-z-]+:/.test(literal) || /^[A-Z][A-Za-z]+(Left|Right)?\d?$/.test(literal);
}

function placeholders(template) {
  return [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
}

test('the tables have the same texts, with the same values in them', () => {
  assert.deepEqual(Object.keys(de), Object.keys(en));
  for (const key of Object.keys(en)) {
    assert.deepEqual(placeholders(de[key]), placeholders(en[key]), key);
    assert.match(key, KEY);
    assert.ok(de[key].trim() === de[key] && de[key] !== '', key);
  }
});

test('every text is used, and every key that is used has a text', async () => {
  const sources = await modules();
  const html = [...(await index()).matchAll(/data-(?:text|label|title|href)="([^"]*)"/g)].map(([, key]) => key);
  const words = sources.flatMap(([, source]) => literals(source));
  const used = new Set([...html, ...words.filter((it) => KEY.test(it) && !it.endsWith('.js'))]);
  const nested = sources.flatMap(([, source]) => [...source.matchAll(/`([a-z-]+\.(?:[a-z]+[.-])*)\$\{/g)]);
  const prefixes = nested.map(([, prefix]) => prefix);
  const unused = Object.keys(en).filter((key) => !used.has(key) && !prefixes.some((it) => key.startsWith(it)));
  assert.deepEqual(unused, []);
  const called = sources.flatMap(([, source]) => [...source.matchAll(/\btext\('([^']*)'/g)].map(([, key]) => key));
  for (const key of [...html, ...called]) assert.ok(Object.hasOwn(en, key), key);
});

test('the modules have no texts of their own', async () => {
  const sources = await modules();
  assert.ok(sources.length > 30);
  for (const [name, source] of sources) {
    const shown = literals(source).filter((it) => isProse(it) && !isCode(it));
    assert.deepEqual(shown.filter((it) => !NOT_SHOWN.some((pattern) => pattern.test(it))), [], name);
  }
});

test('what the document says without its program is the English table', async () => {
  const plain = (html) => html.replace(/<[^>]*>/g, '').replace(/\s+/g, ' ').trim();
  const html = (await index()).replace(/<!--[^]*?-->/g, '');
  for (const [, key, content] of html.matchAll(/<[^>]*?\bdata-text="([^"]*)"[^>]*>([^<]*)</g)) {
    assert.equal(plain(content), en[key], key);
  }
  for (const [tag] of html.matchAll(/<[a-z][^>]*>/g)) {
    for (const [, name, key] of tag.matchAll(/\bdata-(label|title|href)="([^"]*)"/g)) {
      const attribute = name === 'label' ? 'aria-label' : name;
      const [, value] = new RegExp(`\\s${attribute}="([^"]*)"`).exec(tag) ?? [];
      assert.equal(value, en[key], key);
    }
    const [label] = /\s(?:aria-label|title|placeholder|alt)="/.exec(tag) ?? [];
    if (label) assert.match(tag, /\bdata-(label|title)="/, tag);
  }
});

test('the first language that there is a table for is used, else English', () => {
  assert.equal(chooseLanguage(['fr-FR', 'de-AT', 'en']), 'de');
  assert.equal(text('state.stopped'), 'Gestoppt');
  assert.equal(decimal(-0.5, 2), '-0,50');
  assert.equal(chooseLanguage(['fr', 'toString']), 'en');
  assert.equal(text('state.stopped'), 'Stopped');
  assert.equal(decimal(0.5, 2), '0.50');
});

test('values are inserted as they are', () => {
  assert.equal(text('by.name', { name: '{role} $& <b>' }), 'by {role} $& <b>');
  assert.throws(() => text('no.such'), /no text no\.such/);
});

test('languages name themselves', () => {
  assert.deepEqual(languages(), [['en', 'English'], ['de', 'Deutsch']]);
});

test('German keeps the name E-STOP, and does not claim an emergency stop', async () => {
  for (const [key, said] of Object.entries(de)) {
    if (en[key].includes('E-STOP')) assert.match(said, /E-STOP/, key);
    if (key !== 'estop.about') assert.doesNotMatch(said, /not-?(halt|aus|stopp)/i, key);
    else assert.match(said, /kein Not-Halt/);
  }
});
