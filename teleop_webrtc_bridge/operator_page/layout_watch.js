// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * Notices whatever may have moved the controls away under a hand that holds them: another size,
 * zoom, orientation, screen or visibility, and a touch beside the controls.
 */

/** What a second finger may touch while another one steers. */
const CONTROLS = 'button, input, a, #pad';

/**
 * @param {object} options
 * @param {Window} options.window
 * @param {Element[]} options.elements whose size counts as well
 * @param {() => void} options.onDisturbed let go of everything; may be called often
 * @returns {{check: () => void}} check: to be called often, for what browsers tell of in no event,
 *   as of another pixel ratio
 */
export function watchLayout({ window, elements, onDisturbed }) {
  const { document, visualViewport, screen } = window;
  const on = (target, ...types) => {
    for (const type of types) target?.addEventListener(type, () => onDisturbed());
  };
  on(window, 'blur', 'resize', 'orientationchange', 'pagehide', 'beforeprint');
  on(screen?.orientation, 'change');
  // Also pinch zoom and the on-screen keyboard, of which the window itself is not told.
  on(visualViewport, 'resize', 'scroll');
  on(document, 'visibilitychange', 'freeze', 'scroll');
  on(document, 'fullscreenchange', 'webkitfullscreenchange', 'webkitbeginfullscreen');
  on(document, 'enterpictureinpicture', 'leavepictureinpicture', 'gesturestart');
  if (window.ResizeObserver) {
    const observer = new window.ResizeObserver(() => onDisturbed());
    for (const element of elements) observer.observe(element);
  }
  const onTouch = ({ pointerType, target }) => {
    const isControl = typeof target?.closest === 'function' && target.closest(CONTROLS) !== null;
    if (pointerType === 'touch' && !isControl) onDisturbed();
  };
  window.addEventListener('pointerdown', onTouch, { capture: true });
  let shape = shapeOf(window);
  return {
    check() {
      const before = shape;
      shape = shapeOf(window);
      if (shape !== before) onDisturbed();
    },
  };
}

function shapeOf({ innerWidth, innerHeight, devicePixelRatio, visualViewport: view }) {
  const seen = [view?.offsetLeft, view?.offsetTop, view?.width, view?.height];
  return [innerWidth, innerHeight, devicePixelRatio, ...seen].join();
}

/**
 * Keep two fingers from zooming, where `touch-action` does not: in Safari, and with a touchpad, of
 * which browsers tell as of a wheel with Ctrl.
 * @param {object} options
 * @param {Window} options.window
 * @param {() => boolean} options.isLocked
 */
export function lockZoom({ window, isLocked }) {
  const refuse = (event) => {
    // Whoever has zoomed before must be able to zoom out again.
    const isZoomed = (window.visualViewport?.scale ?? 1) > 1;
    if (isLocked() && !isZoomed) event.preventDefault();
  };
  const options = { capture: true, passive: false };
  window.addEventListener('gesturestart', refuse, options);
  window.addEventListener('gesturechange', refuse, options);
  window.addEventListener('wheel', (event) => event.ctrlKey && refuse(event), options);
}
