// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Statistics: percentiles, rates, glass-to-glass latency, and figures from getStats, such as the network
 * path. Pure: no DOM, times are passed in.
 */

import { text } from './texts.js';

/** Seconds from the NTP epoch (1900), which abs-capture-time counts from, to the Unix epoch. */
const NTP_UNIX_MS = 2_208_988_800_000;
/** A figure outside this range means a wrong clock. */
const PLAUSIBLE_MS = Object.freeze({ min: -1_000, max: 60_000 });

/** The newest `capacity` values. @template T */
export class Recent {
  #values = [];
  #capacity;

  /** @param {number} capacity */
  constructor(capacity) {
    this.#capacity = capacity;
  }

  /** @param {T} value */
  push(value) {
    this.#values.push(value);
    // Trimmed rarely: shifting a full array at 50 Hz would copy it each time.
    if (this.#values.length >= 2 * this.#capacity) {
      this.#values.splice(0, this.#values.length - this.#capacity);
    }
  }

  /** @returns {T[]} oldest first */
  values() {
    return this.#values.slice(-this.#capacity);
  }

  clear() {
    this.#values = [];
  }
}

/**
 * Nearest-rank percentile.
 * @param {number[]} values in any order
 * @param {number} percent 0..100
 * @returns {number | null} null without values
 */
export function percentile(values, percent) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const rank = Math.ceil((percent / 100) * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1];
}

/** How often something happened within the last `windowS` seconds. */
export class Rate {
  #times = [];
  #windowS;

  /** @param {number} windowS */
  constructor(windowS = 2) {
    this.#windowS = windowS;
  }

  /** @param {number} nowS */
  tick(nowS) {
    this.#times.push(nowS);
    this.#drop(nowS);
  }

  /** @param {number} nowS @returns {number} per second */
  perSecond(nowS) {
    this.#drop(nowS);
    return this.#times.length / this.#windowS;
  }

  #drop(nowS) {
    while (this.#times.length && this.#times[0] <= nowS - this.#windowS) this.#times.shift();
  }
}

/** Matches a frame's capture time (from RTP) with its display time, in the operator's clock. */
export class GlassToGlass {
  #captures = new Map();

  /**
   * Remember when a frame was captured.
   * @param {number} rtpTimestamp
   * @param {number} captureNtpMs abs-capture-time in the robot's clock, ms since 1900
   */
  onCapture(rtpTimestamp, captureNtpMs) {
    this.#captures.set(rtpTimestamp, captureNtpMs - NTP_UNIX_MS);
    // The decoder may hold a few frames, but never two seconds of them.
    if (this.#captures.size > 64) this.#captures.delete(this.#captures.keys().next().value);
  }

  /**
   * @param {number} rtpTimestamp of the frame shown
   * @param {number} shownUnixMs in the operator's clock
   * @param {number} offsetS robot time minus operator time
   * @returns {number | null} ms; null when the frame's capture time is unknown or absurd
   */
  onShown(rtpTimestamp, shownUnixMs, offsetS) {
    const captureMs = this.#captures.get(rtpTimestamp);
    if (captureMs === undefined) return null;
    const latencyMs = shownUnixMs - (captureMs - offsetS * 1000);
    return latencyMs >= PLAUSIBLE_MS.min && latencyMs <= PLAUSIBLE_MS.max ? latencyMs : null;
  }
}

/**
 * One second of received video, from two `inbound-rtp` reports.
 * @param {object | null} before
 * @param {object} after
 * @param {{codec: string | null, e2eLatencyMs: number | null}} extra
 * @returns {object} the fields of `video_stats` (docs/protocol.md §6)
 */
export function videoStats(before, after, { codec, e2eLatencyMs }) {
  const delta = (name) => Math.max(0, (after[name] ?? 0) - (before?.[name] ?? 0));
  const seconds = before ? (after.timestamp - before.timestamp) / 1000 : 0;
  const ratio = (part, whole, scale) => (whole > 0 ? round((part / whole) * scale) : null);
  const lost = delta('packetsLost');
  return {
    fps: ratio(delta('framesDecoded'), seconds, 1),
    kbps: ratio(delta('bytesReceived') * 8, seconds, 1e-3),
    width: after.frameWidth ?? null,
    height: after.frameHeight ?? null,
    loss_pct: ratio(lost, lost + delta('packetsReceived'), 100),
    jitter_ms: after.jitter === undefined ? null : round(after.jitter * 1000),
    frames_dropped: after.framesDropped ?? null,
    freezes: after.freezeCount ?? null,
    jitter_buffer_ms: ratio(delta('jitterBufferDelay'), delta('jitterBufferEmittedCount'), 1000),
    decode_ms: ratio(delta('totalDecodeTime'), delta('framesDecoded'), 1000),
    e2e_latency_ms: e2eLatencyMs === null ? null : round(e2eLatencyMs),
    codec,
    decoder: after.decoderImplementation ?? null,
  };
}

function round(value) {
  return Math.round(value * 100) / 100;
}

const TRANSPORTS = { udp: 'UDP', tcp: 'TCP', tls: 'TLS' };

/**
 * How a connection reaches its peer.
 * @param {RTCStatsReport} stats of the connection
 * @returns {string} `direct`, or such as `TURN/TCP turn.example.org`; empty: not connected
 */
export function networkPath(stats) {
  const pair = selectedPair(stats);
  const local = pair && stats.get(pair.localCandidateId);
  if (!local) return '';
  if (local.candidateType !== 'relay') return 'direct';
  // A browser that does not report the transport may still report the server's URL.
  const [, scheme, host = '', query] =
    /^(turns?):(\[[^\]]*\]|[^:?]*)[^?]*(?:\?transport=(\w+))?/.exec(local.url ?? '') ?? [];
  const named = local.relayProtocol ?? (scheme === 'turns' ? 'tls' : scheme && (query ?? 'udp'));
  const transport = TRANSPORTS[named];
  return `${transport ? `TURN/${transport}` : 'TURN'} ${host}`.trim();
}

function selectedPair(stats) {
  let transport = null;
  let chosen = null;
  stats.forEach((report) => {
    if (report.type === 'transport' && report.selectedCandidatePairId) transport = report;
    // Firefox has no such field, but marks the pair itself.
    if (report.type === 'candidate-pair' && report.selected) chosen = report;
  });
  return (transport && stats.get(transport.selectedCandidatePairId)) ?? chosen;
}

/**
 * @param {string} own this page's path to the broker
 * @param {string | undefined} robots the robot's, as it reports it
 * @returns {string} both in one reading; empty: unknown
 */
export function bothPaths(own, robots) {
  if (!own || !robots || own === robots) return worded(own || robots || '');
  return text('path.both', { own: worded(own), robots: worded(robots) });
}

function worded(path) {
  return path === 'direct' ? text('path.direct') : path;
}
