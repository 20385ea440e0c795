// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * One operator's session with one robot: join, connect, bridge, video, heartbeat, leave
 * (docs/protocol.md §2). One object per attempt. It never reconnects; link.js does.
 */

import { BrokerError } from './broker_client.js';
import {
  answerOffer,
  connected,
  createChannels,
  createOffer,
  createPeer,
  orAborted,
} from './peer.js';
import { text } from './texts.js';

const HEARTBEAT_MS = 5_000;
/**
 * During set-up: if the session ends before the connection is up, the browser notices only after 15 s.
 * There are as many of these as the longest set-up takes.
 */
const FIRST_HEARTBEAT_MS = 1_000;
const FIRST_HEARTBEATS = 20;
const VIDEO_RETRY_MS = 500;
const VIDEO_RETRIES = 6;
const BRIDGE_RETRY_MS = 300;
const BRIDGE_RETRIES = 3;
const MAX_REASON_LENGTH = 200;

/**
 * @typedef {object} SessionEvents
 * @property {(answer: {operator_id?: string, may_stop?: boolean, split?: object}) => void} onJoined
 * @property {(channels: Record<string, RTCDataChannel>, first: boolean) => void} onChannels
 * @property {(track: MediaStreamTrack, receiver: RTCRtpReceiver) => void} onTrack
 * @property {() => void} onVideoPromised the broker has agreed to send the robot's video
 * @property {(status: string) => void} onNoVideo
 * @property {(reason: string | null) => void} onVideoReason why this browser cannot show the picture,
 *   in the broker's words; null: it can
 * @property {(data: string | ArrayBuffer) => void} onMessage from the robot, on either channel
 * @property {(error: Error) => void} onLost at most once, and not after close
 * @property {() => boolean} canInterrupt whether the channels may be replaced: not while driving
 */

/** Owns the peer connection, its channels and the operator slot at the broker. */
export class Session {
  #broker;
  #id;
  #events;
  /** Ends everything in this session; pending steps fail with its reason. */
  #life = new AbortController();
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  #channels = {};
  #joined = false;
  #role;
  /** The id of this join; undefined before it. @type {string | undefined} */
  #joinId;
  #heartbeat = null;
  #bridged = false;
  /** @type {string | null} */
  #videoReason = null;

  /**
   * @param {object} options
   * @param {import('./broker_client.js').BrokerClient} options.broker
   * @param {string} options.sessionId
   * @param {SessionEvents} options.events
   * @param {'operator' | 'viewer'} [options.role]
   */
  constructor({ broker, sessionId, events, role = 'operator' }) {
    this.#role = role;
    this.#broker = broker;
    this.#id = sessionId;
    this.#events = events;
  }

  /** The connection, for getStats. */
  get peer() {
    return this.#pc;
  }

  /**
   * From nothing to open channels; video may follow.
   * @param {AbortSignal} signal ends the attempt, not an established session
   */
  async open(signal) {
    const broker = this.#broker;
    const iceServers = await broker.iceServers({ signal });
    if (signal.aborted || this.#life.signal.aborted) throw signal.reason ?? closed();
    const pc = createPeer(iceServers);
    this.#pc = pc;
    pc.addEventListener('track', ({ track, receiver }) => this.#events.onTrack(track, receiver));
    const offer = await createOffer(pc, signal);
    // From here on the slot may be ours even if the answer is lost, so the session must leave.
    this.#joined = true;
    const role = this.#role;
    const joined = await broker.join(this.#id, offer, { role, signal }).catch((error) => {
      if (error instanceof BrokerError && error.status !== null) this.#joined = false;
      throw error;
    });
    this.#joinId = joined.cf_session_id;
    this.#events.onJoined(joined);
    this.#hearReason(joined);
    this.#keepBeating(FIRST_HEARTBEATS);
    const sdp = joined.sdp_answer;
    await pc.setRemoteDescription({ type: 'answer', sdp });
    await connected(pc, signal);
    pc.addEventListener('connectionstatechange', () => this.#onConnectionState());
    const status = await this.#bridge(signal, true);
    this.#bridged = true;
    if (status !== 'ok') void this.#retryVideo(status);
  }

  /**
   * End the session.
   * @param {string | null} reason for the broker; null: stay the operator, a redial follows
   */
  close(reason) {
    if (this.#life.signal.aborted) return;
    this.#life.abort(closed());
    clearTimeout(this.#heartbeat);
    // Before closing the connection: the page may have only milliseconds left.
    if (this.#joined && reason !== null) {
      void this.#broker.leave(this.#id, reason, this.#joinId);
    }
    this.#pc?.close();
  }

  /** @returns {Promise<string>} the video status; 'ok' when video was answered */
  async #bridge(signal, first) {
    const old = this.#channels;
    // Before the request: the broker may close the old channels first, and that is not a loss.
    this.#channels = {};
    const bridge = await this.#requestBridge(signal);
    for (const channel of Object.values(old)) channel.close();
    const channels = await createChannels(this.#pc, bridge, signal);
    this.#channels = channels;
    for (const channel of Object.values(channels)) {
      channel.addEventListener('close', () => {
        // We close the channels that a later bridge has replaced.
        if (this.#channels === channels) this.#lose(new Error(text('link.channels')));
      });
    }
    for (const channel of [channels.back, channels.map]) {
      channel.addEventListener('message', ({ data }) => this.#events.onMessage(data));
    }
    this.#events.onChannels(channels, first);
    return this.#takeVideo(bridge, signal);
  }

  /** The broker may see the connection a moment later than we do, and answers 409 until then. */
  async #requestBridge(signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#broker.bridge(this.#id, { joinId: this.#viewerId, signal });
      } catch (error) {
        if (error.kind !== 'conflict' || attempt >= BRIDGE_RETRIES) throw error;
        await orAborted(sleep(BRIDGE_RETRY_MS), signal);
      }
    }
  }

  /** A video problem never ends a session: the operator may still need the E-STOP. */
  async #takeVideo(bridge, signal) {
    this.#hearReason(bridge);
    if (!bridge.video_offer) return bridge.video_status ?? 'no_offer';
    try {
      const answer = await answerOffer(this.#pc, bridge.video_offer);
      const options = { joinId: this.#viewerId, signal };
      await this.#broker.renegotiateAnswer(this.#id, answer, options);
    } catch (error) {
      if (error.kind === 'unauthorized' || signal.aborted) throw error;
      console.warn(`The offered video cannot be taken: ${error.message}`);
      return 'pull_error';
    }
    this.#events.onVideoPromised();
    return 'ok';
  }

  /** The robot's camera may start after its connection. Each try replaces the channels. */
  async #retryVideo(status) {
    const { signal } = this.#life;
    this.#events.onNoVideo(status);
    // A browser that cannot show this video cannot show it later either.
    if (this.#videoReason !== null) return;
    try {
      for (let tries = 0; tries < VIDEO_RETRIES && status !== 'ok'; ) {
        await orAborted(sleep(VIDEO_RETRY_MS), signal);
        if (!this.#events.canInterrupt()) continue;
        tries += 1;
        status = await this.#bridge(signal, false);
        if (status !== 'ok') this.#events.onNoVideo(status);
      }
    } catch (error) {
      // Some channels may be replaced and others not, so start a new connection.
      this.#lose(error);
    }
  }

  #hearReason(answer) {
    if (this.#life.signal.aborted) return;
    const reason = answer?.video_reason;
    this.#videoReason = typeof reason === 'string' ? reason.slice(0, MAX_REASON_LENGTH) : null;
    this.#events.onVideoReason(this.#videoReason);
  }

  /** One heartbeat at a time: browsers allow few connections per host. */
  #keepBeating(quickOnes) {
    if (this.#life.signal.aborted) return;
    const beat = async () => {
      await this.#beat();
      this.#keepBeating(quickOnes - 1);
    };
    this.#heartbeat = setTimeout(beat, quickOnes > 0 ? FIRST_HEARTBEAT_MS : HEARTBEAT_MS);
  }

  /** Only viewers send their id with these calls: other brokers expect no body from an operator. */
  get #viewerId() {
    return this.#role === 'viewer' ? this.#joinId : undefined;
  }

  async #beat() {
    try {
      const options = { joinId: this.#joinId, signal: this.#life.signal };
      this.#hearReason(await this.#broker.heartbeat(this.#id, options));
    } catch (error) {
      if (error.kind === 'gone') {
        return this.#lose(new BrokerError('ended', text('link.ended')));
      }
      // An unreachable broker is not a loss: media flows without its HTTP, and silence on the link
      // ends the session. But a broker that refuses has given the robot to somebody else. Before the
      // bridge is up, brokers differ about who the operator is; the bridge call itself decides.
      const isReplaced = error.kind === 'replaced' && this.#role === 'operator';
      const saysNo = ['refused', 'barred', 'conflict', 'unauthorized'].includes(error.kind);
      if (isReplaced || (saysNo && this.#bridged)) this.#lose(error);
    }
  }

  #onConnectionState() {
    const state = this.#pc.connectionState;
    if (state === 'failed' || state === 'closed') this.#lose(new Error(text('link.lost')));
  }

  #lose(error) {
    if (this.#life.signal.aborted) return;
    this.#events.onLost(error);
  }
}

function closed() {
  return new Error('The session was closed.');
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
