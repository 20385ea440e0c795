// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/** One RTCPeerConnection with a media backend: the WebRTC steps of a session. */

import { BrokerError } from './broker_client.js';
import { CHANNELS } from './messages.js';
import { text } from './texts.js';

const GATHER_CAP_MS = 1_000;
/** A relay is worth a longer wait: in some networks nothing else works. */
const RELAY_GATHER_CAP_MS = 3_000;
const CAPTURE_TIME_URI = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';
/** With it the robot tells the browser not to buffer: 20 to 40 ms less delay. */
const PLAYOUT_DELAY_URI = 'http://www.webrtc.org/experiments/rtp-hdrext/playout-delay';

/**
 * Reject when the signal aborts, with its reason.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export function orAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/**
 * @param {RTCIceServer[]} iceServers as the broker gave them
 * @returns {RTCPeerConnection}
 * @throws {BrokerError} the browser has no WebRTC
 */
export function createPeer(iceServers) {
  if (typeof RTCPeerConnection !== 'function') throw new BrokerError('refused', text('link.no-webrtc'));
  try {
    return new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
  } catch {
    // One malformed relay entry must not cost the connection.
    return new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  }
}

/**
 * A complete offer: video to receive, data channels, candidates inside.
 * @param {RTCPeerConnection} pc
 * @param {AbortSignal} signal
 * @returns {Promise<string>} SDP
 */
export async function createOffer(pc, signal) {
  pc.addTransceiver('video', { direction: 'recvonly' });
  enableHeaderExtensions(pc);
  // Without a channel the offer has no application section, and SCTP is never negotiated. This one
  // uses an id below those that the broker assigns, and carries no data.
  pc.createDataChannel('_sctp_init');
  await pc.setLocalDescription(await pc.createOffer());
  await orAborted(gathered(pc), signal);
  return pc.localDescription.sdp;
}

/**
 * Answer a media backend's offer.
 * @param {RTCPeerConnection} pc
 * @param {string} sdpOffer
 * @returns {Promise<string>} SDP
 */
export async function answerOffer(pc, sdpOffer) {
  await pc.setRemoteDescription({ type: 'offer', sdp: sdpOffer });
  enableHeaderExtensions(pc);
  await pc.setLocalDescription(await pc.createAnswer());
  return pc.localDescription.sdp;
}

/** Chromium only, and off by default: capture times for exact glass-to-glass latency. */
function enableHeaderExtensions(pc) {
  for (const transceiver of pc.getTransceivers()) {
    if (typeof transceiver.setHeaderExtensionsToNegotiate !== 'function') continue;
    try {
      const extensions = transceiver.getHeaderExtensionsToNegotiate();
      for (const extension of extensions) {
        if (extension.direction !== 'stopped') continue;
        if (extension.uri === CAPTURE_TIME_URI) extension.direction = 'sendrecv';
        if (extension.uri === PLAYOUT_DELAY_URI) extension.direction = 'sendrecv';
      }
      transceiver.setHeaderExtensionsToNegotiate(extensions);
    } catch {
      // Without it, only a measurement is missing.
    }
  }
}

/** Gathering may never end (no network except loopback, dead STUN server), so it is capped. */
function gathered(pc) {
  const servers = pc.getConfiguration().iceServers ?? [];
  const hasRelay = servers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/.test(url)));
  return new Promise((resolve) => {
    let capped = false;
    const relayFound = () => / typ relay /.test(pc.localDescription?.sdp ?? '');
    const check = () => {
      if (pc.iceGatheringState === 'complete' || (capped && relayFound())) resolve();
    };
    pc.addEventListener('icegatheringstatechange', check);
    pc.addEventListener('icecandidate', check);
    setTimeout(() => {
      capped = true;
      if (!hasRelay) resolve();
      check();
    }, GATHER_CAP_MS);
    setTimeout(resolve, RELAY_GATHER_CAP_MS);
    check();
  });
}

/** @param {RTCPeerConnection} pc @param {AbortSignal} signal @returns {Promise<void>} */
export function connected(pc, signal) {
  const state = new Promise((resolve, reject) => {
    const check = () => {
      if (pc.connectionState === 'connected') resolve();
      if (pc.connectionState === 'failed' || pc.connectionState === 'closed') {
        // Firefox uses only the addresses of the routes to the Internet and to the page, never a loopback
        // address. Settings and extensions may block them all.
        const hasAddress = /^a=candidate:/m.test(pc.localDescription?.sdp ?? '');
        reject(new Error(text(hasAddress ? 'link.no-path' : 'link.no-address')));
      }
    };
    pc.addEventListener('connectionstatechange', check);
    check();
  });
  return orAborted(state, signal);
}

/**
 * Create the four channels of one bridge and wait until they are open.
 * @param {RTCPeerConnection} pc
 * @param {import('./broker_client.js').Bridge} bridge
 * @param {AbortSignal} signal
 * @returns {Promise<Record<'cmd' | 'state' | 'back' | 'map', RTCDataChannel>>}
 */
export async function createChannels(pc, bridge, signal) {
  const channels = {};
  for (const { role, label, idField, options } of CHANNELS) {
    channels[role] = pc.createDataChannel(label, {
      ...options,
      negotiated: true,
      id: bridge[idField],
    });
    channels[role].binaryType = 'arraybuffer';
  }
  await Promise.all(Object.values(channels).map((channel) => orAborted(opened(channel), signal)));
  return channels;
}

function opened(channel) {
  return new Promise((resolve, reject) => {
    if (channel.readyState === 'open') resolve();
    channel.addEventListener('open', () => resolve());
    const fail = () => reject(new Error(text('link.channel')));
    channel.addEventListener('close', fail);
  });
}
