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
import os
from pathlib import Path
import random
import sys

import pytest
from sensor_msgs.msg import Image

from teleop_webrtc_bridge.link.frame_slot import create_slot, Frame, FrameReader, FrameWriter
from teleop_webrtc_bridge.pixel_formats import PIXEL_FORMATS
from teleop_webrtc_bridge.ros.image_intake import ImageIntake

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

NOW_S = 5000.0


class Camera:
    """An intake on a real slot, a clock, and what it said."""

    def __init__(self, slot: int, wake: int) -> None:
        self.writer = FrameWriter(slot, wake)
        self.reader = FrameReader(slot)
        self.told: list[str] = []
        self.intake = ImageIntake(self.writer, self.told.append)
        self.intake.wanted_fps = 30.0
        self.now = NOW_S

    def show(self, message: Image, *, age_s: float = 0.05) -> Frame | None:
        """Take an image, a second after the last one; return the frame that came of it."""
        self.now += 1.0
        before = self.reader.newest()
        self.intake.accept(message, self.now, age_s)
        after = self.reader.newest()
        if before is not None and after is not None and after.sequence == before.sequence:
            return None
        return after


@pytest.fixture
def camera() -> Iterator[Camera]:
    slot, wake = create_slot(), os.eventfd(0, os.EFD_NONBLOCK)
    camera = Camera(slot, wake)
    yield camera
    camera.writer.close()
    os.close(slot)
    os.close(wake)


def picture(
    encoding: str = 'bgr8',
    *,
    width: int = 6,
    height: int = 4,
    padding: int = 0,
    fill: int = 9,
    spare: int = 0,
) -> Image:
    pixel = PIXEL_FORMATS.get(encoding)
    step = width * (pixel.bytes_per_pixel if pixel else 2) + padding
    return Image(
        width=width,
        height=height,
        step=step,
        encoding=encoding,
        data=bytes([fill]) * (step * height + spare),
    )


# --- good images -----------------------------------------------------------------------------


@pytest.mark.parametrize('encoding', sorted(PIXEL_FORMATS))
@pytest.mark.parametrize('padding', [0, 10])
def test_every_known_encoding_goes_into_the_slot_as_it_is(
    camera: Camera, encoding: str, padding: int
) -> None:
    message = picture(encoding, padding=padding, spare=5)
    frame = camera.show(message)
    assert frame is not None
    header = frame.header
    assert (header.width, header.height, header.step) == (6, 4, message.step)
    assert header.encoding == encoding
    assert bytes(frame.data) == bytes(message.data)[: message.step * 4]
    assert camera.intake.counters == {'received': 1, 'sent': 1}
    assert camera.told == []


def test_the_capture_time_is_what_the_header_says(camera: Camera) -> None:
    frame = camera.show(picture(), age_s=0.08)
    assert frame is not None
    assert frame.header.capture_s == pytest.approx(camera.now - 0.08)


@pytest.mark.parametrize('age_s', [-0.5, 11.0, 1.7e9, float('nan')])
def test_a_stamp_of_another_clock_counts_as_now(camera: Camera, age_s: float) -> None:
    frame = camera.show(picture(), age_s=age_s)
    assert frame is not None
    assert frame.header.capture_s == camera.now


def test_nothing_is_copied_while_nobody_watches(camera: Camera) -> None:
    camera.intake.wanted_fps = 0.0
    assert camera.show(picture()) is None
    assert camera.intake.counters == {'received': 1}
    assert camera.intake.last_received_s == camera.now


# --- bad images ------------------------------------------------------------------------------


def broken(**fields: object) -> Image:
    message = picture()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


BAD = {
    'no width': broken(width=0),
    'no height': broken(height=0),
    'nothing at all': Image(),
    'too wide': broken(width=9000, step=27000),
    'too high': broken(height=2**32 - 1),
    'short step': broken(step=17),
    'no step': broken(step=0),
    'huge step': broken(step=2**31),
    'no data': broken(data=b''),
    'one byte short': broken(data=bytes(71)),
    'unknown encoding': picture('bayer_rggb16'),
    'no encoding': broken(encoding=''),
}


@pytest.mark.parametrize('kind', sorted(BAD))
def test_a_bad_image_is_dropped_and_said_once_and_the_next_good_one_goes_through(
    camera: Camera, kind: str
) -> None:
    for _ in range(3):
        assert camera.show(BAD[kind]) is None
    assert camera.intake.counters == {'received': 3, 'unusable': 3}
    assert len(camera.told) == 1
    assert '\n' not in camera.told[0]
    frame = camera.show(picture(fill=3))
    assert frame is not None
    assert set(frame.data) == {3}
    assert len(camera.told) == 1


def test_different_faults_are_said_each_but_not_without_end(camera: Camera) -> None:
    for width in range(100):
        camera.show(broken(width=9000 + width, step=40000))
    assert 2 <= len(camera.told) <= 40


def test_an_unknown_encoding_names_cv_bridge_and_what_works_without(camera: Camera) -> None:
    assert camera.show(picture('16UC1')) is None
    assert "'16UC1' needs cv_bridge" in camera.told[0]
    for encoding in PIXEL_FORMATS:
        assert encoding in camera.told[0]


# --- cv_bridge -------------------------------------------------------------------------------

#: Converts '16UC1' by dropping the low byte; refuses everything else like the real one.
STAND_IN = """
from sensor_msgs.msg import Image

class CvBridgeError(TypeError):
    pass

class CvBridge:
    def imgmsg_to_cv2(self, image, desired_encoding):
        if image.encoding == 'explodes':
            raise RuntimeError('assertion failed in OpenCV')
        if image.encoding != '16UC1' or desired_encoding != 'bgr8':
            raise CvBridgeError(f'no conversion from {image.encoding}')
        return image

    def cv2_to_imgmsg(self, image, encoding):
        data = b''.join(bytes([value]) * 3 for value in bytes(image.data)[1::2])
        return Image(
            width=image.width, height=image.height, step=3 * image.width,
            encoding=encoding, data=data,
        )
"""


@pytest.fixture
def with_cv_bridge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / 'cv_bridge'
    folder.mkdir()
    (folder / '__init__.py').write_text(STAND_IN, encoding='utf-8')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop('cv_bridge', None)


@pytest.mark.usefixtures('with_cv_bridge')
def test_an_encoding_that_only_cv_bridge_knows_is_converted_by_it(camera: Camera) -> None:
    message = picture('16UC1', fill=200)
    frame = camera.show(message)
    assert frame is not None
    assert (frame.header.encoding, frame.header.step) == ('bgr8', 18)
    assert bytes(frame.data) == bytes([200]) * (18 * 4)
    assert camera.told == []


@pytest.mark.usefixtures('with_cv_bridge')
@pytest.mark.parametrize('encoding', ['nonsense', 'explodes'])
def test_what_cv_bridge_cannot_convert_either_is_dropped(camera: Camera, encoding: str) -> None:
    for _ in range(2):
        assert camera.show(picture(encoding)) is None
    assert len(camera.told) == 1
    assert 'cv_bridge cannot convert' in camera.told[0]
    assert camera.show(picture()) is not None


# --- pacing ----------------------------------------------------------------------------------


def stream(camera: Camera, *, fps: float, seconds: float, jitter_s: float) -> int:
    """Return how many frames of a camera went through."""
    source = random.Random(1)
    message = picture()
    before = camera.intake.counters['sent']
    start_s = camera.now
    for number in range(round(fps * seconds)):
        now = start_s + number / fps + source.uniform(-jitter_s, jitter_s)
        camera.intake.accept(message, now, 0.05)
    camera.now = start_s + seconds
    return camera.intake.counters['sent'] - before


@pytest.mark.parametrize('rate', [29.97, 30.0])
@pytest.mark.parametrize('jitter_s', [0.0, 0.004, 0.02])
def test_a_camera_of_the_wanted_rate_loses_no_frame_to_its_jitter(
    camera: Camera, rate: float, jitter_s: float
) -> None:
    assert stream(camera, fps=rate, seconds=60.0, jitter_s=jitter_s) == round(rate * 60.0)


@pytest.mark.parametrize(('rate', 'wanted'), [(60.0, 30.0), (100.0, 30.0), (30.0, 10.0)])
def test_a_faster_camera_is_thinned_to_the_wanted_rate(
    camera: Camera, rate: float, wanted: float
) -> None:
    camera.intake.wanted_fps = wanted
    sent = stream(camera, fps=rate, seconds=20.0, jitter_s=0.001)
    assert sent == pytest.approx(wanted * 20.0, rel=0.02)


def test_a_slower_camera_goes_through_as_it_is(camera: Camera) -> None:
    assert stream(camera, fps=10.0, seconds=10.0, jitter_s=0.02) == 100


def test_the_first_frame_after_nobody_watched_is_not_waited_for(camera: Camera) -> None:
    camera.intake.wanted_fps = 1.0
    stream(camera, fps=30.0, seconds=3.0, jitter_s=0.0)
    camera.intake.wanted_fps = 30.0
    sent = stream(camera, fps=30.0, seconds=1.0, jitter_s=0.0)
    assert sent >= 29


def test_a_camera_that_stood_still_does_not_burst_afterwards(camera: Camera) -> None:
    stream(camera, fps=30.0, seconds=1.0, jitter_s=0.0)
    camera.now += 10.0
    assert stream(camera, fps=120.0, seconds=1.0, jitter_s=0.0) <= 32
