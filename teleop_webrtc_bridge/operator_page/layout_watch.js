// Copyright 2026 The teleop_webrtc_bridge contributors
// SPDX-License-Identifier: Apache-2.0

/**
 * The layout watch: reports everything that may have moved the controls under a hand, such as a change of size,
 * zoom, orientation, screen or visibility, and a touch outside the controls.
 */

/** What a second finger may touch while the first one steers. */
const CONTROLS = 'button, input, a, #pad';

/**
 * @param {object} options
 * @param {Window} options.window
 * @param {Element[]} options.elements whose size is watched too
 * @param {() => void} options.onDisturbed let go of everything; may be called often
 * @returns {{check: () => void}} check: call it often, for changes without an event, such as of the
 *   pixel ratio
 */
export function watchLayout({ window, elements, onDisturbed }) {
  const { document, visualViewport, screen } = window;
  const on = (target, ...types) => {
    for (const type of types) target?.addEventListener(type, () => onDisturbed());
  };
  on(window, 'blur', 'resize', 'orientationchange', 'pagehide', 'beforeprint');
  on(screen?.orientation, 'change');
  // Also pinch zoom and the on-screen keyboard, for which the window gets no event.
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
 * Prevent pinch zoom where `touch-action` does not: in Safari, and with a touchpad, which browsers
 * report as a wheel with Ctrl.
 * @param {object} options
 * @param {Window} options.window
 * @param {() => boolean} options.isLocked
 */
export function lockZoom({ window, isLocked }) {
  const refuse = (event) => {
    // Somebody who has zoomed before must be able to zoom out again.
    const isZoomed = (window.visualViewport?.scale ?? 1) > 1;
    if (isLocked() && !isZoomed) event.preventDefault();
  };
  const options = { capture: true, passive: false };
  window.addEventListener('gesturestart', refuse, options);
  window.addEventListener('gesturechange', refuse, options);
  window.addEventListener('wheel', (event) => event.ctrlKey && refuse(event), options);
}
