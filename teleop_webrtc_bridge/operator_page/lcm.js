// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * LCM bytes of `geometry_msgs.TwistStamped` (docs/protocol.md §7): the drive command on the wire.
 */

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
 * Encode one drive command.
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
  // Rounding up to a whole second would be an invalid stamp, and the robot drops those.
  view.setInt32(16, Math.min(999_999_999, Math.round((stampS - sec) * 1e9)));
  view.setUint32(20, device.length);
  new Uint8Array(buffer, HEAD_BYTES).set(device);
  const axes = [velocity.forward, velocity.left, 0, 0, 0, velocity.turn];
  axes.forEach((axis, i) => view.setFloat64(HEAD_BYTES + device.length + 8 * i, axis));
  return buffer;
}
