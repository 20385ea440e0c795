// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's displays: writes changes into the elements of index.html. */

import { setAttribute, setText } from './dom.js';
import { decimal, text } from './texts.js';

const VERDICTS = new Set(['good', 'slow', 'bad']);
const NONE = '–';
const $ = (id) => document.getElementById(id);

/** Show one view: 'sign-in', 'list' or 'drive'. @param {string} view */
export function showView(view) {
  data('view', view);
}

/**
 * `lock`: why driving is locked, or null; `stale`: the picture is not current.
 * @param {{state: import('./status.js').PageState, headline: string, message: string,
 *   lock: string | null, stale: boolean, pictureNote: string}} status
 */
export function showStatus({ state, headline, message, lock, stale, pictureNote }) {
  data('state', state);
  data('lock', lock ?? '');
  data('stale', String(stale));
  write('state', headline);
  write('message', message);
  write('picture-note', pictureNote);
  write('disconnect', text(state === 'connecting' ? 'list.cancel' : 'list.disconnect'));
}

/**
 * @param {import('./status.js').EstopDisplay} display
 * @param {{usable: boolean, mayRelease: boolean}} rights
 */
export function showEstop(display, { usable, mayRelease }) {
  const { state, note, release, reach, caption, hint } = display;
  data('estop', state);
  data('reach', reach);
  write('estop-caption', caption);
  write('estop-state', display.text);
  write('estop-note', note);
  write('estop-release', release);
  $('estop-release').hidden = !mayRelease || state === 'clear' || state === 'stopping';
  setAttribute($('estop'), 'aria-disabled', String(!usable));
  setAttribute($('estop'), 'title', hint);
  const kind = text('reach.ready');
  // What is written on it, and that it is a software stop, whatever is written.
  setAttribute($('estop'), 'aria-label', caption === kind ? `E-STOP ${kind}` : `E-STOP ${caption} (${kind})`);
}

/** @param {{role: string, text: string, action: string}} control */
export function showControl({ role, text, action }) {
  data('role', role);
  $('control').hidden = text === '';
  write('control-text', text);
  write('control-action', action);
  $('control-action').hidden = action === '';
}

/** Numbers may be null, and the path empty: unknown. */
export function showReadings(readings) {
  const { width, height } = readings;
  write('rtt', unit(readings.rttMs, 'ms'));
  write('fps', unit(readings.fps, 'fps'));
  write('resolution', width ? `${width}×${height}` : NONE);
  const mbps = readings.bitrateKbps === null ? null : readings.bitrateKbps / 1000;
  write('bitrate', unit(mbps, 'Mbit/s', 1));
  write('latency', unit(readings.latencyMs, 'ms'));
  showLatency(readings.latency, readings.speedFactor);
  const command = [unit(readings.commandRateHz, 'Hz'), unit(readings.commandLatencyMs, 'ms')];
  write('commands', readings.commandRateHz === null ? NONE : command.join(' · '));
  write('battery', unit(readings.batteryPercent, '%'));
  write('path', readings.path || NONE);
}

/**
 * The robot's own account of the latencies, one verdict on them, and the speed that they allow.
 * @param {{command: number | null, sum: number | null, verdict: string} | null} latency
 * @param {number} factor 0..1
 */
function showLatency(latency, factor) {
  const ms = (seconds) => (Number.isFinite(seconds) ? `${Math.round(seconds * 1000)} ms` : text('latency.unknown'));
  const verdict = VERDICTS.has(latency?.verdict) ? latency.verdict : '';
  data('link', verdict);
  write('command-latency', latency ? ms(latency.command) : NONE);
  write('latency-sum', verdict ? `${ms(latency.sum)} · ${text(`latency.${verdict}`)}` : NONE);
  const percent = Math.round(factor * 100);
  write('speed-note', percent < 100 && latency ? text('latency.slowed', { percent, sum: ms(latency.sum) }) : '');
}

/** Show the commanded velocity. @param {import('./messages.js').Velocity} velocity */
export function showVelocity({ forward, left, turn }) {
  write('velocity', `${decimal(Math.hypot(forward, left), 2)} m/s · ${turning(turn)}`);
}

/** @param {import('./input/drive_mode.js').Mode} mode */
export function showMode(mode) {
  $('directions').hidden = mode === 'hold';
  $('keys').hidden = mode !== 'hold';
}

/** @param {boolean} canStep @param {number | null} leftS until a toggle ends */
export function showModes(canStep, leftS) {
  $('mode').querySelector('[value=step]').disabled = !canStep;
  write('mode-left', leftS === null ? '' : `${Math.ceil(leftS)} s`);
}

/** @param {string} name */
export function showRobot(name) {
  write('robot-name', name);
}

/** @param {number} percent @param {'slow' | 'normal' | 'fast'} level */
export function showSpeed(percent, level) {
  write('speed-value', `${text(`speed.${level}`)} · ${percent} %`);
}

function write(id, value) {
  setText($(id), value);
}

function data(name, value) {
  setAttribute(document.body, `data-${name}`, value);
}

function unit(value, name, digits = 0) {
  return Number.isFinite(value) ? `${decimal(value, digits)} ${name}` : NONE;
}

function turning(radps) {
  const arrow = radps === 0 ? '' : radps > 0 ? ' ↺' : ' ↻';
  return `${decimal(Math.abs(radps), 2)} rad/s${arrow}`;
}
