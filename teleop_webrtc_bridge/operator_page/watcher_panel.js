// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** Shows who watches, folded up until asked for: one stable row each, so that presses survive. */

/**
 * @param {object} options
 * @param {Document} options.document
 * @param {(key: string) => void} options.onPress somebody's button was pressed
 */
export class WatcherPanel {
  #document;
  #panel;
  #toggle;
  #body;
  #list;
  #failure;
  #onPress;
  /** Key → row. @type {Map<string, {item: HTMLElement, text: HTMLElement, button: HTMLElement}>} */
  #rows = new Map();

  constructor({ document, onPress }) {
    this.#document = document;
    this.#onPress = onPress;
    this.#panel = document.getElementById('watchers');
    this.#toggle = document.getElementById('watchers-toggle');
    this.#body = document.getElementById('watchers-body');
    this.#list = document.getElementById('watchers-list');
    this.#failure = document.getElementById('watchers-failure');
    this.#toggle.addEventListener('click', () => {
      this.#body.hidden = !this.#body.hidden;
      this.#toggle.setAttribute('aria-expanded', String(!this.#body.hidden));
      this.#toggle.blur();
    });
  }

  /**
   * @param {object} watchers
   * @param {string} watchers.summary empty: nothing to show
   * @param {import('./watchers.js').WatcherRow[]} watchers.rows
   * @param {string} watchers.failure
   */
  show({ summary, rows, failure }) {
    this.#panel.hidden = summary === '' && failure === '';
    text(this.#toggle, summary || 'Watched by nobody');
    text(this.#failure, failure);
    const present = new Set(rows.map(({ key }) => key));
    for (const [key, { item }] of this.#rows) {
      if (present.has(key)) continue;
      item.remove();
      this.#rows.delete(key);
    }
    for (const row of rows) this.#fill(this.#rows.get(row.key) ?? this.#add(row.key), row);
  }

  #fill(parts, { text: name, action, armed, busy }) {
    text(parts.text, name);
    text(parts.button, action);
    const label = `${action}: ${name}`;
    if (parts.button.getAttribute('aria-label') !== label) {
      parts.button.setAttribute('aria-label', label);
    }
    parts.button.disabled = busy;
    parts.button.hidden = action === '';
    parts.button.classList.toggle('armed', armed);
  }

  #add(key) {
    const item = this.#document.createElement('li');
    const name = this.#document.createElement('span');
    const button = this.#document.createElement('button');
    button.type = 'button';
    button.className = 'quiet put-out';
    button.addEventListener('click', (event) => {
      // A double click is one decision, not two.
      if (event.detail < 2) this.#onPress(key);
      // The keys must stay the robot's.
      if (event.detail > 0) button.blur();
    });
    item.append(name, button);
    this.#list.append(item);
    const row = { item, text: name, button };
    this.#rows.set(key, row);
    return row;
  }
}

/** Write only what differs, so that assistive technology does not read it fifty times a second. */
function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}
