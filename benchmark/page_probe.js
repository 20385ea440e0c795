// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Runs in the operator page before its own code, as window.benchmark: keeps what the page does not
 * expose. The page is not changed; what is recorded here is read after the window.
 */

(() => {
  const Native = window.RTCPeerConnection;
  const peers = [];
  const frames = [];
  const slider = [];
  const captures = new Map();
  let timer = null;

  window.RTCPeerConnection = class extends Native {
    constructor(...options) {
      super(...options);
      peers.push(this);
    }
  };

  const unixMs = (ms) => performance.timeOrigin + ms;
  const videoReceiver = () =>
    peers.at(-1)?.getReceivers().find(({ track }) => track?.kind === 'video');

  function onFrame(nowMs, metadata) {
    const video = document.querySelector('#video');
    video.requestVideoFrameCallback(onFrame);
    const source = videoReceiver()?.getSynchronizationSources()[0];
    if (source?.captureTimestamp) captures.set(source.rtpTimestamp, source.captureTimestamp);
    frames.push({
      captureNtpMs: captures.get(metadata.rtpTimestamp) ?? null,
      receivedMs: metadata.receiveTime === undefined ? null : unixMs(metadata.receiveTime),
      decodingMs: 1000 * (metadata.processingDuration ?? 0),
      presentedMs: unixMs(metadata.presentationTime),
      shownMs: unixMs(metadata.expectedDisplayTime),
      calledMs: unixMs(nowMs),
      number: metadata.presentedFrames,
    });
    captures.delete(metadata.rtpTimestamp);
  }

  async function inboundVideo() {
    const all = await peers.at(-1).getStats();
    const reports = [...all.values()].filter(
      ({ type, kind }) => type === 'inbound-rtp' && kind === 'video',
    );
    const newest = (report) => report.lastPacketReceivedTimestamp ?? 0;
    const inbound = reports.sort((a, b) => newest(b) - newest(a))[0];
    if (!inbound) return {};
    // Only numbers can be subtracted from each other later.
    const numbers = Object.entries(inbound).filter(([, value]) => typeof value === 'number');
    return Object.fromEntries(numbers);
  }

  /** URIs that both descriptions of the connection name for video. */
  function extensions() {
    const peer = peers.at(-1);
    const named = (description) => {
      const video = description.sdp.split(/^m=/m).filter((part) => part.startsWith('video'));
      return new Set(video.flatMap((part) => [...part.matchAll(/^a=extmap:\S+ (\S+)/gm)]).map(([, uri]) => uri));
    };
    const remote = named(peer.remoteDescription);
    return [...named(peer.localDescription)].filter((uri) => remote.has(uri));
  }

  /** Move the slider to the next position every periodMs, half a period after the page's tick. */
  function turnSlider(positions, periodMs, tickUnixMs) {
    const speed = document.querySelector('#speed');
    let next = 0;
    const move = () => {
      speed.value = String(positions[next]);
      next = (next + 1) % positions.length;
      speed.dispatchEvent(new Event('input'));
      slider.push([unixMs(performance.now()), Number(speed.value)]);
    };
    const sinceTickMs = (unixMs(performance.now()) - tickUnixMs) % periodMs;
    const waitMs = (1.5 * periodMs - sinceTickMs) % periodMs;
    setTimeout(() => {
      move();
      timer = setInterval(move, periodMs);
    }, waitMs);
  }

  window.benchmark = Object.freeze({
    nowUnixMs: () => unixMs(performance.now()),
    watch: () => document.querySelector('#video').requestVideoFrameCallback(onFrame),
    inboundVideo,
    extensions,
    turnSlider,
    stopSlider: () => clearInterval(timer),
    frames: () => frames.splice(0),
    slider: () => slider.splice(0),
  });
})();
