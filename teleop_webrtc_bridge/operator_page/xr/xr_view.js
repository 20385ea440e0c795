// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * What is seen in the headset: the picture on a panel in the room, a display and an E-STOP block below it.
 * WebGL 2 without a library.
 */

import { text } from '../texts.js';
import { MediaPanel } from './media_panel.js';
import { inFrontOf, isOn, layout, meets, SCALES, START } from './xr_layout.js';

const DISPLAY_INTERVAL_S = 0.2;
/** Pixels for a metre of a panel with text. */
const PIXELS_PER_M = 1000;
const POINTER_M = 0.02;
const [STICK, LOWER] = [3, 4];
const FONT = 'system-ui';
const COLORS = Object.freeze({
  panel: '#0b1015', text: '#eef3f6', dim: '#9fb0bd', stop: '#d0021b', stopped: '#6d0612', good: '#4fc08d',
  slow: '#f0b429', bad: '#ff6b5e',
});
/** Of a virtual room; passthrough shows the real one. */
const ROOM = Object.freeze([0.02, 0.03, 0.04, 1]);
const OLD_PICTURE = 0.35;
/** Where a texture's part begins, and how wide it is. */
const WHOLE = Object.freeze([0, 1]);
const PARTS = Object.freeze({ left: [0, 0.5], right: [0.5, 0.5] });

const VERTEX = `#version 300 es
uniform mat4 projection, view;
uniform vec3 centre, right;
uniform vec2 size;
uniform vec2 part;
in vec2 corner;
out vec2 place;
void main() {
  place = vec2(part.x + part.y * (corner.x + 0.5), 0.5 - corner.y);
  vec3 point = centre + corner.x * size.x * right + vec3(0.0, corner.y * size.y, 0.0);
  gl_Position = projection * view * vec4(point, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
uniform sampler2D picture;
uniform float light;
in vec2 place;
out vec4 color;
void main() {
  color = vec4(texture(picture, place).rgb * light, 1.0);
}`;

/**
 * @typedef {object} Readings What the display says.
 * @property {string} state
 * @property {string} message
 * @property {string} hint what the controllers wait for
 * @property {string} speed
 * @property {string} latency
 * @property {string} verdict good, slow, bad, or empty
 * @property {string} estop what the E-STOP block says
 * @property {boolean} isStopped
 * @property {boolean} isOld whether the picture is not current
 * @property {boolean} isStereo whether its left half is for the left eye, and its right half for the right one
 */

/** The view of one session. @implements {import('./xr_session.js').XrFrames} */
export class XrView {
  #gl;
  #session;
  #layer;
  #space;
  #video;
  #readings;
  #nowS;
  #onHeadsetFrame;
  #onEstop;
  /** Shows the picture in place of our texture; null: not in this browser. @type {MediaPanel | null} */
  #media;
  #program;
  #textures;
  #display = document.createElement('canvas');
  #block = document.createElement('canvas');
  #shown = '';
  #shownAtS = -Infinity;
  /** @type {Readings} */
  #said;
  #anchor = START;
  #scale = SCALES[0];
  #pressed = new Set();

  /**
   * @param {object} options
   * @param {XRSession} options.session
   * @param {HTMLVideoElement} options.video
   * @param {() => Readings} options.readings
   * @param {() => number} options.nowS
   * @param {() => void} options.onHeadsetFrame the picture of the video is shown
   * @param {() => void} options.onEstop the E-STOP block was pressed
   * @param {boolean} options.mayUseMedia whether the picture may be a layer of its own
   * @returns {Promise<XrView>}
   */
  static async create(options) {
    // From the start: on a Quest, a context that is made compatible later shows black.
    const gl = document.createElement('canvas').getContext('webgl2', { xrCompatible: true, antialias: false });
    if (!gl) throw new Error(text('vr.no-webgl'));
    const { session } = options;
    const layer = new XRWebGLLayer(session, gl);
    await session.updateRenderState({ baseLayer: layer });
    const space = await session.requestReferenceSpace('local-floor');
    const MediaBinding = options.mayUseMedia ? globalThis.XRMediaBinding : undefined;
    const media = MediaPanel.create({ session, space, video: options.video, base: layer, MediaBinding });
    return new XrView({ ...options, gl, layer, space, media });
  }

  constructor({ session, video, readings, nowS, onHeadsetFrame, onEstop, gl, layer, space, media }) {
    this.#session = session;
    this.#video = video;
    this.#readings = readings;
    this.#nowS = nowS;
    this.#onHeadsetFrame = onHeadsetFrame;
    this.#onEstop = onEstop;
    this.#gl = gl;
    this.#layer = layer;
    this.#space = space;
    this.#media = media;
    this.#program = newProgram(gl);
    this.#textures = { picture: newTexture(gl), hud: newTexture(gl), stop: newTexture(gl), pointer: newTexture(gl) };
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array([255, 255, 255, 255]));
    this.#said = readings();
    // On press, as on the page. Any ray may press it, also that of a tracked hand.
    session.addEventListener('selectstart', this.#onSelect);
  }

  end() {
    this.#session.removeEventListener('selectstart', this.#onSelect);
    this.#gl.getExtension('WEBGL_lose_context')?.loseContext();
  }

  #onSelect = ({ frame, inputSource }) => {
    if (isOn(this.#panels().stop, this.#pointOf(frame, inputSource))) this.#onEstop();
  };

  #panels() {
    const aspect = this.#video.videoWidth / this.#video.videoHeight;
    return layout(this.#scale, this.#said.isStereo ? aspect / 2 : aspect);
  }

  #pointOf(frame, { targetRaySpace }) {
    const pose = targetRaySpace ? frame.getPose(targetRaySpace, this.#space) : null;
    return pose ? meets(this.#anchor, pose.transform.matrix) : null;
  }

  /** @param {XRFrame} frame @returns {boolean} whether the panels were drawn */
  draw(frame) {
    const gl = this.#gl;
    if (gl.isContextLost()) throw new Error(text('vr.context-lost'));
    const pose = frame.getViewerPose(this.#space);
    this.#press(pose);
    this.#write();
    const isByMedia = this.#showByMedia();
    if (!isByMedia) this.#upload();
    this.#onHeadsetFrame();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#layer.framebuffer);
    const isOpaque = this.#session.environmentBlendMode === 'opaque' && !isByMedia;
    gl.clearColor(...(isOpaque ? ROOM : [0, 0, 0, 0]));
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    // Without tracking there is no place to draw at.
    if (!pose) return false;
    const sources = Array.from(this.#session.inputSources);
    const points = sources.map((source) => this.#pointOf(frame, source)).filter((it) => it !== null);
    gl.useProgram(this.#program);
    for (const view of pose.views) {
      const { x, y, width, height } = this.#layer.getViewport(view);
      gl.viewport(x, y, width, height);
      this.#drawPanels(view, points, isByMedia);
    }
    return true;
  }

  /** @returns {boolean} whether the headset shows the picture from the video element */
  #showByMedia() {
    // An old picture is dimmed, which only our texture can be.
    const isShowable = this.#video.videoWidth > 0 && !this.#said.isOld;
    try {
      if (isShowable) this.#media?.show(this.#anchor, this.#panels().picture, this.#said.isStereo);
      else this.#media?.hide();
    } catch {
      // A browser that offers it, and then refuses: the texture works everywhere.
      this.#media = null;
    }
    return isShowable && this.#media !== null;
  }

  #drawPanels(view, points, isByMedia) {
    const gl = this.#gl;
    const at = (name) => gl.getUniformLocation(this.#program, name);
    gl.uniformMatrix4fv(at('projection'), false, view.projectionMatrix);
    gl.uniformMatrix4fv(at('view'), false, view.transform.inverse.matrix);
    gl.uniform3fv(at('right'), this.#anchor.right);
    const draw = (panel, texture, { light = 1, part = WHOLE } = {}) => {
      const { centre, right } = this.#anchor;
      gl.uniform3f(at('centre'), centre[0] + panel.x * right[0], centre[1] + panel.y, centre[2] + panel.x * right[2]);
      gl.uniform2f(at('size'), panel.width, panel.height);
      gl.uniform1f(at('light'), light);
      gl.uniform2fv(at('part'), part);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    };
    const panels = this.#panels();
    const light = this.#said.isOld ? OLD_PICTURE : 1;
    const part = (this.#said.isStereo && PARTS[view.eye]) || WHOLE;
    if (!isByMedia) draw(panels.picture, this.#textures.picture, { light, part });
    draw(panels.hud, this.#textures.hud);
    const isAimedAt = points.some((point) => isOn(panels.stop, point));
    draw(panels.stop, this.#textures.stop, { light: isAimedAt ? 1.3 : 1 });
    for (const { x, y } of points) {
      const isNear = Object.values(panels).some((panel) => isOn(panel, { x, y }));
      if (isNear) draw({ x, y, width: POINTER_M, height: POINTER_M }, this.#textures.pointer);
    }
  }

  /** A pressed thumbstick puts the panels in front of the head; A changes their size. */
  #press(pose) {
    const down = new Set();
    for (const { handedness, gamepad } of this.#session.inputSources) {
      if (gamepad?.buttons[STICK]?.pressed) down.add(`${handedness} recentre`);
      if (handedness === 'right' && gamepad?.buttons[LOWER]?.pressed) down.add('size');
    }
    const news = [...down].filter((it) => !this.#pressed.has(it));
    this.#pressed = down;
    for (const it of news) {
      if (it !== 'size') this.#anchor = pose ? inFrontOf(pose.transform) : this.#anchor;
      else this.#scale = SCALES[(SCALES.indexOf(this.#scale) + 1) % SCALES.length];
    }
  }

  #upload() {
    const video = this.#video;
    if (!(video.readyState >= 2) || !(video.videoWidth > 0)) return;
    const gl = this.#gl;
    gl.bindTexture(gl.TEXTURE_2D, this.#textures.picture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, video);
  }

  /** Write display and block anew, at most five times a second and only if they say something else. */
  #write() {
    const nowS = this.#nowS();
    if (nowS - this.#shownAtS < DISPLAY_INTERVAL_S) return;
    this.#shownAtS = nowS;
    this.#said = this.#readings();
    const shown = JSON.stringify(this.#said);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { hud, stop } = layout(1, NaN);
    writeDisplay(this.#display, hud, this.#said);
    writeBlock(this.#block, stop, this.#said);
    const gl = this.#gl;
    for (const [texture, canvas] of [['hud', this.#display], ['stop', this.#block]]) {
      gl.bindTexture(gl.TEXTURE_2D, this.#textures[texture]);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, canvas);
    }
  }
}

/** @param {WebGL2RenderingContext} gl @returns {WebGLProgram} with the corners of a quad bound */
function newProgram(gl) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`WebGL: ${gl.getProgramInfoLog(program)}`);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, 0.5]), gl.STATIC_DRAW);
  const corner = gl.getAttribLocation(program, 'corner');
  gl.enableVertexAttribArray(corner);
  gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
  return program;
}

function newTexture(gl) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  // The picture's sizes are no powers of two, and change: no mipmaps.
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return texture;
}

/** An empty drawing of a panel's size. @returns {CanvasRenderingContext2D} */
function cleared(canvas, { width, height }, color) {
  canvas.width = Math.round(width * PIXELS_PER_M);
  canvas.height = Math.round(height * PIXELS_PER_M);
  const context = canvas.getContext('2d');
  context.fillStyle = color;
  context.fillRect(0, 0, canvas.width, canvas.height);
  return context;
}

/** @param {Readings} said */
function writeDisplay(canvas, panel, said) {
  const context = cleared(canvas, panel, COLORS.panel);
  const line = (words, y, size, color) => {
    context.font = `600 ${size}px ${FONT}`;
    context.fillStyle = color;
    context.fillText(words, 24, y, canvas.width - 48);
  };
  line(said.state, 62, 48, COLORS.text);
  line(said.speed, 118, 38, COLORS.text);
  line(said.latency, 168, 34, COLORS[said.verdict] ?? COLORS.dim);
  // Nothing is more urgent than a message.
  line(said.message || said.hint, 226, 34, said.message ? COLORS.slow : COLORS.dim);
}

/** @param {Readings} said */
function writeBlock(canvas, panel, said) {
  const context = cleared(canvas, panel, said.isStopped ? COLORS.stopped : COLORS.stop);
  context.textAlign = 'center';
  context.fillStyle = COLORS.text;
  context.font = `800 64px ${FONT}`;
  context.fillText('E-STOP', canvas.width / 2, canvas.height / 2 + (said.estop ? -4 : 22), canvas.width - 40);
  context.font = `600 34px ${FONT}`;
  context.fillText(said.estop, canvas.width / 2, canvas.height / 2 + 60, canvas.width - 40);
}
