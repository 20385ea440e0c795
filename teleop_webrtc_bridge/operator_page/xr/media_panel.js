// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The picture as a layer of its own (WebXR Layers API, https://www.w3.org/TR/webxrlayers-1/): the headset takes
 * it from the video element, which is sharper than a texture and spares the upload. Few browsers have it.
 */

/** Behind the page's own layer, which is transparent there. */
export class MediaPanel {
  #session;
  #space;
  #video;
  #base;
  #binding;
  #layer = null;
  /** What the layer was made for: it does not follow the video's size. */
  #madeFor = '';

  /**
   * @param {object} options
   * @param {XRSession} options.session
   * @param {XRReferenceSpace} options.space
   * @param {HTMLVideoElement} options.video
   * @param {XRWebGLLayer} options.base the page's own layer
   * @param {typeof XRMediaBinding | undefined} options.MediaBinding
   * @returns {MediaPanel | null} null: the browser does not offer it
   */
  static create({ session, space, video, base, MediaBinding }) {
    if (typeof MediaBinding !== 'function' || !session.enabledFeatures?.includes('layers')) return null;
    return new MediaPanel({ session, space, video, base, binding: new MediaBinding(session) });
  }

  constructor({ session, space, video, base, binding }) {
    this.#session = session;
    this.#space = space;
    this.#video = video;
    this.#base = base;
    this.#binding = binding;
  }

  /**
   * @param {import('./xr_layout.js').Anchor} anchor
   * @param {import('./xr_layout.js').Panel} panel
   * @param {boolean} isStereo whether the video holds the left eye's picture on the left, and the right eye's
   * @throws what the browser throws: the page must show the picture itself
   */
  show({ centre, right }, panel, isStereo) {
    const { videoWidth, videoHeight } = this.#video;
    const madeFor = `${videoWidth} x ${videoHeight} ${isStereo}`;
    const yaw = Math.atan2(-right[2], right[0]);
    const transform = new XRRigidTransform(
      { x: centre[0] + panel.x * right[0], y: centre[1] + panel.y, z: centre[2] + panel.x * right[2] },
      { x: 0, y: Math.sin(yaw / 2), z: 0, w: Math.cos(yaw / 2) },
    );
    const { width, height } = panel;
    if (madeFor === this.#madeFor) {
      Object.assign(this.#layer, { transform, width, height });
      return;
    }
    this.hide();
    const layout = isStereo ? 'stereo-left-right' : 'mono';
    this.#layer = this.#binding.createQuadLayer(this.#video, { space: this.#space, layout, transform, width, height });
    this.#madeFor = madeFor;
    this.#session.updateRenderState({ layers: [this.#layer, this.#base] });
  }

  /** The page shows the picture itself. */
  hide() {
    if (this.#layer === null) return;
    this.#session.updateRenderState({ layers: [this.#base] });
    this.#layer.destroy?.();
    this.#layer = null;
    this.#madeFor = '';
  }
}
