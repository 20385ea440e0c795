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

/** The types' fingerprints, in two words. */
const TWIST_STAMPED = [0x9cd2bcbe, 0x6cb2a7c0];
const JOY = [0xa0f07abc, 0x86c1684c];
const POSE_STAMPED = [0x6a826964, 0x58c279a0];

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
export function encodeTwistStamped({ velocity, ...header }) {
  const axes = [velocity.forward, velocity.left, 0, 0, 0, velocity.turn];
  const { view, at, buffer } = begin(TWIST_STAMPED, header, { body: 8 * axes.length });
  axes.forEach((axis, i) => view.setFloat64(at + 8 * i, axis));
  return buffer;
}

/**
 * Encode a drive command that moves the robot by a distance or an angle (docs/protocol.md §7).
 * @param {Parameters<typeof encodeTwistStamped>[0]} command
 * @param {import('./drive.js').Step} step
 * @returns {string}
 */
export function encodeStep({ seq, stampS, frameId, velocity }, step) {
  const { forward, left, turn } = velocity;
  const bound = { id: step.id, distance: step.distance, angle: step.angle };
  return JSON.stringify({
    type: 'step', seq, stamp: stampS, frame_id: frameId, velocity: [forward, left, turn], ...bound,
  });
}

/**
 * Encode the state of a hand controller as LCM bytes of `sensor_msgs.Joy`.
 * @param {object} joy
 * @param {number} joy.seq rises by one with each state
 * @param {number} joy.stampS seconds of the robot's clock
 * @param {string} joy.frameId the input device; ASCII
 * @param {number[]} joy.axes -1..1
 * @param {number[]} joy.buttons 0 or 1
 * @returns {ArrayBuffer}
 */
export function encodeJoy({ axes, buttons, ...header }) {
  const { view, at, buffer } = begin(JOY, header, {
    lengths: [axes.length, buttons.length],
    body: 4 * (axes.length + buttons.length),
  });
  axes.forEach((axis, i) => view.setFloat32(at + 4 * i, axis));
  buttons.forEach((button, i) => view.setInt32(at + 4 * (axes.length + i), button));
  return buffer;
}

/**
 * Encode where a hand is as LCM bytes of `geometry_msgs.PoseStamped`.
 * @param {object} pose
 * @param {number} pose.seq rises by one with each pose
 * @param {number} pose.stampS seconds of the robot's clock
 * @param {'left' | 'right'} pose.frameId the hand
 * @param {number[]} pose.position x, y, z in m, in WebXR's reference space
 * @param {number[]} pose.orientation x, y, z, w
 * @returns {ArrayBuffer}
 */
export function encodePose({ position, orientation, ...header }) {
  const values = [...position, ...orientation];
  const { view, at, buffer } = begin(POSE_STAMPED, header, { body: 8 * values.length });
  values.forEach((value, i) => view.setFloat64(at + 8 * i, value));
  return buffer;
}

/** Write the fingerprint, the lengths of arrays if there are any, and the header. */
function begin(fingerprint, { seq, stampS, frameId }, { lengths = [], body }) {
  const device = new TextEncoder().encode(`${frameId}\0`);
  const start = 8 + 4 * lengths.length;
  const at = start + 16 + device.length;
  const buffer = new ArrayBuffer(at + body);
  const view = new DataView(buffer);
  const sec = Math.floor(stampS);
  fingerprint.forEach((word, i) => view.setUint32(4 * i, word));
  lengths.forEach((length, i) => view.setInt32(8 + 4 * i, length));
  view.setInt32(start, seq);
  view.setInt32(start + 4, sec);
  // Rounding up to a whole second would make an invalid stamp, which the robot drops.
  view.setInt32(start + 8, Math.min(999_999_999, Math.round((stampS - sec) * 1e9)));
  view.setUint32(start + 12, device.length);
  new Uint8Array(buffer, start + 16).set(device);
  return { view, at, buffer };
}
