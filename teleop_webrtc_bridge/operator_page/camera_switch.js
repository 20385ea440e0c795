// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The buttons of the cameras: one each, and one for side by side. Only where there is a choice. */

export class CameraSwitch {
  #group;
  #onPress;
  #several;
  #shown = '';
  /** Name → button. @type {Map<string, HTMLButtonElement>} */
  #buttons = new Map();

  /**
   * @param {object} options
   * @param {HTMLElement} options.group
   * @param {(name: string, options?: {add: boolean}) => void} options.onPress
   * @param {() => void} options.onSeveral side by side was switched on or off
   */
  constructor({ group, onPress, onSeveral }) {
    this.#group = group;
    this.#onPress = onPress;
    this.#several = this.#button('Side by side', 'several', onSeveral);
  }

  /** @param {{names: string[], selected: string[], several: boolean}} choice */
  show({ names, selected, several }) {
    this.#group.hidden = names.length < 2;
    const shown = names.join('\n');
    // The same buttons stay: focus and a press that has begun survive every call.
    if (shown !== this.#shown) this.#build(names);
    this.#shown = shown;
    for (const [name, button] of this.#buttons) pressed(button, selected.includes(name));
    pressed(this.#several, several);
  }

  #build(names) {
    this.#buttons.clear();
    for (const [index, name] of names.entries()) {
      const press = (event) => this.#onPress(name, event.shiftKey ? { add: true } : undefined);
      const button = this.#button(name, 'camera', press);
      button.dataset.camera = name;
      if (index < 9) {
        const key = document.createElement('kbd');
        key.textContent = String(index + 1);
        key.setAttribute('aria-hidden', 'true');
        button.prepend(key);
        button.setAttribute('aria-keyshortcuts', String(index + 1));
        button.title = `Key ${index + 1}; with Shift: side by side`;
      }
      this.#buttons.set(name, button);
    }
    this.#group.replaceChildren(...this.#buttons.values(), this.#several);
  }

  #button(text, className, onPress) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = className;
    const label = document.createElement('span');
    label.textContent = text;
    button.append(label);
    button.addEventListener('click', (event) => {
      onPress(event);
      // A pointer's press must not leave the focus, and with it the keys, on the button.
      if (event.detail > 0) button.blur();
    });
    return button;
  }
}

function pressed(button, value) {
  const text = String(value);
  if (button.getAttribute('aria-pressed') !== text) button.setAttribute('aria-pressed', text);
}
