// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The data channels (docs/protocol.md §5) and their messages: JSON (§6), and commands in LCM (§7). */

/**
 * The four channels. Each has one direction; both ends must configure the same reliability.
 * @type {readonly {role: 'cmd' | 'state' | 'back' | 'map', label: string, idField: string,
 *   options: RTCDataChannelInit}[]}
 */
export const CHANNELS = Object.freeze([
  {
    role: 'back',
    label: 'state_reliable_back',
    idField: 'state_back_channel_id',
    options: { ordered: true },
  },
  {
    role: 'map',
    label: 'map_unreliable',
    idField: 'map_channel_id',
    options: { ordered: false, maxRetransmits: 0 },
  },
  {
    role: 'state',
    label: 'state_reliable',
    idField: 'state_channel_id',
    options: { ordered: true },
  },
  {
    role: 'cmd',
    label: 'cmd_unreliable',
    idField: 'cmd_channel_id',
    options: { ordered: false, maxRetransmits: 0 },
  },
]);

/**
 * Read one message of a robot: text or UTF-8 bytes.
 * @param {string | ArrayBuffer} data
 * @returns {{type: string} | null} null for anything but a JSON object with a type
 */
export function parseMessage(data) {
  try {
    const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
    if (!text.startsWith('{')) return null;
    const message = JSON.parse(text);
    return typeof message.type === 'string' ? message : null;
  } catch {
    return null;
  }
}

/**
 * An id for one request. Not `crypto.randomUUID`: it needs a secure context, which a plain-http LAN
 * does not have.
 * @returns {string} 128 random bits in hex
 */
export function newNonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** First word of the type fingerprint 9cd2bcbe6cb2a7c0, then the second. */
const FINGERPRINT_HIGH = 0x9cd2bcbe;
const FINGERPRINT_LOW = 0x6cb2a7c0;
const HEAD_BYTES = 24;
const TWIST_BYTES = 48;

/**
 * @typedef {object} Velocity Body velocity, REP-103: x forward, y left, turning left is positive.
 * @property {number} forward m/s
 * @property {number} left m/s
 * @property {number} turn rad/s
 */

/**
 * Encode one drive command as LCM bytes of `geometry_msgs.TwistStamped`.
 * @param {object} command
 * @param {number} command.seq rises by one with each command
 * @param {number} command.stampS seconds of the robot's clock
 * @param {string} command.frameId the input device; ASCII
 * @param {Velocity} command.velocity
 * @returns {ArrayBuffer}
 */
export function encodeTwistStamped({ seq, stampS, frameId, velocity }) {
  const device = new TextEncoder().encode(`${frameId}\0`);
  const buffer = new ArrayBuffer(HEAD_BYTES + device.length + TWIST_BYTES);
  const view = new DataView(buffer);
  const sec = Math.floor(stampS);
  view.setUint32(0, FINGERPRINT_HIGH);
  view.setUint32(4, FINGERPRINT_LOW);
  view.setInt32(8, seq);
  view.setInt32(12, sec);
  // Rounding up to a whole second would make an invalid stamp, which the robot drops.
  view.setInt32(16, Math.min(999_999_999, Math.round((stampS - sec) * 1e9)));
  view.setUint32(20, device.length);
  new Uint8Array(buffer, HEAD_BYTES).set(device);
  const axes = [velocity.forward, velocity.left, 0, 0, 0, velocity.turn];
  axes.forEach((axis, i) => view.setFloat64(HEAD_BYTES + device.length + 8 * i, axis));
  return buffer;
}
