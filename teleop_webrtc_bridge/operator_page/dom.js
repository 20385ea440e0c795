// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Writing to the document: only what differs is written. Otherwise assistive technology would read
 * live regions again at every tick, and focus or a press that has begun would be lost.
 */

/** @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {string} name @param {string} value */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Remove the rows of a list that are gone; the others keep their elements.
 * @param {Map<string, {item: HTMLElement}>} rows
 * @param {string[]} keys of the rows that stay
 */
export function removeGone(rows, keys) {
  const present = new Set(keys);
  for (const [key, { item }] of rows) {
    if (present.has(key)) continue;
    item.remove();
    rows.delete(key);
  }
}

/**
 * A button that gives up the focus after a press with a pointer: the keys must stay the robot's.
 * @param {string} className
 * @param {(event: MouseEvent) => void} onClick
 * @returns {HTMLButtonElement}
 */
export function newButton(className, onClick) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = className;
  button.addEventListener('click', (event) => {
    onClick(event);
    if (event.detail > 0) button.blur();
  });
  return button;
}
