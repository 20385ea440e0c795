"""What a person sees in a VR headset: panels, picture, and each eye its own of a stereo pair."""

# Copyright 2026 The teleop_webrtc_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from collections.abc import Callable, Iterator
import signal

from browser import difference
from headset import HeadsetPage
from playwright.sync_api import Browser
from programs import wait_for
import pytest
from stack import running_stack, Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

CAMERA = 'teleop_webrtc_bridge.demo.simulated_robot'
OPTIONS = (
    *('-p', 'cameras:=[left, right]'),
    *('-p', 'stereo_cameras:=[left, right]'),
    *('-p', 'left.topic:=camera/image_raw'),
    *('-p', 'right.topic:=camera_rear/image_raw'),
)
SMALL = tuple(
    word for option in ('width:=640', 'height:=360', 'overlay:=false') for word in ('-p', option)
)
#: Places in the left eye, see `HeadsetPage.pixels`: the E-STOP block beside its words, and the end
#: of the display's second line.
BLOCK, DISPLAY = (0.66, 0.28), (0.55, 0.3)
#: A stand-in for the headset's compositor, which no desktop browser has: it notes the layers.
MEDIA_LAYERS = """(() => {
const states = window.layerStates = [];
window.XRMediaBinding = class {
    createQuadLayer(video, {layout, width, height}) {
        if (window.refuses) throw new DOMException('no media layers', 'NotSupportedError');
        return {video: video.id, layout, width, height};
    }
};
const ask = navigator.xr.requestSession;
navigator.xr.requestSession = async (...options) => {
    const session = await ask(...options);
    Object.defineProperty(session, 'enabledFeatures', {value: ['local-floor', 'layers']});
    const update = session.updateRenderState.bind(session);
    session.updateRenderState = ({layers, ...others}) => {
        if (layers) states.push(layers);
        return layers ? undefined : update(others);
    };
    return session;
};
})()"""
#: The picture's layer, if the headset shows one.
MEDIA = 'layerStates.at(-1)?.length === 2 ? layerStates.at(-1)[0] : null'


@pytest.fixture(scope='module')
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp('stack'), *OPTIONS, robot=SMALL) as running:
        yield running


def worn(browser: Browser, stack: Stack, *, script: str = '', query: str = '') -> HeadsetPage:
    """Return the page, connected, in VR, with both cameras in the picture."""
    page = HeadsetPage(browser, stack, script=script, query=query)
    page.page.click('#cameras .several')
    wait_for(lambda: is_pair(page), what='both cameras')
    page.enter()
    return page


def is_pair(page: HeadsetPage) -> bool:
    metrics = page.metrics()
    shape = metrics['width'] / max(1, metrics['height'])
    return bool(metrics['camerasSelected'] == ['left', 'right'] and shape > 3.0)


def halves(picture: list[int]) -> tuple[list[int], list[int]]:
    """Return the left and the right half of a picture of 18 rows of 32."""
    rows = [picture[start : start + 32] for start in range(0, len(picture), 32)]
    return [it for row in rows for it in row[:16]], [it for row in rows for it in row[16:]]


def test_the_headset_shows_the_picture_and_the_stop(browser: Browser, stack: Stack) -> None:
    vr = HeadsetPage(browser, stack)
    vr.enter()

    def sees(place: tuple[float, float], what: Callable[[int, int, int], bool]) -> None:
        wait_for(lambda: what(*vr.pixels([place])[0]), what=f'another pixel at {place}')

    sees(BLOCK, lambda red, green, blue: red > 150 and green < 60 and blue < 60)
    sees(DISPLAY, lambda red, green, blue: max(red, green, blue) < 40)

    def is_in_place() -> bool:
        shown, picture = vr.picture(), vr.operator.picture()
        rows = [picture[i : i + 32][::-1] for i in range(0, len(picture), 32)]
        others = picture[::-1], [it for row in rows for it in row]
        return all(difference(shown, picture) < difference(shown, other) / 2 for other in others)

    # On a busy machine it may be old, and so dimmed, for a moment.
    wait_for(is_in_place, what='the picture, upright and not mirrored')
    # Passthrough: nothing is drawn beside the panels.
    assert vr.pixels([(0.05, 0.9)]) == [(0, 0, 0)]


def test_each_eye_sees_its_own_camera(browser: Browser, stack: Stack) -> None:
    page = worn(browser, stack)

    def is_stereo() -> bool:
        left, right = halves(page.operator.picture())
        seen = {eye: page.picture(eye, columns=16) for eye in ('left', 'right')}
        others = {'left': (left, right), 'right': (right, left)}
        return all(
            difference(seen[eye], own) < difference(seen[eye], other) / 2
            for eye, (own, other) in others.items()
        )

    wait_for(is_stereo, what='each eye its own picture')
    # One camera alone is for both eyes.
    page.press('#cameras [data-camera="right"]')

    def is_mono() -> bool:
        seen = page.operator.picture()
        return all(
            difference(page.picture(eye), seen) < difference(page.picture(eye), seen[::-1]) / 2
            for eye in ('left', 'right')
        )

    wait_for(lambda: page.metrics()['camerasSelected'] == ['right'], what='one camera')
    wait_for(is_mono, what='the same picture for both eyes')
    assert page.operator.errors == []


def test_a_layer_of_the_headset_shows_the_picture_while_it_is_current(
    browser: Browser, stack: Stack
) -> None:
    page = worn(browser, stack, script=MEDIA_LAYERS)
    (camera,) = (it for it in stack.programs.running if CAMERA in str(it.process.args))
    wait_for(lambda: (page.evaluate(MEDIA) or {}).get('layout') == 'stereo-left-right', what='it')
    media = page.evaluate(MEDIA)
    assert media['video'] == 'video'
    assert media['width'] / media['height'] == pytest.approx(16 / 9, rel=0.05)
    # The page's own layer is transparent there.
    assert set(page.picture()) == {0}
    camera.process.send_signal(signal.SIGSTOP)
    try:
        # What is old is dimmed, by the page's own texture.
        wait_for(lambda: page.evaluate(MEDIA) is None, what='no layer')
        wait_for(lambda: any(page.picture()), what='the picture in the page’s own layer')
    finally:
        camera.process.send_signal(signal.SIGCONT)
    wait_for(lambda: page.evaluate(MEDIA) is not None, what='the layer again')
    assert page.operator.errors == []


@pytest.mark.parametrize('why', ['refused', 'unwanted'])
def test_without_the_layer_the_page_shows_the_picture(
    browser: Browser, stack: Stack, why: str
) -> None:
    script = MEDIA_LAYERS + (', window.refuses = true' if why == 'refused' else '')
    page = worn(browser, stack, script=script, query='' if why == 'refused' else '?vr=texture')
    wait_for(lambda: any(page.picture()), what='the picture in the page’s own layer')
    assert page.evaluate('layerStates.length') == 0
    assert page.operator.errors == []
