// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The video monitor: shows the picture without buffering and measures it (freshness, size, rate,
 * glass-to-glass latency, getStats). Owns the <video> element's stream.
 */

import { GlassToGlass, Rate, Recent, networkPath, percentile, videoStats } from './stats.js';

/** A picture older than this is not fit for driving. */
const FROZEN_S = 1;
const FRAME_RATE_WINDOW_S = 1;
/** After this long without a callback the page is not being drawn. */
const CALLBACK_S = 0.25;
/** Of the median that the robot gets. */
const NEWEST_FRAMES = 7;
/** For the robot's conversion, encoder and pacing, in the estimate. */
const ROBOT_S = 0.05;

export class VideoMonitor {
  #video;
  #nowS;
  #offsetS;
  #receiver = null;
  #glassToGlass = new GlassToGlass();
  #rate = new Rate(FRAME_RATE_WINDOW_S);
  #promisedAtS = null;
  #frameAtS = null;
  #measuredAtS = -Infinity;
  #calledAtS = -Infinity;
  /** The headset's frame before. @type {{time: number, atS: number} | null} */
  #seen = null;
  #report = null;
  /** Frames counted by the fallback for browsers without requestVideoFrameCallback. */
  #playedFrames = 0;
  /** Glass-to-glass of recent frames in ms. @type {Recent<number>} */
  latencies = new Recent(1000);
  framesPresented = 0;
  width = 0;
  height = 0;
  /** The `video_stats` of the last second; null before. @type {object | null} */
  stats = null;
  /** How the connection reaches its peer; empty: unknown. */
  path = '';
  /** Called with the first frame of each track. */
  onFirstFrame = () => {};

  /**
   * @param {object} options
   * @param {HTMLVideoElement} options.video
   * @param {() => number} options.nowS
   * @param {() => number | null} options.offsetS robot clock minus ours; null: not yet known
   */
  constructor({ video, nowS, offsetS }) {
    this.#video = video;
    this.#nowS = nowS;
    this.#offsetS = offsetS;
  }

  /** @param {MediaStreamTrack} track @param {RTCRtpReceiver} receiver */
  attach(track, receiver) {
    if (track.kind !== 'video') return;
    this.#receiver = receiver;
    // The robot's playout-delay extension does this already; this is for peers that don't send it.
    if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
    this.#frameAtS = null;
    this.#seen = null;
    this.#playedFrames = 0;
    // In its own stream: with audio, lip-sync would delay the picture.
    this.#video.srcObject = new MediaStream([track]);
    this.#video.play().catch(() => {});
    this.#watch(track);
  }

  /** From now on a picture is expected. */
  promise() {
    this.#promisedAtS = this.#nowS();
  }

  /** The connection is gone, and the picture with it. */
  detach() {
    this.#receiver = null;
    this.#promisedAtS = null;
    this.#frameAtS = null;
    this.#report = null;
    this.#video.srcObject = null;
    this.stats = null;
    this.path = '';
    this.width = 0;
    this.height = 0;
  }

  /** Forget the figures too: another robot follows. */
  clear() {
    this.detach();
    this.framesPresented = 0;
    this.latencies.clear();
  }

  get isPromised() {
    return this.#promisedAtS !== null;
  }

  /** Whether a frame of the current track was shown. */
  get hasPicture() {
    return this.#frameAtS !== null;
  }

  /** @param {number} nowS @returns {boolean} whether a current picture is shown */
  isShowing(nowS) {
    this.#pollFrames();
    return this.#frameAtS !== null && nowS - this.#frameAtS <= FROZEN_S;
  }

  /** @param {number} nowS @returns {number} seconds without an expected frame; 0 if none is expected */
  ageS(nowS) {
    if (this.#promisedAtS === null) return 0;
    return Math.max(0, nowS - Math.max(this.#promisedAtS, this.#frameAtS ?? -Infinity));
  }

  /** @param {number} nowS @returns {boolean} whether an expected picture does not move */
  isFrozen(nowS) {
    this.#pollFrames();
    return this.ageS(nowS) > FROZEN_S;
  }

  /** @param {number} nowS @returns {number} frames shown per second */
  fps(nowS) {
    return this.#rate.perSecond(nowS);
  }

  /** @returns {number | null} ms, median over about the last second */
  latencyMs() {
    return percentile(this.latencies.values().slice(-30), 50);
  }

  /**
   * From the camera to the screen. Browsers that hide the capture time (Firefox) get an estimate from
   * above: the whole round trip, the buffer, the decoder, two frames, and a moment for the robot.
   * @param {number} nowS
   * @param {number | null} rttS
   * @returns {number | null} s; null: no current picture, or unknown
   */
  latencyS(nowS, rttS) {
    if (this.#frameAtS === null || nowS - this.#frameAtS > FROZEN_S) return null;
    if (nowS - this.#measuredAtS <= FROZEN_S) {
      // The speed depends on it, so it must follow soon.
      return Math.max(0, percentile(this.latencies.values().slice(-NEWEST_FRAMES), 50) / 1000);
    }
    const { jitter_buffer_ms: bufferMs, decode_ms: decodeMs, fps } = this.stats ?? {};
    if (rttS === null || !(fps > 0) || !Number.isFinite(bufferMs)) return null;
    return rttS + (bufferMs + (decodeMs ?? 0)) / 1000 + 2 / fps + ROBOT_S;
  }

  #watch(track) {
    if (typeof this.#video.requestVideoFrameCallback !== 'function') return;
    const onFrame = (_, metadata) => {
      if (this.#receiver?.track !== track) return;
      this.#video.requestVideoFrameCallback(onFrame);
      this.#calledAtS = this.#nowS();
      this.#onFrame();
      this.#measure(metadata);
    };
    this.#video.requestVideoFrameCallback(onFrame);
  }

  /**
   * A headset shows the picture. Browsers may draw the page seldom or not at all meanwhile, and then call
   * nothing back: frames that differ are counted here.
   */
  onHeadsetFrame() {
    const before = this.#seen;
    const [time, atS] = [this.#video.currentTime, this.#nowS()];
    this.#seen = { time, atS };
    // After a pause, a new picture may be an old one.
    const isNew = before !== null && time !== before.time && atS - before.atS <= FROZEN_S;
    if (isNew && this.#receiver && atS - this.#calledAtS > CALLBACK_S) this.#onFrame();
  }

  #onFrame() {
    const nowS = this.#nowS();
    const first = this.#frameAtS === null;
    this.#frameAtS = nowS;
    this.framesPresented += 1;
    this.#rate.tick(nowS);
    this.width = this.#video.videoWidth;
    this.height = this.#video.videoHeight;
    if (first) this.onFirstFrame();
  }

  #measure({ rtpTimestamp, expectedDisplayTime }) {
    const source = this.#receiver.getSynchronizationSources?.()[0];
    if (source?.captureTimestamp) {
      this.#glassToGlass.onCapture(source.rtpTimestamp, source.captureTimestamp);
    }
    const offsetS = this.#offsetS();
    if (offsetS === null || rtpTimestamp === undefined) return;
    const shownMs = performance.timeOrigin + expectedDisplayTime;
    const latencyMs = this.#glassToGlass.onShown(rtpTimestamp, shownMs, offsetS);
    if (latencyMs === null) return;
    this.latencies.push(latencyMs);
    this.#measuredAtS = this.#nowS();
  }

  #pollFrames() {
    if (typeof this.#video.requestVideoFrameCallback === 'function' || !this.#receiver) return;
    const played = this.#video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
    if (played <= this.#playedFrames) return;
    this.#playedFrames = played;
    this.#onFrame();
  }

  /** Read the connection's counters; call this once a second. @param {RTCPeerConnection} pc */
  async sample(pc) {
    const all = await pc.getStats();
    this.path = networkPath(all);
    let inbound = null;
    const receivedAt = (report) => report?.lastPacketReceivedTimestamp ?? 0;
    all.forEach((report) => {
      // After a second bridge there are two reports; the one that receives is in use.
      const isVideo = report.type === 'inbound-rtp' && report.kind === 'video';
      if (isVideo && receivedAt(report) >= receivedAt(inbound)) inbound = report;
    });
    if (!inbound || !this.#receiver) return null;
    const before = this.#report?.id === inbound.id ? this.#report : null;
    this.#report = inbound;
    const codec = all.get(inbound.codecId)?.mimeType?.replace('video/', '') ?? null;
    this.stats = videoStats(before, inbound, { codec, e2eLatencyMs: this.latencyMs() });
    return before ? this.stats : null;
  }
}
