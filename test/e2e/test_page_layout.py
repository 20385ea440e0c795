"""Layout of the page at the sizes of windows and phones; the page alone, without a robot."""

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

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from browser import chromium
from playwright.sync_api import Page, Route
import pytest
from tree import ROOT

pytestmark = [pytest.mark.real_programs, pytest.mark.browser]

FILES = ROOT / 'teleop_webrtc_bridge' / 'operator_page'
MESSAGE = 'Stopped by Wolfeschlegelsteinhausen, viewer. The robot stands until it is released.'
LONG_NOTE = 'by Wolfeschlegelsteinh…, viewer'
UPRIGHT, ON_ITS_SIDE, MAGNIFIED = (390, 844), (844, 390), (320, 256)
SHOW = """({state, headline, viewer, stopped, message, note, cameras, control, watchers}) => {
    const get = (id) => document.getElementById(id);
    const estop = stopped ? 'stopped' : 'clear';
    const role = viewer ? 'viewer' : 'operator';
    Object.assign(document.body.dataset, {view: 'drive', state, role, estop, reach: 'ready'});
    const texts = {
        'state': headline, 'message': message ?? '', 'robot-name': 'Simulated robot · demo-go2',
        'rtt': '1234 ms', 'latency': '1180 ms', 'fps': '30 fps', 'resolution': '1920×1080',
        'bitrate': '12.1 Mbit/s', 'commands': '50 Hz · 112 ms', 'battery': '100 %',
        'path': 'relay (TCP) · relay (TCP)', 'estop-caption': 'software stop',
        'estop-state': stopped ? 'STOPPED' : '', 'estop-note': note ?? '',
        'control-text': control ?? '', 'control-action': 'Request control',
        'watchers-toggle': 'Watched by ann and 2 more',
    };
    for (const [id, text] of Object.entries(texts)) get(id).textContent = text;
    get('estop-release').hidden = !stopped || Boolean(viewer);
    get('control').hidden = !control;
    get('watchers').hidden = !watchers;
    get('cameras').hidden = !cameras;
    get('cameras').innerHTML = ['front', 'rear', 'arm']
        .map((name) => `<button type="button"><span>${name}</span></button>`).join('');
}"""
BOXES = """(selectors) => Object.fromEntries(selectors.flatMap((selector) =>
    [...document.querySelectorAll(selector)].map((element, i) => {
        const {left, top, right, bottom} = element.getBoundingClientRect();
        // A reading that does not fit is cut off.
        const clip = element.closest('.readings')?.getBoundingClientRect();
        const isSeen = right > left && bottom > top && !(clip && top >= clip.bottom);
        return [`${selector} ${i}`, isSeen ? [left, top, right, bottom] : null];
    })).filter(([, box]) => box))"""
IS_PRESSABLE = """(selector) => {
    const element = document.querySelector(selector);
    const {left, top, right, bottom} = element.getBoundingClientRect();
    const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    return element.contains(hit) && left >= 0 && top >= 0 && right <= innerWidth &&
        bottom <= innerHeight;
}"""
STOP = ('#estop', '#estop-release', '#estop-state', '#estop-note', '#disconnect')
Box = tuple[float, float, float, float]


@pytest.fixture(scope='module')
def page(chromium_path: str) -> Iterator[Page]:
    """Open the page without its program."""

    def answer(route: Route) -> None:
        file = FILES / (route.request.url.rsplit('/', 1)[-1] or 'index.html')
        if file.suffix in ('.html', '.css', '.svg'):
            route.fulfill(path=file)
        else:
            route.fulfill(body='', content_type='text/javascript')

    with chromium(chromium_path) as browser:
        page = browser.new_page()
        page.route('**/*', answer)
        page.goto('http://page.test/')
        yield page


def show(page: Page, size: tuple[int, int], **situation: Any) -> None:
    page.set_viewport_size({'width': size[0], 'height': size[1]})
    defaults = {'state': 'drivable', 'headline': 'Ready to drive'}
    if situation.get('stopped'):
        defaults = {'state': 'stopped', 'headline': 'Stopped'}
    page.evaluate(SHOW, defaults | situation)


def boxes(page: Page, *selectors: str) -> dict[str, Box]:
    """Return the boxes of all visible elements."""
    return {name: tuple(box) for name, box in page.evaluate(BOXES, selectors).items()}


def overlapping(seen: dict[str, Box]) -> list[tuple[str, str]]:
    return [
        (one, other)
        for (one, a), (other, b) in combinations(seen.items(), 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


@pytest.mark.parametrize('width', [1024, 1180, 1181, 1279, 1280, 1366, 1440, 1600, 1920])
def test_nothing_is_printed_over_the_headline(page: Page, width: int) -> None:
    parts = ('#state', '#viewer-badge', '.readings > div', '#about-stop', '#disconnect')
    for headline in ('Ready to drive', 'Stop not confirmed', 'Reconnecting…'):
        for viewer in (False, True):
            show(page, (width, 720), headline=headline, viewer=viewer)
            seen = boxes(page, *parts)
            assert overlapping(seen) == [], (headline, viewer)
            assert {'#state 0', '.readings > div 0', '.readings > div 2'} <= set(seen)
            assert ('#viewer-badge 0' in seen) == viewer
            assert all(box[0] >= 0 and box[2] <= width for box in seen.values())
            assert page.evaluate("""() => {
                const {scrollWidth, clientWidth} = document.querySelector('#state');
                return scrollWidth <= clientWidth;
            }"""), headline


@pytest.mark.parametrize('size', [ON_ITS_SIDE, (667, 375), UPRIGHT, (360, 640), MAGNIFIED])
def test_the_headline_is_not_cut_off_on_a_phone(page: Page, size: tuple[int, int]) -> None:
    page.evaluate("document.getElementById('gamepad-toggle').hidden = false")
    for headline in ('Ready to drive', 'Watching only', 'Fahrbereit', 'Gestoppt', 'Verbinden…'):
        show(page, size, headline=headline)
        assert page.evaluate("""() => {
            const {scrollWidth, clientWidth, scrollHeight, clientHeight} =
                document.querySelector('#state');
            return scrollWidth <= clientWidth && scrollHeight <= clientHeight;
        }"""), headline
        shown = boxes(page, '#state', '#gamepad-toggle', '#disconnect')
        assert overlapping(shown) == []
        assert all(box[0] >= 0 and box[2] <= size[0] for box in shown.values())
        assert page.evaluate(IS_PRESSABLE, '#disconnect')


@pytest.mark.parametrize(
    'size', [(1280, 720), (1000, 640), UPRIGHT, (360, 640), ON_ITS_SIDE, (667, 375), MAGNIFIED]
)
def test_the_release_stays_where_it_is_when_the_note_comes(
    page: Page, size: tuple[int, int]
) -> None:
    show(page, size, stopped=True)
    before = boxes(page, '#estop-release', '#estop')
    for note in ('by you', LONG_NOTE):
        show(page, size, stopped=True, note=note)
        assert boxes(page, '#estop-release', '#estop') == before, note
        assert overlapping(boxes(page, *STOP)) == []


def test_a_magnified_page_that_is_stopped_can_be_read(page: Page) -> None:
    for viewer in (False, True):
        show(
            page,
            MAGNIFIED,
            stopped=True,
            viewer=viewer,
            message=MESSAGE,
            note=LONG_NOTE,
            cameras=not viewer,
            control='Driven by owner.' if viewer else None,
            watchers=True,
        )
        seen = boxes(page, *STOP, '#message', '.pad', '.speed', '.cameras', '.side button')
        assert overlapping(seen) == []
        assert all(box[0] >= 0 and box[2] <= MAGNIFIED[0] for box in seen.values()), seen
        pressed = '#control-action' if viewer else '#estop-release'
        for selector in ('#estop', '#disconnect', pressed):
            assert page.evaluate(IS_PRESSABLE, selector), selector


def test_a_magnified_page_can_be_driven_and_control_be_asked_for(page: Page) -> None:
    show(page, MAGNIFIED, cameras=True)
    seen = boxes(page, '#estop', '#disconnect', '.pad', '.speed', '.cameras button')
    assert len(seen) == 7
    assert overlapping(seen) == []
    show(page, MAGNIFIED, viewer=True, state='watching', control='Driven by owner.')
    assert page.evaluate(IS_PRESSABLE, '#control-action')
    assert overlapping(boxes(page, '#estop', '#disconnect', '.control')) == []
    for parts in ({'control': 'bob asks for control.'}, {'watchers': True}):
        show(page, MAGNIFIED, cameras=True, **parts)
        selector = '#control-action' if 'control' in parts else '#watchers-toggle'
        assert page.evaluate(IS_PRESSABLE, selector)


@pytest.mark.parametrize('stopped', [False, True])
def test_nothing_stands_on_the_picture_of_an_upright_phone(page: Page, stopped: bool) -> None:
    parts = {'cameras': True, 'watchers': True, 'control': 'bob asks for control.'}
    show(page, UPRIGHT, stopped=stopped, note=LONG_NOTE if stopped else '', **parts)
    panels = ('.cameras', '.control', '#watchers-toggle')
    assert overlapping(boxes(page, '#video', *panels, '.speed', '.pad')) == []
    (picture,) = boxes(page, '#video').values()
    assert picture[3] - picture[1] > 90
    assert overlapping(boxes(page, *panels, *STOP, '.speed')) == []


@pytest.mark.parametrize('cameras', [False, True])
def test_the_message_ends_beside_the_release(page: Page, cameras: bool) -> None:
    for size in (ON_ITS_SIDE, (667, 375)):
        show(page, size, stopped=True, message=MESSAGE, note=LONG_NOTE, cameras=cameras)
        seen = boxes(page, *STOP, '#message', '.cameras button')
        assert '#message 0' in seen
        assert overlapping(seen) == []
