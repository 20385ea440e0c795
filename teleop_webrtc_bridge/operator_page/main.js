// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The operator page: wires the document to the cockpit. Read on in cockpit.js, then commander.js.
 *
 * Stable for tests and benchmarks
 *   #sign-in #token · #robots button[data-session-id][data-robot-id] · #connect #watch #disconnect ·
 *   #control #control-text #control-action · #watchers-toggle #watchers-list .put-out ·
 *   #video · #cameras button[data-camera][aria-pressed] .several ·
 *   #gamepad-toggle #gamepad #gamepad-verdict · #vr ·
 *   #estop #estop-release #estop-state #estop-note · #state #message · #rtt #speed #pad
 *   document.body.dataset
 *     role: operator viewer, or empty
 *     state: signed-out idle connecting drivable driving watching stopped reconnecting error
 *     lock: why motion is refused (estop link covered video hidden neutral, or empty)
 *     reach: what a press of E-STOP would achieve (ready unanswered unconnected refused none)
 *     vr: the visibility of the headset's session (visible visible-blurred hidden, or empty)
 *   window.teleop.metrics(): {state, lock, picture, estop, vr: why its controllers do not drive (see
 *     input/xr_sticks.js), robotId, sessionId, rttMs, offsetMs (robot minus page), framesPresented,
 *     width, height, fps, bitrateKbps, framesDropped, videoStats,
 *     glassToGlassMs: [newest 1000], commandsSent, commandsSkipped (backlog), lastCommandSeq,
 *     sent: [newest 2000 of {seq, atMs: performance.timeOrigin + performance.now(), zero}],
 *     telemetry: the robot's last robot_telemetry,
 *     cameras: names, camerasSelected: those shown, from the left,
 *     timings: {connectPressedMs, firstFrameMs, drivableMs}: performance.now values}
 *   Drivable: the channels are open and a pong has arrived over the state channels.
 */

import { BrokerClient } from './broker_client.js';
import { CameraSwitch } from './cameras.js';
import { Cockpit, nowS } from './cockpit.js';
import { TICK_MS } from './commander.js';
import { ControlDesk } from './control.js';
import { forgetToken, keyOf, storeToken, tabStorage, takeToken } from './credentials.js';
import * as hud from './hud.js';
import { ModeMemory } from './input/drive_mode.js';
import { GamepadPanel } from './input/gamepad_panel.js';
import { showLayout } from './input/key_legend.js';
import { attachKeyboard } from './input/keyboard.js';
import { attachSpeedSlider } from './input/speed_slider.js';
import { attachTouchPad } from './input/touch_pad.js';
import { startLanguage } from './language.js';
import { lockZoom, watchLayout } from './layout_watch.js';
import { connectText, isSameRobot, RobotList, splitHint } from './robot_list.js';
import { bothPaths } from './stats.js';
import { estopDisplay, headline, message, pageState } from './status.js';
import { StopGuard } from './stop_guard.js';
import { text } from './texts.js';
import { WakeLock } from './wake_lock.js';
import { WatcherDesk, WatcherPanel } from './watchers.js';
import { XrEntry } from './xr/xr_entry.js';

/** Next to this file, wherever a proxy has put both. */
const API = new URL('api/v1', import.meta.url).href;
const LIST_INTERVAL_MS = 2_000;
const READINGS_INTERVAL_MS = 250;
const REPORT_INTERVAL_MS = 1_000;
const CONTROL_INTERVAL_MS = 1_500;
const SIGNED_OUT = Object.freeze({
  signedIn: false, link: 'idle', estop: 'clear', moving: false, blockedBy: 'link', held: false,
  hasVideo: true, quiet: false,
});

const $ = (id) => document.getElementById(id);
const sessionStorage = tabStorage(window);

/** Owns the document, the token, and the cockpit of the signed-in operator. */
class Page {
  /** @type {BrokerClient | null} */
  #broker = null;
  /** @type {Cockpit | null} */
  #cockpit = null;
  #notice = '';
  /** @type {ControlDesk | null} */
  #desk = null;
  /** @type {WatcherDesk | null} */
  #watchers = null;
  #pad;
  #slider;
  #layout;
  #wakeLock = new WakeLock({ navigator, document });
  #stopGuard = new StopGuard({ window, stop: $('stop'), button: $('estop') });
  #robots = new RobotList({
    list: $('robots'),
    empty: $('no-robots'),
    onSelect: () => this.#onSelect(),
  });
  #gamepadPanel = new GamepadPanel({ cockpit: () => this.#cockpit, nowS });
  #vr = new XrEntry({ nowS, onEstop: () => this.#estop() });
  #watcherPanel = new WatcherPanel({
    onPress: (key) => {
      const id = this.#cockpit?.link.target?.sessionId;
      if (id) void this.#watchers?.press(id, key, nowS()).then(() => this.#showWatchers());
      this.#showWatchers();
    },
  });
  #cameras = new CameraSwitch({
    group: $('cameras'),
    onPress: (name, options) => this.#choose((it) => it.press(name, nowS(), options)),
    onSeveral: () => this.#choose((it) => it.toggleSeveral(nowS())),
  });

  start() {
    startLanguage({ window, onChange: () => this.#showAll() });
    this.#attachForm();
    this.#attachControls();
    this.#attachInputs();
    this.#attachMode();
    this.#attachLifecycle();
    const token = takeToken({ location, history, storage: sessionStorage });
    if (token) this.#signIn(token);
    else this.#signOut('');
    setInterval(() => this.#tick(), TICK_MS);
    setInterval(() => this.#showReadings(), READINGS_INTERVAL_MS);
    setInterval(() => this.#guardStop(), READINGS_INTERVAL_MS);
    setInterval(() => void this.#cockpit?.reportVideo().catch(() => {}), REPORT_INTERVAL_MS);
    setInterval(() => void this.#pollControl(), CONTROL_INTERVAL_MS);
    void this.#pollRobots();
  }

  metrics() {
    return this.#cockpit?.metrics() ?? { state: 'signed-out' };
  }

  // --- signing in and out ----------------------------------------------------------------------

  #signIn(token) {
    this.#notice = '';
    this.#broker = new BrokerClient({ token, base: API });
    this.#cockpit = new Cockpit({
      video: $('video'),
      broker: this.#broker,
      onChange: () => this.#onLinkChange(),
      onAction: (action) => this.#act(action),
      onUnauthorized: (notice) => this.#signOut(notice),
    });
    this.#gamepadPanel.attach();
    this.#cockpit.speed.onChange = () => this.#showSpeed();
    this.#showSpeed();
    this.#cockpit.mode.mode = $('mode').value;
    this.#cockpit.setHidden(document.hidden);
    this.#showStatus();
    void this.#refreshRobots();
  }

  #signOut(notice) {
    forgetToken(sessionStorage, keyOf(location.pathname));
    this.#cockpit?.disconnect('signed out');
    this.#cockpit = null;
    this.#broker = null;
    this.#robots.update([]);
    this.#notice = notice;
    this.#showStatus();
    $('token').focus();
  }

  #attachForm() {
    $('sign-in').addEventListener('submit', (event) => {
      event.preventDefault();
      const token = $('token').value.trim();
      $('token').value = '';
      if (!token) return;
      storeToken(sessionStorage, token, keyOf(location.pathname));
      this.#signIn(token);
    });
    $('sign-out').addEventListener('click', () => this.#signOut(''));
  }

  // --- the list of robots ----------------------------------------------------------------------

  async #pollRobots() {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, LIST_INTERVAL_MS));
      if (!document.hidden) await this.#refreshRobots();
    }
  }

  async #refreshRobots() {
    const broker = this.#broker;
    if (!broker || this.#cockpit.link.isWanted) return;
    try {
      const sessions = await broker.sessions();
      // Signed out or connected in the meantime.
      if (broker !== this.#broker || this.#cockpit.link.isWanted) return;
      this.#notice = '';
      $('list-status').hidden = true;
      this.#forgetOtherPage(sessions);
      this.#robots.update(sessions);
    } catch (error) {
      if (broker !== this.#broker) return;
      if (error.kind === 'unauthorized') this.#signOut(error.message);
      else this.#notice = error.message;
    }
    this.#showStatus();
  }

  /** "You drive this robot from another page" stays only while that page drives. */
  #forgetOtherPage(sessions) {
    const { link } = this.#cockpit;
    if (!link.isReplaced) return;
    const row = sessions.find((it) => isSameRobot(it, link.target));
    if (!row?.operator_is_you) this.#cockpit.disconnect('');
  }

  #onSelect() {
    const robot = this.#robots.selected;
    $('connect').disabled = robot === null;
    $('watch').disabled = robot === null;
    const { link } = this.#cockpit ?? {};
    const isReplaced = link?.isReplaced && isSameRobot(robot, link.target);
    $('connect').textContent = connectText(robot, isReplaced);
  }

  // --- controls ------------------------------------------------------------------------------

  #attachControls() {
    $('connect').addEventListener('click', () => this.#connect(this.#robots.selected, false));
    $('watch').addEventListener('click', () => this.#connect(this.#robots.selected, true));
    $('control-action').addEventListener('click', () => {
      const id = this.#cockpit?.link.target?.sessionId;
      if (id) void this.#desk?.press(id).then(() => this.#showStatus());
      $('control-action').blur();
    });
    $('disconnect').addEventListener('click', () => {
      this.#cockpit?.disconnect('operator');
      $('connect').focus();
    });
    // On press, not on release. A click without a pointer comes from a keyboard or screen reader.
    $('estop').addEventListener('pointerdown', () => this.#estop());
    $('estop').addEventListener('click', (event) => event.detail === 0 && this.#estop());
    $('estop-release').addEventListener('click', (event) => {
      // A double click is one decision, not two.
      if (event.detail < 2) this.#cockpit?.pressRelease();
      this.#showStatus();
    });
  }

  /** @param {import('./broker_client.js').RobotSession | null} robot */
  #connect(robot, watch) {
    if (!robot || !this.#cockpit) return;
    // A control that is about to vanish must not keep the focus: Enter would press it.
    document.activeElement?.blur();
    hud.showRobot([robot.robot_name, robot.robot_id].filter(Boolean).join(' · '));
    const watchers = new WatcherDesk({ broker: this.#broker });
    this.#watchers = watchers;
    this.#desk = new ControlDesk({
      broker: this.#broker,
      watching: watch,
      onStatus: (row) => {
        watchers.update(row?.watching);
        // The broker may notice only later that the robot's two processes have separate sessions.
        if (row && this.#cockpit) this.#cockpit.splitHint = splitHint(row);
      },
      onTake: () => {
        this.#cockpit?.disconnect('takes control');
        this.#connect(robot, false);
      },
    });
    this.#cockpit.connect(robot, { watch });
  }

  async #pollControl() {
    const { link } = this.#cockpit ?? {};
    const connected = ['drivable', 'reconnecting'].includes(link?.state);
    if (connected && !document.hidden) await this.#desk?.poll(link.target.sessionId);
  }

  #estop() {
    if (!this.#isControlling()) {
      this.#notice = text('stopped.nothing');
    } else if (this.#cockpit.mayStop) this.#cockpit.pressEstop();
    this.#showStatus();
  }

  /** @param {(cameras: import('./cameras.js').CameraChoice) => void} press */
  #choose(press) {
    if (!this.#cockpit || this.#cockpit.watching) return;
    press(this.#cockpit.cameras);
    this.#showCameras();
  }

  #showSpeed() {
    if (!this.#cockpit) return;
    const { share, level } = this.#cockpit.speed;
    const percent = Math.round(share * 100);
    $('speed').value = String(percent);
    hud.showSpeed(percent, level);
  }

  /** Do what a device asks for. @param {import('./drive.js').Action} action */
  #act(action) {
    if (action === 'estop') this.#estop();
    else if (action === 'faster') this.#cockpit.speed.faster();
    else if (action === 'slower') this.#cockpit.speed.slower();
    else if (action === 'camera') this.#choose((it) => it.next(nowS()));
  }

  #attachInputs() {
    this.#slider = attachSpeedSlider({
      slider: $('speed'),
      onPercent: (percent) => this.#cockpit?.speed.set(percent / 100),
    });
    this.#pad = attachTouchPad({
      pad: $('pad'),
      knob: $('pad-knob'),
      onVector: (vector) => {
        if (!this.#cockpit) return;
        const { drive, pad } = this.#cockpit;
        const wasHeld = drive.isHeld;
        pad.set(vector);
        // Start and end are sent at once. The tick sends the moves between, which may come at 120 Hz.
        if (drive.isHeld !== wasHeld) this.#tick();
      },
      onLost: () => this.#letGo(),
    });
    attachKeyboard({
      target: window,
      keys: {
        press: (code) => this.#cockpit?.mode.press(code, nowS()),
        release: (code) => this.#cockpit?.mode.release(code),
      },
      isActive: () => this.#isControlling(),
      onChange: () => this.#tick(),
      onEstop: () => this.#estop(),
      onAction: (action) => this.#act(action),
      onNumber: (number, options) =>
        this.#choose((it) => it.pressNumber(number, nowS(), options)),
      onLost: () => this.#letGo(),
    });
    void showLayout({ keys: document.querySelectorAll('.keys [data-code]'), keyboard: navigator.keyboard });
  }

  /** What keys mean; and buttons in their place, for one hand and for switches. */
  #attachMode() {
    const select = $('mode');
    const memory = new ModeMemory();
    select.value = memory.read();
    hud.showMode(select.value);
    select.addEventListener('change', () => {
      memory.write(select.value);
      if (this.#cockpit) this.#cockpit.mode.mode = select.value;
      hud.showMode(select.value);
      // With the focus, it would keep the keys.
      select.blur();
      this.#tick();
    });
    // The browser would click at each repeat: a switch that is held must not press again and again.
    $('directions').addEventListener('keydown', (event) => {
      if (event.repeat && event.key === 'Enter') event.preventDefault();
    });
    $('directions').addEventListener('click', ({ target }) => {
      const code = target.closest?.('button')?.dataset.code;
      if (!code || !this.#isControlling()) return;
      this.#cockpit.mode.press(code, nowS());
      this.#tick();
    });
  }

  #attachLifecycle() {
    this.#layout = watchLayout({
      window,
      elements: [$('pad'), $('estop'), $('video')],
      onDisturbed: () => this.#onDisturbed(),
    });
    lockZoom({ window, isLocked: () => this.#isControlling() });
    // Its menu offers a full screen that hides everything else.
    $('video').addEventListener('contextmenu', (event) => event.preventDefault());
    document.addEventListener('visibilitychange', () => {
      this.#cockpit?.setHidden(document.hidden);
    });
    window.addEventListener('pagehide', () => this.#cockpit?.disconnect('page closed'));
  }

  /** The controls may have moved: a held input may no longer mean what it did. */
  #onDisturbed() {
    if (this.#pad.isHeld || this.#cockpit?.drive.isHeld) this.#letGo();
    this.#slider.release();
    this.#guardStop();
  }

  #guardStop() {
    if (!this.#isControlling()) return this.#stopGuard.reset();
    const isPressable = this.#stopGuard.check();
    document.body.dataset.zoomed = String((window.visualViewport?.scale ?? 1) > 1);
    this.#cockpit.setCovered(!isPressable && !document.hidden);
  }

  #letGo() {
    this.#pad.release();
    this.#cockpit?.letGo();
  }

  #isControlling() {
    return this.#cockpit?.link.isWanted ?? false;
  }

  // --- showing -------------------------------------------------------------------------------

  #tick() {
    this.#vr.follow(this.#isControlling() && !this.#cockpit.watching ? this.#cockpit : null);
    if (!this.#cockpit) return;
    this.#layout.check();
    this.#cockpit.tick();
    hud.showVelocity(this.#cockpit.commander.velocity);
    hud.showModes(this.#cockpit.mode.canStep, this.#cockpit.mode.leftS(nowS()));
    this.#showCameras();
    this.#showWatchers();
    this.#gamepadPanel.show({ hasVr: this.#vr.isOffered });
    this.#showStatus();
  }

  #onLinkChange() {
    // A thumb that stays on the pad during an outage must not drive the robot afterwards.
    this.#pad.release();
    this.#onSelect();
    this.#showStatus();
    this.#showReadings();
  }

  /** In another language. */
  #showAll() {
    this.#showSpeed();
    this.#onSelect();
    this.#showStatus();
    void this.#refreshRobots();
  }

  #showStatus() {
    const cockpit = this.#cockpit;
    const situation = cockpit?.situation() ?? SIGNED_OUT;
    const state = pageState(situation);
    const controlling = this.#isControlling();
    const texts = {
      link: cockpit?.linkMessage ?? '',
      notice: this.#notice || this.#vr.note,
      releaseFailure: cockpit?.estop.releaseFailure ?? null,
    };
    this.#wakeLock.set(situation.link === 'drivable' && !cockpit.watching);
    hud.showView(!cockpit ? 'sign-in' : controlling ? 'drive' : 'list');
    hud.showStatus({
      state,
      headline: headline(situation),
      message: message(situation, texts),
      lock: situation.blockedBy,
      ...this.#picture(controlling),
    });
    const role = cockpit?.watching ? 'viewer' : 'operator';
    const banner = controlling ? this.#desk?.banner() : null;
    hud.showControl({ role: controlling ? role : '', text: '', action: '', ...banner });
    this.#showEstop(situation, controlling);
  }

  #showEstop(situation, controlling) {
    const mayStop = this.#cockpit?.mayStop ?? true;
    hud.showEstop(estopDisplay(situation, { usable: controlling, mayStop }), {
      usable: controlling && mayStop,
      mayRelease: controlling && !this.#cockpit.watching,
    });
  }

  #showCameras() {
    const { cameras, watching } = this.#cockpit;
    this.#cameras.show({
      // A viewer sees the operator's selection.
      names: watching ? [] : cameras.names,
      selected: cameras.selected(nowS()),
      several: cameras.several,
    });
  }

  #showWatchers() {
    const desk = this.#isControlling() ? this.#watchers : null;
    this.#watcherPanel.show({
      summary: desk?.summary() ?? '',
      rows: desk?.rows(nowS()) ?? [],
      failure: desk?.failure ?? '',
    });
  }

  /** Whether the picture is old, and the note on it. */
  #picture(controlling) {
    if (!controlling) return { stale: false, pictureNote: '' };
    const { link, video, videoReason } = this.#cockpit;
    if (link.state !== 'drivable') return { stale: true, pictureNote: '' };
    if (!video.isPromised || videoReason !== null) return { stale: false, pictureNote: text('picture.none') };
    if (!video.hasPicture) return { stale: true, pictureNote: text('picture.waiting') };
    if (!video.isFrozen(nowS())) return { stale: false, pictureNote: '' };
    const seconds = Math.floor(video.ageS(nowS()));
    return { stale: true, pictureNote: text('picture.frozen', { seconds }) };
  }

  #showReadings() {
    if (!this.#isControlling()) return;
    const { commander, video, telemetry } = this.#cockpit;
    const rttS = commander.clock.lastRttS;
    const live = this.#cockpit.link.state === 'drivable';
    hud.showReadings({
      rttMs: live && rttS !== null ? rttS * 1000 : null,
      fps: live && video.isPromised ? video.fps(nowS()) : null,
      width: live ? video.width : 0,
      height: video.height,
      bitrateKbps: video.stats?.kbps ?? null,
      latencyMs: live ? video.latencyMs() : null,
      latency: live ? (telemetry.state?.latency ?? null) : null,
      speedFactor: telemetry.state?.speed_factor ?? 1,
      commandRateHz: live ? (telemetry.cmd?.rate_hz ?? commander.commandRate(nowS())) : null,
      commandLatencyMs: telemetry.cmd?.latency_ms ?? null,
      batteryPercent: telemetry.soc ?? null,
      path: live ? bothPaths(video.path, telemetry.state?.path) : '',
    });
  }
}

const page = new Page();
window.teleop = Object.freeze({ metrics: () => page.metrics() });
page.start();
