// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** JSON messages of the data channels (docs/protocol.md §6), and what they are sent over (§5). */

/**
 * The four channels. One direction each; both ends must state the same reliability.
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
 * A name for one request. Not `crypto.randomUUID`: that needs a secure context, and a robot on a
 * plain-http LAN has none.
 * @returns {string} 128 random bits in hex
 */
export function newNonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
