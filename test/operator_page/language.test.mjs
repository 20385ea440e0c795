// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { load } from './support.mjs';

const { startLanguage } = await load('language.js');
const { chooseLanguage, text } = await load('texts.js');
const { de } = await load('texts/de.js');
const { en } = await load('texts/en.js');

afterEach(() => chooseLanguage(['en']));

class FakeElement extends EventTarget {
  textContent = '';
  attributes = new Map();

  constructor(dataset) {
    super();
    this.dataset = dataset;
  }

  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }
}

class FakeSelect extends FakeElement {
  hidden = true;
  options = [];

  add(option) {
    this.options.push(option);
  }
}

/** A window with a headline, a group and a choice of language. */
function open({ address = 'https://robots.test/', stored = null, preferred = ['en'], isBlocked = false } = {}) {
  const headline = new FakeElement({ text: 'state.stopped' });
  const group = new FakeElement({ label: 'cameras.title' });
  const select = new FakeSelect({});
  const found = { 'select.language': [select], '[data-text]': [headline], '[data-label]': [group] };
  const kept = new Map(stored === null ? [] : [['teleop-language', stored]]);
  const storage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
  };
  const window = {
    document: { documentElement: {}, querySelectorAll: (selector) => found[selector] ?? [] },
    location: { href: address, search: new URL(address).search },
    navigator: { languages: preferred },
    history: { state: null, replaceState: (_state, _title, url) => (window.location.href = String(url)) },
    Option: class {
      constructor(name, code) {
        Object.assign(this, { name, value: code });
      }
    },
    get localStorage() {
      if (isBlocked) throw new Error('SecurityError');
      return storage;
    },
  };
  let changes = 0;
  startLanguage({ window, onChange: () => (changes += 1) });
  const choose = (code) => {
    select.value = code;
    select.dispatchEvent(new Event('change'));
  };
  const language = () => window.document.documentElement.lang;
  return { window, headline, group, select, kept, choose, language, changes: () => changes };
}

test('the address decides, then the choice before, then the browser', () => {
  const address = 'https://robots.test/?lang=de';
  assert.equal(open({ address, stored: 'en' }).language(), 'de');
  assert.equal(open({ stored: 'de' }).language(), 'de');
  assert.equal(open({ preferred: ['fr', 'de-CH'] }).language(), 'de');
  assert.equal(open({ address: 'https://robots.test/?lang=xx', preferred: ['fr'] }).language(), 'en');
});

test('texts and labels are filled in, and every language is offered', () => {
  const { headline, group, select } = open({ stored: 'de' });
  assert.equal(headline.textContent, de['state.stopped']);
  assert.equal(group.getAttribute('aria-label'), de['cameras.title']);
  assert.deepEqual(select.options.map(({ value, lang }) => [value, lang]), [['en', 'en'], ['de', 'de']]);
  assert.equal(select.hidden, false);
  assert.equal(select.value, 'de');
});

test('a choice is shown, kept, and counts more than the address', () => {
  const page = open({ address: 'https://robots.test/?lang=en&robot=go2' });
  page.choose('de');
  assert.equal(page.language(), 'de');
  assert.equal(page.headline.textContent, de['state.stopped']);
  assert.equal(page.kept.get('teleop-language'), 'de');
  assert.equal(page.window.location.href, 'https://robots.test/?robot=go2');
  assert.equal(page.changes(), 1);
});

test('without storage the choice lasts as long as the page', () => {
  const page = open({ isBlocked: true });
  assert.equal(page.headline.textContent, en['state.stopped']);
  page.choose('de');
  assert.equal(text('state.stopped'), de['state.stopped']);
  assert.equal(page.changes(), 1);
});
