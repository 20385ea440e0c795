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
from contextlib import contextmanager
import os
from pathlib import Path
import random
import struct
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from teleop_webrtc_bridge.bridge.link.frame_slot import (
    create_slot,
    Frame,
    FrameReader,
    FrameWriter,
)
from teleop_webrtc_bridge.bridge.ros.camera import image_intake
from teleop_webrtc_bridge.bridge.ros.camera.image_intake import ImageIntake
from teleop_webrtc_bridge.bridge.webrtc.video.conversion import FrameConverter
from teleop_webrtc_bridge.core.exceptions import PictureUndecodable
from teleop_webrtc_bridge.core.video.pixel_formats import PIXEL_FORMATS
from teleop_webrtc_bridge.core.video.serialized_image import (
    read_compressed_image,
    read_image,
    SerializedCompressedImage,
    SerializedImage,
)

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

NOW_S = 5000.0


def received(
    message: Image | CompressedImage, memory: memoryview | None = None
) -> SerializedImage | SerializedCompressedImage:
    """Return the image as a subscription delivers it, in the given memory if any."""
    serialized = memoryview(serialize_message(message))
    if memory is not None:
        memory[: len(serialized)] = serialized
        serialized = memory[: len(serialized)]
    if isinstance(message, Image):
        return read_image(serialized)
    return read_compressed_image(serialized)


class Camera:
    """An intake on a real slot, a clock, and its warnings."""

    def __init__(self, slot: int, wake: int, *, in_place: bool = False) -> None:
        self._in_place = in_place
        self.writer = FrameWriter(slot, wake)
        self.reader = FrameReader(slot)
        self.told: list[str] = []
        self.intake = ImageIntake(self.writer, self.told.append)
        self.intake.wanted_fps = 30.0
        self.now = NOW_S

    def show(self, message: Image | CompressedImage, *, age_s: float = 0.05) -> Frame | None:
        """Accept an image, one second after the last one; return the resulting frame."""
        self.now += 1.0
        before = self.reader.newest()
        memory = self.intake.memory() if self._in_place else None
        self.intake.accept(received(message, memory), self.now, age_s)
        after = self.reader.newest()
        if before is not None and after is not None and after.sequence == before.sequence:
            return None
        return after


@contextmanager
def opened(*, in_place: bool = False) -> Iterator[Camera]:
    slot, wake = create_slot(), os.eventfd(0, os.EFD_NONBLOCK)
    camera = Camera(slot, wake, in_place=in_place)
    try:
        yield camera
    finally:
        camera.writer.close()
        os.close(slot)
        os.close(wake)


@pytest.fixture(params=['in the slot', 'by rclpy'])
def camera(request: pytest.FixtureRequest) -> Iterator[Camera]:
    """Both ways to take messages."""
    with opened(in_place=request.param == 'in the slot') as camera:
        yield camera


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
    size = pixel.data_bytes(step, height) if pixel else step * height
    return Image(
        width=width,
        height=height,
        step=step,
        encoding=encoding,
        data=bytes([fill]) * (size + spare),
    )


# --- good images ---------------------------------------------------------------------------------


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
    assert bytes(frame.data) == bytes(message.data)[:-5]
    assert not header.is_bigendian
    assert camera.intake.counters == {'received': 1, 'sent': 1}
    assert camera.told == []


def test_the_byte_order_goes_along(camera: Camera) -> None:
    message = picture('mono16')
    message.is_bigendian = 1
    frame = camera.show(message)
    assert frame is not None
    assert frame.header.is_bigendian


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


def test_a_viewer_who_leaves_while_an_image_is_taken_ends_nothing(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The node's thread sets it, between any two reads of the image thread.
    rates = iter([30.0])
    monkeypatch.setattr(
        ImageIntake, 'wanted_fps', property(lambda intake: next(rates, 0.0)), raising=False
    )
    assert camera.show(picture()) is not None


# --- bad images ----------------------------------------------------------------------------------


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
    'unknown encoding': picture('32SC1'),
    'half a cell of colour': broken(width=1, step=2, encoding='yuyv'),
    'no second plane': broken(width=6, step=18, encoding='nv12'),
    'neither JPEG nor PNG': CompressedImage(format='h264', data=bytes(100)),
    'no compressed data': CompressedImage(format='jpeg'),
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
    assert camera.show(picture('32SC1')) is None
    assert "'32SC1' needs cv_bridge" in camera.told[0]
    for encoding in PIXEL_FORMATS:
        assert encoding in camera.told[0]


# --- cv_bridge -----------------------------------------------------------------------------------

# --- compressed ----------------------------------------------------------------------------------


def jpeg(width: int, height: int) -> bytes:
    """Return the beginning of a JPEG: two other segments, then the frame's header."""
    application = b'\xff\xe0' + struct.pack('>H', 16) + bytes(14)
    # Its marker lies among those of frames; cameras may put it first.
    huffman = b'\xff\xff\xc4' + struct.pack('>H', 16) + bytes(14)
    return (
        b'\xff\xd8'
        + application
        + huffman
        + b'\xff\xc0'
        + struct.pack('>HBHH', 17, 8, height, width)
    )


def png(width: int, height: int) -> bytes:
    return b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sII', 13, b'IHDR', width, height)


@pytest.mark.parametrize(
    ('said', 'encoding'),
    [
        ('16UC1; png compressed ', 'png'),
        ('png', 'png'),
        ('', 'png'),
        ('rgb16; png compressed bgr16', 'png'),
        ('mono16; png compressed mono16', 'png/mono16'),
        ('mono16; png compressed ', 'png/mono16'),
        ('Y16; png', 'png/mono16'),
    ],
)
def test_what_a_png_was_before_is_known_to_who_decodes_it(
    camera: Camera, said: str, encoding: str
) -> None:
    frame = camera.show(CompressedImage(format=said, data=png(64, 48)))
    assert frame is not None
    assert frame.header.encoding == encoding


def test_compressed_depth_is_the_png_behind_its_header(camera: Camera) -> None:
    data = png(64, 48) + b'pixels'
    message = CompressedImage(format='16UC1; compressedDepth png', data=bytes(12) + data)
    frame = camera.show(message)
    assert frame is not None
    assert (frame.header.encoding, bytes(frame.data)) == ('png', data)
    assert (frame.header.width, frame.header.height) == (64, 48)


def test_compressed_depth_that_is_no_plain_png_is_refused_and_told(camera: Camera) -> None:
    for said in ('32FC1; compressedDepth png', '16UC1; compressedDepth rvl'):
        assert camera.show(CompressedImage(format=said, data=bytes(100))) is None
    assert '16UC1 as PNG is allowed' in camera.told[0]
    assert 'neither JPEG nor PNG' in camera.told[1]


@pytest.mark.parametrize(('encoding', 'head'), [('jpeg', jpeg), ('png', png)])
def test_a_compressed_image_goes_into_the_slot_as_it_is(
    camera: Camera, encoding: str, head: Callable[[int, int], bytes]
) -> None:
    data = head(640, 480) + b'picture'
    # What it is, its own first bytes say: cameras write many things into the format.
    frame = camera.show(CompressedImage(format='rgb8; whatever', data=data))
    assert frame is not None
    assert (frame.header.encoding, frame.header.width, frame.header.height) == (encoding, 640, 480)
    assert bytes(frame.data) == data
    assert camera.told == []


@pytest.mark.parametrize('head', [jpeg, png])
@pytest.mark.parametrize('size', [(8192, 8192), (9000, 2), (0, 480), (65535, 65535)])
def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(
    camera: Camera, head: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    for _ in range(3):
        assert camera.show(CompressedImage(format='jpeg', data=head(*size) + b'bomb')) is None
    assert camera.intake.counters['unusable'] == 3
    assert len(camera.told) == 1
    assert f'{size[0]}x{size[1]}' in camera.told[0]
    assert camera.show(CompressedImage(format='jpeg', data=head(64, 64))) is not None


HEADS = [jpeg(64, 48), jpeg(64, 48)[:9], png(9, 9)]
ANY_IMAGE = st.builds(
    Image,
    width=st.integers(0, 2**32 - 1) | st.integers(0, 40),
    height=st.integers(0, 2**32 - 1) | st.integers(0, 40),
    step=st.integers(0, 2**32 - 1) | st.integers(0, 200),
    is_bigendian=st.integers(0, 255),
    encoding=st.sampled_from([*PIXEL_FORMATS, '', 'nonsense', 'ü']),
    data=st.binary(max_size=4000),
)
ANY_COMPRESSED = st.builds(
    CompressedImage,
    format=st.text(max_size=9),
    data=st.binary(max_size=200)
    | st.builds(
        bytes.__add__, st.sampled_from([jpeg(64, 48), jpeg(64, 48)[:9], png(9, 9)]), st.binary()
    ),
)


@settings(max_examples=100, deadline=None)
@given(images=st.lists(ANY_IMAGE | ANY_COMPRESSED, min_size=1, max_size=4))
def test_no_header_does_more_than_lose_its_image(images: list[Image | CompressedImage]) -> None:
    with opened() as camera:
        converter = FrameConverter()
        for image in images:
            frame = camera.show(image)
            if frame is None:
                continue
            try:
                shown = converter.convert(frame, max_width_px=64, scale=1.0)
            except PictureUndecodable:
                continue
            assert shown is not None
            assert shown.width % 2 == shown.height % 2 == 0
        assert camera.intake.counters['received'] == len(images)
        assert camera.show(picture()) is not None


# --- a picture to drive by -----------------------------------------------------------------------


def test_a_robot_without_a_camera_is_not_stalled(camera: Camera) -> None:
    assert not camera.intake.is_stalled(camera.now)


def test_a_camera_that_never_sent_an_image_is_stalled_from_the_start(camera: Camera) -> None:
    camera.intake.expected = True
    assert camera.intake.is_stalled(camera.now)
    camera.show(picture())
    assert not camera.intake.is_stalled(camera.now)
    assert not camera.intake.is_stalled(camera.now + 0.99)
    assert camera.intake.is_stalled(camera.now + 1.01)


def test_images_that_cannot_be_shown_do_not_count_as_a_picture_to_drive_by(camera: Camera) -> None:
    camera.show(picture())
    for _ in range(2):
        camera.show(picture('nonsense'))
    assert camera.intake.is_stalled(camera.now)
    camera.show(picture())
    assert not camera.intake.is_stalled(camera.now)


def test_images_beyond_the_wanted_rate_count_like_the_last_that_was_taken(camera: Camera) -> None:
    camera.intake.wanted_fps = 0.1
    for _ in range(2):
        camera.show(picture())
    for _ in range(3):
        camera.show(picture('nonsense'))  # not due: nobody looks at it
    assert camera.intake.counters['unusable'] == 0
    assert not camera.intake.is_stalled(camera.now)
    camera.now += 20.0
    for _ in range(5):
        camera.show(picture('nonsense'))
    assert 0 < camera.intake.counters['unusable'] < 5
    assert camera.intake.is_stalled(camera.now)


def test_the_frame_that_keeps_the_track_alive_is_grey_and_of_the_last_size(camera: Camera) -> None:
    camera.show(picture(width=20, height=10))
    camera.intake.keep_alive(camera.now)
    frame = camera.reader.newest()
    assert frame is not None
    assert (frame.header.width, frame.header.height, set(frame.data)) == (20, 10, {128})
    assert frame.header.capture_s == camera.now
    assert camera.intake.counters == {'received': 1, 'sent': 1, 'grey': 1}


# --- cv_bridge -----------------------------------------------------------------------------------

#: Converts '32SC1' by dropping the low byte; refuses everything else like the real one.
STAND_IN = """
from sensor_msgs.msg import Image

class CvBridgeError(TypeError):
    pass

class CvBridge:
    def imgmsg_to_cv2(self, image, desired_encoding):
        if image.encoding == 'explodes':
            raise RuntimeError('assertion failed in OpenCV')
        if image.encoding != '32SC1' or desired_encoding != 'bgr8':
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


@pytest.fixture(autouse=True)
def looked_for_anew() -> Iterator[None]:
    """Clear the cached lookup of cv_bridge."""
    image_intake.find_cv_bridge.cache_clear()
    yield
    image_intake.find_cv_bridge.cache_clear()


class Importer:
    """Counts the lookups of cv_bridge."""

    def __init__(self) -> None:
        self.looked = 0

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        self.looked += name == 'cv_bridge'


def test_a_missing_cv_bridge_is_looked_for_once(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = Importer()
    monkeypatch.setattr(sys, 'meta_path', [importer, *sys.meta_path])
    for _ in range(5):
        assert camera.show(picture('32SC1')) is None
    assert importer.looked == 1
    assert camera.intake.counters['unusable'] == 5


@pytest.mark.usefixtures('with_cv_bridge')
def test_an_encoding_that_only_cv_bridge_knows_is_converted_by_it(camera: Camera) -> None:
    message = picture('32SC1', fill=200)
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


# --- pacing --------------------------------------------------------------------------------------


def stream(camera: Camera, *, fps: float, seconds: float, jitter_s: float) -> int:
    """Return the number of frames that passed."""
    source = random.Random(1)
    message = received(picture())
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


@pytest.mark.parametrize(
    'message',
    [
        picture('x\n' * 100_000),
        picture('rgb8' + 'x' * 100_000),
        CompressedImage(format='jpeg\0' * 100_000, data=b'none'),
        CompressedImage(format='compressedDepth' + '\n' * 100_000, data=b'none'),
    ],
)
def test_what_a_message_calls_itself_is_cut_where_it_is_told(
    camera: Camera, message: Image | CompressedImage
) -> None:
    assert camera.show(message) is None
    camera.now += 1.5
    for text in (camera.told[-1], camera.intake.remark(camera.now - 1.0)):
        assert 0 < len(text) < 1000
        assert text.isprintable()


def test_why_a_message_is_none_is_cut(camera: Camera) -> None:
    camera.intake.refuse('because\n' * 10_000, camera.now)
    assert 0 < len(camera.intake.remark(camera.now)) < 300
