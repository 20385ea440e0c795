"""The stop is always visible and works, and moving controls are released: a real robot."""

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
from contextlib import suppress

from browser import OperatorPage
from playwright.sync_api import Browser, CDPSession, expect, Page
from programs import wait_for
import psutil
import pytest
from stack import Stack

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

UPRIGHT = (390, 844)
ON_ITS_SIDE = (844, 390)
#: Width, height and pixel ratio. A page that is magnified by 400 % is as small as 320×256.
SIZES = (
    *((1920, 1080, 1), (1280, 800, 1), (1000, 640, 1.5), (640, 400, 2), (427, 267, 3)),
    *((320, 256, 4), (320, 256, 1), (256, 320, 1), (320, 320, 1), (521, 521, 1), (641, 521, 1)),
    *((390, 844, 3), (844, 390, 3), (320, 568, 2), (568, 320, 2), (360, 640, 3), (667, 375, 2)),
    *((768, 1024, 2), (1024, 768, 2), (280, 653, 3), (653, 280, 3)),
)
#: Sizes at which the stop is pressed: both orientations of a phone, the extremes, and a desktop.
PRESSED = {(320, 256, 4), (390, 844, 3), (844, 390, 3), (1280, 800, 1)}
FIND = """() => {
    const button = document.querySelector('#estop');
    const {left, top, width, height} = button.getBoundingClientRect();
    const {offsetLeft, offsetTop, width: seenWidth, height: seenHeight} = visualViewport;
    const shares = [[.5, .5], [.02, .02], [.98, .02], [.02, .98], [.98, .98]];
    return shares.every(([x, y]) => {
        const [px, py] = [left + width * x, top + height * y];
        return px >= offsetLeft && py >= offsetTop && px <= offsetLeft + seenWidth &&
            py <= offsetTop + seenHeight && document.elementFromPoint(px, py) === button;
    });
}"""
ENLARGE_TEXT = """() => {
    const all = [...document.querySelectorAll('body, body *')];
    const sizes = all.map((element) => parseFloat(getComputedStyle(element).fontSize));
    all.forEach((element, i) => (element.style.fontSize = `${2 * sizes[i]}px`));
}"""
DISTURBANCES = (
    'the phone is turned',
    'another pixel ratio',
    'zoom',
    'a second finger on the picture',
    'a second finger on the pad',
    'the pad moves',
)
LAYERS = {
    'a long message': """() => {
        const note = document.querySelector('#message').cloneNode();
        note.style.cssText = 'display: block; position: fixed; inset: 0; z-index: 2147483647';
        note.textContent = 'word '.repeat(2000);
        document.body.append(note);
        return () => note.remove();
    }""",
    'a modal dialog': """() => {
        const dialog = document.body.appendChild(document.createElement('dialog'));
        dialog.style.cssText = 'inset: 0; width: 100vw; height: 100vh';
        dialog.showModal();
        return () => dialog.remove();
    }""",
    'a popover': """() => {
        const popover = document.body.appendChild(document.createElement('div'));
        popover.popover = 'manual';
        popover.style.cssText = 'inset: 0; width: 100vw; height: 100vh';
        popover.showPopover();
        return () => popover.remove();
    }""",
    'the picture in full screen': """async () => {
        await document.querySelector('#video').requestFullscreen();
        return () => {};
    }""",
}


class Fingers:
    """Touches on a phone's screen."""

    def __init__(self, page: Page) -> None:
        self._cdp: CDPSession = page.context.new_cdp_session(page)
        self._is_down = False

    def _send(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{'x': x, 'y': y, 'id': number} for number, (x, y) in enumerate(points)]
        self._cdp.send('Input.dispatchTouchEvent', {'type': kind, 'touchPoints': touches})

    def press(self, *points: tuple[float, float]) -> None:
        self._is_down = True
        self._send('touchStart', *points)

    def move(self, *points: tuple[float, float]) -> None:
        self._send('touchMove', *points)

    def lift(self) -> None:
        if self._is_down:
            self._send('touchEnd')
        self._is_down = False

    def zoom(self, factor: float) -> None:
        """Zoom as two fingers would if the page did not prevent it."""
        self._cdp.send('Emulation.setPageScaleFactor', {'pageScaleFactor': factor})

    def screen(self, width: int, height: int, ratio: float) -> None:
        """Turn the phone, move the window, or magnify the page."""
        metrics = {'width': width, 'height': height, 'deviceScaleFactor': ratio, 'mobile': True}
        self._cdp.send('Emulation.setDeviceMetricsOverride', metrics)


@pytest.fixture
def phone(stack: Stack, browser: Browser) -> Iterator[OperatorPage]:
    """Yield the page on a phone, connected to the robot; disconnect at the end."""
    context = browser.new_context(
        viewport={'width': UPRIGHT[0], 'height': UPRIGHT[1]}, has_touch=True, is_mobile=True
    )
    page = OperatorPage(context.new_page())
    page.connect(stack.broker.page, stack.robot_id)
    yield page
    page.page.click('#disconnect')
    page.wait_for_state('idle')
    assert page.errors == []
    context.close()


def box_of(page: Page, selector: str) -> tuple[float, float, float, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box['x'], box['y'], box['width'], box['height']


def middle_of(page: Page, selector: str) -> tuple[float, float]:
    x, y, width, height = box_of(page, selector)
    return x + width / 2, y + height / 2


def release(page: OperatorPage) -> None:
    """Release the stop, wherever its button is and however slow the machine is."""
    page.wait_for_state('stopped')

    def released() -> bool:
        page.page.evaluate(
            "() => [0, 0].forEach(() => document.querySelector('#estop-release').click())"
        )
        return bool(page.page.evaluate("document.body.dataset.estop === 'clear'"))

    wait_for(released, what='the release')


def hold(page: OperatorPage, press: Callable[[], None], lift: Callable[[], None]) -> None:
    """Hold a control until the page drives; press again if a busy machine locked it."""

    def drives() -> bool:
        lift()
        wait_for(lambda: not page.metrics()['lock'], what='no lock')
        press()
        with suppress(AssertionError):
            return bool(wait_for(lambda: is_driving(page), timeout_s=3.0))
        return False

    wait_for(drives, what='the page drives')


def is_driving(page: OperatorPage) -> bool:
    return bool(page.page.evaluate("document.body.dataset.state === 'driving'"))


def let_go(page: OperatorPage, tremble: Callable[[int], None], after: str) -> None:
    """Expect zeros, whatever a finger or key that is still down does."""
    # No control counts as held: otherwise the page would drive, or be locked until neutral.
    wait_for(lambda: not is_driving(page) and page.metrics()['lock'] is None, what=after)
    seen = page.metrics()['lastCommandSeq']
    for step in range(1, 6):
        tremble(step)
    wait_for(lambda: page.metrics()['lastCommandSeq'] > seen + 10, what='commands')
    assert all(command['zero'] for command in page.metrics()['sent'] if command['seq'] > seen)


def test_the_stop_is_in_sight_at_every_size_and_stops(phone: OperatorPage) -> None:
    fingers = Fingers(phone.page)
    for is_large in (False, True):
        if is_large:
            phone.page.evaluate(ENLARGE_TEXT)
        for size in SIZES:
            fingers.screen(*size)
            wait_for(lambda: phone.page.evaluate(FIND), what=f'the stop at {size}, {is_large}')
            # A phone would zoom out to what is wider, and keep that when it is turned.
            width = phone.page.evaluate('document.documentElement.scrollWidth')
            assert width <= size[0], (size, is_large)
            if size in PRESSED:
                phone.page.touchscreen.tap(*middle_of(phone.page, '#estop'))
                phone.wait_for_state('stopped')
                expect(phone.page.locator('#estop-note')).to_have_text('by you')
                # Neither the note on who stopped it nor the release covers it.
                assert phone.page.evaluate(FIND), size
                release(phone)


def test_two_fingers_do_not_zoom_the_stop_away(phone: OperatorPage) -> None:
    page, fingers = phone.page, Fingers(phone.page)
    fingers.screen(*ON_ITS_SIDE, 3)
    for x, y in ((400.0, 150.0), (150.0, 100.0)):
        fingers.press((x, y), (x + 40, y))
        for step in range(8):
            fingers.move((x - 15 * step, y), (x + 40 + 15 * step, y))
        fingers.lift()
    assert page.evaluate('visualViewport.scale') == 1
    # If a browser zooms nevertheless, the stop follows.
    for factor in (2.5, 5):
        fingers.zoom(factor)
        wait_for(lambda: page.evaluate('visualViewport.scale') > 2, what='the zoom')
        wait_for(lambda: page.evaluate(FIND), what=f'the stop at zoom {factor}')
        x, y, width, height = box_of(page, '#estop')
        assert abs(width * page.evaluate('visualViewport.scale') - 112) < 2, 'as large as before'
        assert width == pytest.approx(height, abs=0.5)
        page.evaluate(
            '([x, y]) => document.elementFromPoint(x, y).dispatchEvent(new PointerEvent('
            "'pointerdown', {bubbles: true, pointerType: 'touch'}))",
            [x + width / 2, y + height / 2],
        )
        release(phone)
    fingers.zoom(1)


def test_nothing_covers_the_stop(phone: OperatorPage) -> None:
    Fingers(phone.page).screen(*ON_ITS_SIDE, 2)
    for name, layer in LAYERS.items():
        undo = phone.page.evaluate_handle(layer)
        wait_for(lambda: phone.page.evaluate(FIND), what=f'the stop above {name}')
        phone.page.touchscreen.tap(*middle_of(phone.page, '#estop'))
        phone.wait_for_state('stopped')
        undo.evaluate('undo => undo()')
        release(phone)


def test_what_cannot_be_topped_locks_driving(operator: OperatorPage) -> None:
    page = operator.page
    message = page.locator('#message')
    hold(operator, lambda: page.keyboard.down('KeyW'), lambda: page.keyboard.up('KeyW'))
    page.evaluate("document.querySelector('#estop').style.visibility = 'hidden'")
    expect(message).to_contain_text('covers the E-STOP', timeout=60_000)
    assert operator.metrics()['lock'] == 'covered'
    assert not is_driving(operator)
    page.evaluate("document.querySelector('#estop').style.visibility = ''")
    let_go(operator, lambda _: page.keyboard.down('KeyW'), 'the stop is back')
    page.keyboard.up('KeyW')


def disturb(page: Page, fingers: Fingers, how: str) -> None:
    if how == 'the phone is turned':
        fingers.screen(*ON_ITS_SIDE, 3)
    elif how == 'another pixel ratio':
        fingers.screen(*UPRIGHT, 2)
    elif how == 'zoom':
        fingers.zoom(2)
    elif how == 'a second finger on the picture':
        fingers.press(above_the_middle(page), middle_of(page, '#video'))
    elif how == 'a second finger on the pad':
        x, y, _, _ = box_of(page, '#pad')
        fingers.press(above_the_middle(page), (x + 40, y + 80))
    else:
        page.evaluate("document.querySelector('#pad').style.margin = '5px'")


def above_the_middle(page: Page) -> tuple[float, float]:
    x, y = middle_of(page, '#pad')
    return x, y - 20


def hold_and_disturb(phone: OperatorPage, fingers: Fingers, how: str) -> None:
    page = phone.page
    fingers.zoom(1)
    fingers.screen(*UPRIGHT, 3)
    page.evaluate("document.querySelector('#pad').style.margin = ''")
    shape = '[innerWidth, devicePixelRatio, visualViewport.scale]'
    wait_for(lambda: page.evaluate(shape) == [UPRIGHT[0], 3, 1], what='the screen')
    x, y = above_the_middle(page)
    hold(phone, lambda: fingers.press((x, y)), fingers.lift)
    disturb(page, fingers, how)
    let_go(phone, lambda step: fingers.move((x, y + step)), how)
    fingers.lift()


def test_what_moves_the_controls_lets_go(phone: OperatorPage) -> None:
    fingers = Fingers(phone.page)
    for how in DISTURBANCES:
        hold_and_disturb(phone, fingers, how)


def test_a_held_key_is_let_go_when_the_window_changes(operator: OperatorPage) -> None:
    page = operator.page
    hold(operator, lambda: page.keyboard.down('KeyW'), lambda: page.keyboard.up('KeyW'))
    page.set_viewport_size({'width': 1000, 'height': 800})
    # Auto-repeat does not count as a press.
    let_go(operator, lambda _: page.keyboard.down('KeyW'), 'another size')
    page.keyboard.up('KeyW')


def test_no_modifier_and_no_focus_refuses_the_stop(operator: OperatorPage) -> None:
    page = operator.page
    for modifier in ('Control', 'Alt', 'AltGraph', 'Meta', 'Shift', 'CapsLock'):
        page.keyboard.down(modifier)
        page.keyboard.press('Space')
        operator.wait_for_state('stopped')
        page.keyboard.up(modifier)
        release(operator)
    # The stop works whatever other listeners do and whatever has the focus.
    page.evaluate("""() => {
        for (const type of ['keydown', 'keyup', 'keypress']) {
            document.addEventListener(type, (event) => {
                event.preventDefault();
                event.stopImmediatePropagation();
            }, {capture: true});
        }
        for (const tag of ['select', 'dialog', 'details']) {
            const element = document.body.appendChild(document.createElement(tag));
            element.id = `a-${tag}`;
            element.tabIndex = 0;
        }
        document.querySelector('#a-dialog').show();
    }""")
    for focus in ('#speed', '#disconnect', '#estop', '#a-select', '#a-dialog', '#a-details'):
        page.focus(focus)
        page.keyboard.press('Space')
        operator.wait_for_state('stopped')
        release(operator)


def test_a_stop_that_may_not_arrive_does_not_look_like_one_that_does(
    stack: Stack, operator: OperatorPage
) -> None:
    page = operator.page
    button, cap = page.locator('#estop'), page.locator('.estop-cap')
    caption = page.locator('#estop-caption')

    def ring() -> str:
        return str(cap.evaluate('it => getComputedStyle(it).borderTopStyle'))

    expect(caption).to_have_text('software stop')
    assert ring() == 'solid'
    assert 'software stop' in str(button.get_attribute('aria-label'))
    assert 'software stop' in str(button.get_attribute('title'))
    (child,) = psutil.Process(stack.bridge.pid).children()
    child.suspend()
    try:
        expect(caption).to_have_text('no answer', timeout=60_000)
        assert ring() == 'dashed'
        # Pressing it may nevertheless help.
        assert button.get_attribute('aria-disabled') == 'false'
        button.click()
        expect(page.locator('#estop-state')).to_have_text('NOT CONFIRMED')
    finally:
        child.resume()
    expect(page.locator('#estop-state')).to_have_text('STOPPED', timeout=60_000)
    expect(caption).to_have_text('software stop')
    release(operator)
    page.click('#disconnect')
    expect(caption).to_have_text('no robot')
    assert (ring(), button.get_attribute('aria-disabled')) == ('dashed', 'true')
    with page.expect_popup() as popup:
        page.click('#list .fine-print a')
    expect(popup.value.locator('#base')).to_be_visible()
    popup.value.close()
    page.click('#connect')
    operator.wait_for_state('drivable')
