// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's texts in English. Keys are sorted by the part of the page; {names} are filled in. */
export const en = Object.freeze({
  // --- latency
  'latency.good': 'good',
  'latency.slow': 'slow',
  'latency.bad': 'bad',
  'latency.unknown': 'unknown',
  'latency.slowed': 'Slowed to {percent} %: latency {sum}',
});
