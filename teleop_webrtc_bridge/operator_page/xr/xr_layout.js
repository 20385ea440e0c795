// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Where things are in the headset, in metres. Pure. The panels stay where they are in the room: a picture that
 * follows the head makes people sick. Vectors are WebXR's: x right, y up, z back.
 */

const AHEAD_M = 1.6;
const HEIGHT_M = 1.5;
/** Of the eyes of people who sit low or stand tall; anything else is no person. */
const HEIGHTS_M = Object.freeze([0.8, 2]);
const PICTURE = Object.freeze({ width: 1.4, height: 0.79 });
const BELOW_M = 0.26;
const GAP_M = 0.03;
const STOP_WIDTH_M = 0.36;
/** Sizes of the panels, the first one at the beginning. */
export const SCALES = Object.freeze([1, 1.5]);

/**
 * @typedef {object} Anchor Where the panels are in the room.
 * @property {number[]} centre of the picture
 * @property {number[]} right unit vector along the panels
 * @property {number[]} back unit vector from the panels towards the viewer
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Panel its centre relative to the
 *   anchor's, and its size
 */

/** Straight ahead of where the room's space begins. @type {Anchor} */
export const START = Object.freeze({ centre: [0, HEIGHT_M, -AHEAD_M], right: [1, 0, 0], back: [0, 0, 1] });

/**
 * In front of a head, upright and at its height.
 * @param {{position: DOMPointReadOnly, orientation: DOMPointReadOnly}} head
 * @returns {Anchor}
 */
export function inFrontOf({ position, orientation }) {
  const { x, y, z, w } = orientation;
  // The head's backward axis, without its height: a head that looks down turns nothing.
  const [backX, backZ] = [2 * (x * z + w * y), 1 - 2 * (x * x + y * y)];
  const length = Math.hypot(backX, backZ);
  // Straight up or down: there is no ahead.
  const back = length > 0.1 ? [backX / length, 0, backZ / length] : START.back;
  const height = Math.min(HEIGHTS_M[1], Math.max(HEIGHTS_M[0], position.y));
  return {
    centre: [position.x - AHEAD_M * back[0], height, position.z - AHEAD_M * back[2]],
    right: [back[2], 0, -back[0]],
    back,
  };
}

/**
 * @param {number} scale
 * @param {number} aspect of the picture: width to height; NaN: unknown
 * @returns {{picture: Panel, hud: Panel, stop: Panel}}
 */
export function layout(scale, aspect) {
  const known = aspect > 0 && Number.isFinite(aspect) ? aspect : PICTURE.width / PICTURE.height;
  const width = Math.min(PICTURE.width, PICTURE.height * known);
  const y = -PICTURE.height / 2 - GAP_M - BELOW_M / 2;
  const hudWidth = PICTURE.width - STOP_WIDTH_M - GAP_M;
  const scaled = (panel) => {
    return Object.fromEntries(Object.entries(panel).map(([name, value]) => [name, value * scale]));
  };
  return {
    picture: scaled({ x: 0, y: 0, width, height: width / known }),
    hud: scaled({ x: (hudWidth - PICTURE.width) / 2, y, width: hudWidth, height: BELOW_M }),
    stop: scaled({ x: (PICTURE.width - STOP_WIDTH_M) / 2, y, width: STOP_WIDTH_M, height: BELOW_M }),
  };
}

/**
 * Where a ray meets the plane of the panels.
 * @param {Anchor} anchor
 * @param {ArrayLike<number>} matrix of the pose of a pointing ray: column by column; it points along -z
 * @returns {{x: number, y: number} | null} relative to the anchor's centre; null: it points elsewhere
 */
export function meets({ centre, right, back }, matrix) {
  const origin = [matrix[12], matrix[13], matrix[14]];
  const direction = [-matrix[8], -matrix[9], -matrix[10]];
  const towards = dot(direction, back);
  const distance = dot(difference(centre, origin), back) / towards;
  // Only from the front.
  if (!(towards < 0) || !(distance >= 0) || !Number.isFinite(distance)) return null;
  const point = origin.map((it, i) => it + distance * direction[i]);
  const offset = difference(point, centre);
  return { x: dot(offset, right), y: offset[1] };
}

/** @param {Panel} panel @param {{x: number, y: number} | null} point */
export function isOn(panel, point) {
  if (point === null) return false;
  return Math.abs(point.x - panel.x) <= panel.width / 2 && Math.abs(point.y - panel.y) <= panel.height / 2;
}

function dot(one, other) {
  return one[0] * other[0] + one[1] * other[1] + one[2] * other[2];
}

function difference(one, other) {
  return one.map((it, i) => it - other[i]);
}
