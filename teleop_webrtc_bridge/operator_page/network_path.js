// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** How a connection reaches its peer: direct, or over which TURN server. */

const TRANSPORTS = { udp: 'UDP', tcp: 'TCP', tls: 'TLS' };

/**
 * @param {RTCStatsReport} stats of a connection
 * @returns {string} `direct`, or such as `TURN/TCP turn.example.org`; empty: not connected
 */
export function networkPath(stats) {
  const pair = selectedPair(stats);
  const local = pair && stats.get(pair.localCandidateId);
  if (!local) return '';
  if (local.candidateType !== 'relay') return 'direct';
  // A browser that does not tell the transport may still tell the server's URL.
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
    // Firefox has no such field, but says it of the pair itself.
    if (report.type === 'candidate-pair' && report.selected) chosen = report;
  });
  return (transport && stats.get(transport.selectedCandidatePairId)) ?? chosen;
}

/**
 * @param {string} own this page's path to the broker
 * @param {string | undefined} robots the robot's, as it tells it
 * @returns {string} both in one reading; empty: nothing is known
 */
export function bothPaths(own, robots) {
  if (!own || !robots || own === robots) return own || robots || '';
  return `you ${own}, robot ${robots}`;
}
