// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's read-outs: writes what changed into the elements with the ids of index.html. */

const IDS = [
  'state', 'message', 'robot-name', 'rtt', 'fps', 'resolution', 'bitrate', 'latency', 'commands',
  'battery', 'path', 'velocity', 'speed-value', 'estop', 'estop-state', 'estop-note', 'estop-release',
  'picture-note', 'disconnect', 'estop-caption', 'control', 'control-text', 'control-action',
];
const NONE = '–';

/**
 * @typedef {object} Readings
 * @property {number | null} rttMs
 * @property {number | null} fps
 * @property {number} width
 * @property {number} height
 * @property {number | null} bitrateKbps
 * @property {number | null} latencyMs
 * @property {number | null} commandRateHz
 * @property {number | null} commandLatencyMs
 * @property {number | null} batteryPercent
 * @property {string} path
 */

export class Hud {
  #elements = new Map();
  #body;

  /** @param {Document} document */
  constructor(document) {
    this.#body = document.body;
    for (const id of IDS) this.#elements.set(id, document.getElementById(id));
  }

  /** Show one view: 'sign-in', 'list' or 'drive'. @param {string} view */
  showView(view) {
    this.#data('view', view);
  }

  /**
   * @param {object} status
   * @param {import('./status.js').PageState} status.state
   * @param {string} status.headline
   * @param {string} status.message
   * @param {string | null} status.lock why driving is locked
   * @param {boolean} status.stale whether the picture must not be taken for the present
   * @param {string} status.pictureNote
   */
  showStatus({ state, headline, message, lock, stale, pictureNote }) {
    this.#data('state', state);
    this.#data('lock', lock ?? '');
    this.#data('stale', String(stale));
    this.#text('state', headline);
    this.#text('message', message);
    this.#text('picture-note', pictureNote);
    this.#text('disconnect', state === 'connecting' ? 'Cancel' : 'Disconnect');
  }

  /**
   * @param {object} estop
   * @param {string} estop.state
   * @param {string} estop.text
   * @param {string} estop.note who stopped the robot, or why this page cannot
   * @param {string} estop.release
   * @param {boolean} estop.usable
   * @param {boolean} estop.mayRelease
   * @param {import('./status.js').StopReach} estop.reach
   * @param {string} estop.caption
   * @param {string} estop.hint
   */
  showEstop({ state, text, note, release, usable, mayRelease, reach, caption, hint }) {
    this.#data('estop', state);
    this.#data('reach', reach);
    this.#text('estop-caption', caption);
    this.#text('estop-state', text);
    this.#text('estop-note', note);
    this.#text('estop-release', release);
    const releasable = mayRelease && state !== 'clear' && state !== 'stopping';
    this.#elements.get('estop-release').hidden = !releasable;
    const button = this.#elements.get('estop');
    this.#attribute(button, 'aria-disabled', String(!usable));
    this.#attribute(button, 'title', hint);
  }

  /** @param {{role: string, text: string, action: string}} control */
  showControl({ role, text, action }) {
    this.#data('role', role);
    this.#elements.get('control').hidden = text === '';
    this.#text('control-text', text);
    this.#text('control-action', action);
    this.#elements.get('control-action').hidden = action === '';
  }

  /** @param {Readings} readings */
  showReadings(readings) {
    const { width, height } = readings;
    this.#text('rtt', unit(readings.rttMs, 'ms'));
    this.#text('fps', unit(readings.fps, 'fps'));
    this.#text('resolution', width ? `${width}×${height}` : NONE);
    const mbps = readings.bitrateKbps === null ? null : readings.bitrateKbps / 1000;
    this.#text('bitrate', unit(mbps, 'Mbit/s', 1));
    this.#text('latency', unit(readings.latencyMs, 'ms'));
    const command = [unit(readings.commandRateHz, 'Hz'), unit(readings.commandLatencyMs, 'ms')];
    this.#text('commands', readings.commandRateHz === null ? NONE : command.join(' · '));
    this.#text('battery', unit(readings.batteryPercent, '%'));
    this.#text('path', readings.path || NONE);
  }

  /** What the robot is told to do. @param {import('./lcm.js').Velocity} velocity */
  showVelocity({ forward, left, turn }) {
    this.#text('velocity', `${Math.hypot(forward, left).toFixed(2)} m/s · ${turning(turn)}`);
  }

  /** @param {string} name */
  showRobot(name) {
    this.#text('robot-name', name);
  }

  /** @param {string} text */
  showSpeed(text) {
    this.#text('speed-value', text);
  }

  // Unchanged text is not written: live regions would be read again, fifty times a second.
  #text(id, text) {
    const element = this.#elements.get(id);
    if (element.textContent !== text) element.textContent = text;
  }

  #data(name, value) {
    if (this.#body.dataset[name] !== value) this.#body.dataset[name] = value;
  }

  #attribute(element, name, value) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}

function unit(value, name, digits = 0) {
  return Number.isFinite(value) ? `${value.toFixed(digits)} ${name}` : NONE;
}

function turning(radps) {
  const arrow = radps === 0 ? '' : radps > 0 ? ' ↺' : ' ↻';
  return `${Math.abs(radps).toFixed(2)} rad/s${arrow}`;
}
