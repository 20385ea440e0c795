// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The response of an analogue control: dead zone and curve. Pure. */

/** Sticks that drift rest up to here off their centre. */
export const STICK_DEAD_ZONE = 0.12;

/**
 * The deflection beyond the dead zone, rescaled so that the slowest speeds can be reached, and bent so
 * that small deflections are precise.
 * @param {number} value -1..1
 * @param {{deadZone?: number, expo?: number}} [response] expo: 0 is linear, 1 is cubic
 * @returns {number} -1..1; 0 for values that are not numbers
 */
export function shaped(value, { deadZone = 0, expo = 0 } = {}) {
  const size = Math.min(1, Math.abs(value));
  if (!(size > deadZone)) return 0;
  const linear = (size - deadZone) / (1 - deadZone);
  return Math.sign(value) * ((1 - expo) * linear + expo * linear ** 3);
}
