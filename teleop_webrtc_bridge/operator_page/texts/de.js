// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** The page's texts in German. Keys are sorted by the part of the page; {names} are filled in. */
export const de = Object.freeze({
  // --- latency
  'latency.good': 'gut',
  'latency.slow': 'langsam',
  'latency.bad': 'schlecht',
  'latency.unknown': 'unbekannt',
  'latency.slowed': 'Gebremst auf {percent} %: Latenz {sum}',
});
