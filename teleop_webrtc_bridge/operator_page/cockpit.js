// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * One operator at the controls: connects link, session, commander, video and E-STOP, and knows how
 * each affects the others. It uses no DOM except the video element that it is given.
 */

import { CameraChoice } from './cameras.js';
import { Commander, TICK_MS } from './commander.js';
import { Drive } from './drive.js';
import { Estop } from './estop.js';
import { DriveMode } from './input/drive_mode.js';
import { Gamepads } from './input/gamepad.js';
import { HeldKeys } from './input/keyboard.js';
import { OperatorSpeed } from './input/speed.js';
import { PadPosition } from './input/touch_pad.js';
import { XrSticks } from './input/xr_sticks.js';
import { Link } from './link.js';
import { newNonce, parseMessage } from './messages.js';
import { splitHint } from './robot_list.js';
import { Session } from './session.js';
import { pageState } from './status.js';
import { text } from './texts.js';
import { VideoMonitor } from './video_monitor.js';

/** The robot answers a ping each second; after this long without a message the link is dead. */
const DEAD_S = 5;
const QUIET_S = 1.5;
/** The robot sends telemetry three times a second; older figures say nothing. */
const TELEMETRY_AGE_S = 1;
/** After a longer pause of the page itself, silence says nothing about the robot. */
const OWN_PAUSE_S = 1;

/** Seconds since the Unix epoch, by a clock that no time server steps. */
export function nowS() {
  return (performance.timeOrigin + performance.now()) / 1000;
}

export class Cockpit {
  #broker;
  #onChange;
  #onAction;
  #heardS = 0;
  #wasLatched = false;
  #tickS = 0;
  #telemetryS = -Infinity;
  #lastRobot = null;
  #noVideo = false;
  /** Why this browser cannot show the picture; null: it can. @type {string | null} */
  videoReason = null;
  /**
   * The robot's newest telemetry.
   * @type {{cmd?: object | null, soc?: number | null}}
   */
  telemetry = {};
  #refusing = null;
  #blind = false;
  #blindPage = false;
  #covered = false;
  /** This person's name, as the broker gave it at the join; null: unknown. @type {string | null} */
  #me = null;
  /** The id of this person's last join. @type {string | undefined} */
  #joinId;
  /** Whether the broker forwards this page's E-STOP. */
  mayStop = true;
  /** How to fix a robot that has two sessions; empty: it does not. */
  splitHint = '';
  linkMessage = '';
  timings = { connectPressedMs: null, firstFrameMs: null, drivableMs: null };
  speed = new OperatorSpeed();
  mode = new DriveMode(new HeldKeys(), this.speed);
  pad = new PadPosition();
  gamepads = new Gamepads();
  vr = new XrSticks();
  /** To add an input device: one module in input/, and its instance here. */
  drive = new Drive([this.pad, this.mode, this.vr, this.gamepads], this.speed);
  estop = new Estop(newNonce);
  commander = new Commander({ drive: this.drive, estop: this.estop });
  cameras = new CameraChoice({
    send: (cams) => this.commander.report({ type: 'camera_select', cams }),
  });

  /**
   * @param {object} options
   * @param {HTMLVideoElement} options.video
   * @param {import('./broker_client.js').BrokerClient} options.broker
   * @param {() => void} options.onChange the link's state changed
   * @param {(action: import('./drive.js').Action) => void} [options.onAction] a device asks for it
   * @param {(message: string) => void} options.onUnauthorized
   */
  constructor({ video, broker, onChange, onAction = () => {}, onUnauthorized }) {
    this.#broker = broker;
    this.#onChange = onChange;
    this.#onAction = onAction;
    this.video = new VideoMonitor({ video, nowS, offsetS: () => this.commander.clock.offsetS });
    this.video.onFirstFrame = () => (this.timings.firstFrameMs ??= performance.now());
    this.link = new Link({
      listSessions: (options) => broker.sessions(options),
      createSession: (sessionId) => this.#createSession(sessionId),
      checkJoin: (sessionId, signal) => this.#checkJoin(sessionId, signal),
      onState: (state, message) => this.#onLink(state, message),
      onUnauthorized,
    });
  }

  /** Whether gamepads and VR controllers drive only while a button is held. */
  get holdToDrive() {
    return this.gamepads.holdToDrive;
  }

  set holdToDrive(on) {
    this.gamepads.holdToDrive = on;
    this.vr.holdToDrive = on;
  }

  /** Whether this page only watches: it has the picture, telemetry and E-STOP. */
  get watching() {
    return this.commander.watching;
  }

  /**
   * @param {import('./broker_client.js').RobotSession} row
   * @param {{watch?: boolean}} [options]
   */
  connect(row, { watch = false } = {}) {
    if (this.link.isWanted) return;
    this.commander.watching = watch;
    this.#joinId = undefined;
    this.mayStop = true;
    this.splitHint = splitHint(row);
    this.drive.setLock('watching', watch);
    const robot = row.robot_id || row.session_id;
    // The same robot keeps the latch that this page knows of; another robot has its own.
    if (robot !== this.#lastRobot) this.estop.reset();
    this.#lastRobot = robot;
    this.timings = { connectPressedMs: performance.now(), firstFrameMs: null, drivableMs: null };
    this.video.clear();
    const name = row.robot_name || row.robot_id || text('list.robot');
    this.link.connect({ sessionId: row.session_id, robotId: row.robot_id ?? '', robotName: name });
  }

  /** @param {string} reason told to the broker */
  disconnect(reason) {
    this.letGo();
    const { session, target, isWanted } = this.link;
    this.splitHint = '';
    this.link.disconnect(reason);
    // Between two attempts nothing is open, but the operator slot may still be ours.
    if (!session && target && isWanted && !this.watching) {
      void this.#broker.leave(target.sessionId, reason, this.#joinId);
    }
  }

  /** Release everything that is held, and tell the robot at once. */
  letGo() {
    this.drive.releaseAll();
    this.commander.sendZeros(nowS());
  }

  /** @param {boolean} covered whether the E-STOP cannot be pressed */
  setCovered(covered) {
    if (covered && !this.#covered) this.letGo();
    this.#covered = covered;
    this.drive.setLock('covered', covered);
  }

  /** @param {boolean} hidden */
  setHidden(hidden) {
    if (hidden) this.letGo();
    this.commander.hidden = hidden;
    this.drive.setLock('hidden', hidden);
  }

  pressEstop() {
    this.estop.press(nowS());
    this.tick();
  }

  pressRelease() {
    this.estop.pressRelease(nowS());
    this.tick();
  }

  /** Do everything that is due. Called periodically, and at once when an input changes. */
  tick() {
    const now = nowS();
    if (now - this.#tickS > OWN_PAUSE_S) this.#heardS = now;
    this.#tickS = now;
    for (const action of this.drive.poll(now)) this.#onAction(action);
    const connected = this.link.state === 'drivable';
    if (connected && now - this.#heardS > DEAD_S) {
      this.link.onLost(new Error(text('link.silent')));
    }
    this.drive.setLock('link', !connected);
    this.drive.setLock('estop', this.estop.latched);
    if (this.estop.latched && !this.#wasLatched) this.drive.feel('estop');
    this.#wasLatched = this.estop.latched;
    this.drive.setLock('video', connected && this.video.isFrozen(now));
    this.commander.picture = connected && this.video.isShowing(now);
    this.commander.latency = {
      picture: this.video.latencyS(now, this.commander.clock.lastRttS),
      command: this.#commandLatencyS(now),
    };
    this.commander.tick(now);
  }

  /**
   * From the hand to the robot's gate: what the robot measured from the stamps, and at most one tick
   * before them. null: unknown.
   */
  #commandLatencyS(now) {
    const ms = this.telemetry.cmd?.latency_ms;
    if (!Number.isFinite(ms) || now - this.#telemetryS > TELEMETRY_AGE_S) return null;
    return (Math.max(0, ms) + TICK_MS) / 1000;
  }

  /** Measure the picture and report to the robot; called once a second. */
  async reportVideo() {
    const peer = this.link.session?.peer;
    if (!peer || this.link.state !== 'drivable') return;
    const stats = await this.video.sample(peer);
    if (stats) this.commander.report({ type: 'video_stats', ...stats });
  }

  /** @returns {import('./status.js').Situation} */
  situation() {
    const now = nowS();
    const { forward, left, turn } = this.commander.velocity;
    return {
      signedIn: true,
      watching: this.watching,
      link: this.link.state,
      estop: this.estop.state(now),
      stoppedBy: this.#stoppedBy(),
      moving: forward !== 0 || left !== 0 || turn !== 0,
      blockedBy: this.drive.blockedBy,
      refusing: this.#refusing,
      blind: this.#blind,
      blindPage: this.#blindPage,
      cameraFaults: this.telemetry.state?.camera_faults,
      held: this.drive.isHeld,
      hasVideo: !this.#noVideo,
      canSend: this.commander.canSend,
      videoReason: this.videoReason,
      quiet: this.link.state === 'drivable' && now - this.#heardS > QUIET_S,
      split: this.splitHint,
    };
  }

  /** @returns {import('./status.js').Stopper | null} */
  #stoppedBy() {
    const by = this.estop.stoppedBy;
    // The name alone is not enough: another person, or another role of this one, may have it too.
    return by && { sub: by.sub, role: by.role, isMe: by.pressedHere && by.sub === this.#me };
  }

  #createSession(sessionId) {
    // Before any channel exists, so that no command passes at the speed of an earlier session.
    this.speed.reset();
    return new Session({
      broker: this.#broker,
      sessionId,
      role: this.watching ? 'viewer' : 'operator',
      events: {
        onJoined: (answer) => this.#onJoined(answer),
        onChannels: (channels, first) => {
          this.#heardS = nowS();
          this.commander.attach(channels, nowS(), { sameConnection: !first });
          // A viewer's pings are not answered: open channels are enough.
          if (this.watching) this.link.onDrivable();
        },
        onTrack: (track, receiver) => this.video.attach(track, receiver),
        onVideoPromised: () => {
          this.#noVideo = false;
          this.video.promise();
        },
        onNoVideo: () => (this.#noVideo = true),
        onVideoReason: (reason) => (this.videoReason = reason),
        onMessage: (data) => this.#onMessage(data),
        onLost: (error) => this.link.onLost(error),
        canInterrupt: () => !this.drive.isHeld && this.estop.state(nowS()) === 'clear',
      },
    });
  }

  /** Fail if another page of this person has taken over. Other problems show up at the join. */
  async #checkJoin(sessionId, signal) {
    if (this.watching || this.#joinId === undefined) return;
    try {
      await this.#broker.heartbeat(sessionId, { joinId: this.#joinId, signal });
    } catch (error) {
      if (error.kind === 'replaced') throw error;
    }
  }

  #onJoined(answer) {
    const { operator_id: me, may_stop: mayStop } = answer;
    this.#joinId = answer.cf_session_id;
    this.splitHint = splitHint(answer);
    this.#me = typeof me === 'string' ? me : null;
    // If the broker does not say, every viewer may stop; an operator always may.
    this.mayStop = !this.watching || mayStop !== false;
  }

  #onLink(state, message) {
    this.linkMessage = message;
    if (state !== 'drivable') this.#onLinkDown();
    // At once, so that a key pressed as soon as the page says "ready" is not locked.
    else this.tick();
    this.#onChange();
  }

  #onLinkDown() {
    if (this.drive.isHeld) this.drive.feel('link');
    this.drive.releaseAll();
    this.drive.setLock('link', true);
    this.mode.canStep = false;
    this.commander.detach();
    this.estop.onLinkDown();
    this.telemetry = {};
    this.cameras.clear();
    this.#refusing = null;
    this.#blind = false;
    this.#blindPage = false;
    this.#noVideo = false;
    this.videoReason = null;
    this.video.detach();
  }

  #onMessage(data) {
    const message = parseMessage(data);
    if (!message) return;
    const now = nowS();
    this.#heardS = now;
    if (message.type === 'pong') this.#onPong(message, now);
    else if (message.type === 'cmd_ack') this.estop.onAck(message, now);
    else if (message.type === 'lease') this.commander.onLease(message.token, now);
    else if (message.type === 'robot_telemetry') {
      this.#onRefusing(message.state?.refusing ?? null, this.telemetry.state?.refusing ?? null);
      // Twice in a row: a camera that was just selected needs a moment.
      const isToldTwice = (name) => [message, this.telemetry].every((it) => it.state?.[name] === true);
      this.#blind = isToldTwice('blind');
      this.#blindPage = isToldTwice('blind_page');
      this.telemetry = message;
      this.#telemetryS = now;
      const { joy, poses, step } = message.state ?? {};
      this.mode.canStep = step === true;
      this.commander.offers = { joy: joy === true, poses: poses === true };
      this.cameras.onTelemetry(message.state ?? {}, now);
      const { estopped, latch, estopped_by: by } = message.state ?? {};
      if (typeof estopped === 'boolean') this.estop.onTelemetry(estopped, now, latch, by);
    }
  }

  /** Only a reason that is reported twice in a row counts: not one late command, not an old report. */
  #onRefusing(now, before) {
    this.#refusing = now === before ? now : null;
    // The zeros that should have armed the robot were lost: ask for neutral here too.
    if (this.#refusing === 'not_neutral') this.drive.requireNeutral();
  }

  #onPong(pong, now) {
    if (!this.commander.onPong(pong, now)) return;
    if (!this.commander.isReady || !this.commander.clock.trusted) return;
    if (this.link.state !== 'drivable') {
      this.timings.drivableMs ??= performance.now();
      this.link.onDrivable();
    }
  }

  /** @returns {object} plain figures for tests and benchmarks; see main.js */
  metrics() {
    const now = nowS();
    const { commander, video } = this;
    const { lastRttS, offsetS } = commander.clock;
    return {
      state: pageState(this.situation()),
      lock: this.drive.blockedBy,
      picture: commander.picture,
      vr: this.vr.verdict,
      estop: this.estop.state(now),
      robotId: this.link.target?.robotId ?? null,
      sessionId: this.link.target?.sessionId ?? null,
      rttMs: lastRttS === null ? null : lastRttS * 1000,
      offsetMs: offsetS === null ? null : offsetS * 1000,
      framesPresented: video.framesPresented,
      width: video.width,
      height: video.height,
      fps: video.fps(now),
      bitrateKbps: video.stats?.kbps ?? null,
      framesDropped: video.stats?.frames_dropped ?? null,
      videoStats: video.stats,
      path: video.path,
      glassToGlassMs: video.latencies.values(),
      commandsSent: commander.commandsSent,
      commandsSkipped: commander.commandsSkipped,
      lastCommandSeq: commander.lastSeq,
      sent: commander.sent(),
      telemetry: this.telemetry,
      cameras: this.cameras.names,
      camerasSelected: this.cameras.selected(now),
      timings: { ...this.timings },
    };
  }
}
