"""Which messages of a camera that encodes H.264 are forwarded, and count as usable."""

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

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
import os
from types import ModuleType
from typing import Any

from h264_camera import encoded, nal_units, only_sets, without_sets
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from teleop_webrtc_bridge.bridge.link.packet_ring import (
    create_ring,
    PacketReader,
    PacketWriter,
    Unit,
)
from teleop_webrtc_bridge.bridge.ros.camera.intake import MAX_WARNINGS
from teleop_webrtc_bridge.bridge.ros.camera.stream_intake import StreamIntake
from teleop_webrtc_bridge.bridge.ros.camera.transports import check_transport, TRANSPORTS
from teleop_webrtc_bridge.core.configuration import CameraKind
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.video.h264 import MAX_UNIT_BYTES
from teleop_webrtc_bridge.core.video.serialized_image import read_compressed_image

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

NOW_S = 5000.0
PERIOD_S = 1 / 30


@dataclass
class FFMPEGPacket:
    """The fields of ``ffmpeg_image_transport_msgs/FFMPEGPacket``, of which there is no wheel."""

    header: Header = field(default_factory=Header)
    width: int = 160
    height: int = 96
    encoding: str = 'libx264'
    pts: int = 0
    flags: int = 0
    is_bigendian: bool = False
    data: array[int] = field(default_factory=lambda: array('B'))


class Camera:
    """An intake on a real ring, a clock, and its warnings."""

    def __init__(self, ring: int, wake: int) -> None:
        self.writer = PacketWriter(ring, wake)
        self.reader = PacketReader(ring)
        self.told: list[str] = []
        self.intake = StreamIntake(self.writer, self.told.append)
        self.intake.wanted_fps = 30.0
        self.now = NOW_S

    def show(self, message: Any, *, age_s: float = 0.05) -> Unit | None:
        """Accept a message, one frame period after the last one; return the resulting unit."""
        self.now += PERIOD_S
        if isinstance(message, CompressedImage):
            message = read_compressed_image(serialize_message(message))
        self.intake.accept(message, self.now, age_s)
        return self.reader.next(self.now)

    def show_all(self, units: tuple[bytes, ...], *, encoding: str = 'h264') -> list[Unit | None]:
        return [self.show(CompressedImage(format=encoding, data=unit)) for unit in units]


@pytest.fixture
def camera() -> Iterator[Camera]:
    ring, wake = create_ring(), os.eventfd(0, os.EFD_NONBLOCK)
    camera = Camera(ring, wake)
    yield camera
    camera.writer.close()
    os.close(ring)
    os.close(wake)


# --- what goes on --------------------------------------------------------------------------------


@pytest.mark.parametrize('encoding', ['h264', 'H264', 'h.264', 'avc1', 'video/h264', ''])
def test_pictures_go_on_as_they_are(camera: Camera, encoding: str) -> None:
    units = encoded(25)
    found = camera.show_all(units, encoding=encoding)
    for unit, original in zip(found, units, strict=True):
        assert unit is not None
        assert nal_units(unit.data) == nal_units(original)
        assert (unit.width, unit.height) == (160, 96)
    assert camera.intake.counters == {'received': 25, 'sent': 25, 'keyframes': 3, 'lost': 0}
    assert camera.told == []


@pytest.mark.parametrize(
    'encoding',
    [
        *('libx264', 'h264', 'h264_nvenc', 'h264_vaapi', 'h264_nvmpi', 'libopenh264'),
        *('h264_v4l2m2m', 'h264;yuv420p;bgr8;bgr8', 'libx264;nv12;rgb8'),
    ],
)
def test_packets_of_ffmpeg_image_transport_go_on_as_they_are(
    camera: Camera, encoding: str
) -> None:
    for number, original in enumerate(encoded(12)):
        packet = FFMPEGPacket(
            encoding=encoding, pts=number, flags=int(number % 10 == 0), data=array('B', original)
        )
        unit = camera.show(packet)
        assert unit is not None
        assert nal_units(unit.data) == nal_units(original)
        assert unit.keyframe is (number % 10 == 0)
    assert camera.told == []


def test_the_capture_time_is_what_the_header_says(camera: Camera) -> None:
    unit = camera.show(CompressedImage(format='h264', data=encoded(1)[0]), age_s=0.08)
    assert unit is not None
    assert unit.capture_s == pytest.approx(camera.now - 0.08)


@pytest.mark.parametrize('age_s', [-0.5, 11.0, 1.7e9, float('nan')])
def test_a_stamp_of_another_clock_counts_as_now(camera: Camera, age_s: float) -> None:
    unit = camera.show(CompressedImage(format='h264', data=encoded(1)[0]), age_s=age_s)
    assert unit is not None
    assert unit.capture_s == camera.now


def test_the_frame_rate_that_is_wanted_leaves_out_none(camera: Camera) -> None:
    camera.intake.wanted_fps = 5.0
    assert None not in camera.show_all(encoded(25))


# --- while nobody watches ------------------------------------------------------------------------


def test_nothing_goes_on_while_nobody_watches_and_then_from_a_keyframe_on(camera: Camera) -> None:
    units = encoded(25)
    camera.intake.wanted_fps = 0.0
    assert camera.show_all(units[:5]) == [None] * 5
    camera.intake.wanted_fps = 30.0
    found = camera.show_all(units[5:])
    assert [unit is not None for unit in found] == [False] * 5 + [True] * 15
    assert camera.intake.counters['no_keyframe'] == 5


def test_a_camera_that_is_subscribed_anew_begins_with_a_keyframe(camera: Camera) -> None:
    units = encoded(25)
    camera.show_all(units[:3])
    assert camera.intake.is_fresh(camera.now)
    camera.intake.forget()
    assert not camera.intake.is_fresh(camera.now)
    found = camera.show_all(units[7:])
    assert [unit is not None for unit in found] == [False] * 3 + [True] * 15
    assert camera.intake.counters['lost'] == 0
    assert camera.intake.is_fresh(camera.now)


def test_what_nobody_watched_is_missing_to_who_comes_back(camera: Camera) -> None:
    units = encoded(25)
    assert None not in camera.show_all(units[:3])
    camera.intake.wanted_fps = 0.0
    assert camera.show_all(units[3:5]) == [None] * 2
    camera.intake.wanted_fps = 30.0
    found = camera.show_all(units[5:])
    assert [unit is not None for unit in found] == [False] * 5 + [True] * 15


def test_after_grey_a_keyframe_comes_first(camera: Camera) -> None:
    units = encoded(25)
    assert None not in camera.show_all(units[:5])
    camera.intake.keep_alive(camera.now)
    grey = camera.reader.next(camera.now)
    assert grey is not None
    assert (grey.data, grey.width, grey.height) == (b'', 160, 96)
    assert camera.intake.is_grey
    found = camera.show_all(units[5:])
    assert [unit is not None for unit in found] == [False] * 5 + [True] * 15
    assert not camera.intake.is_grey


# --- pictures to drive by ------------------------------------------------------------------------


def test_pictures_that_go_on_are_to_drive_by(camera: Camera) -> None:
    assert not camera.intake.is_stalled(camera.now), 'nobody has published anything'
    camera.intake.expected = True
    assert camera.intake.is_stalled(camera.now)
    camera.show_all(encoded(5))
    assert not camera.intake.is_stalled(camera.now + 0.99)
    assert camera.intake.is_stalled(camera.now + 1.01)


def test_pictures_that_wait_for_a_keyframe_are_not(camera: Camera) -> None:
    units = encoded(120, gop=60)
    camera.show_all(units[5:60])
    assert camera.intake.is_stalled(camera.now)
    assert (
        camera.intake.remark(camera.now) == 'images arrive, but cannot be shown: no keyframe yet'
    )
    camera.show_all(units[60:61])
    assert not camera.intake.is_stalled(camera.now)
    assert camera.intake.remark(camera.now) == ''


def test_pictures_after_a_loss_are_not(camera: Camera) -> None:
    units = encoded(120, gop=60)
    camera.show_all(units[:10])
    assert not camera.intake.is_stalled(camera.now)
    camera.show_all(units[11:50])
    assert camera.intake.is_stalled(camera.now)
    assert camera.intake.counters['lost'] == 1
    assert camera.intake.counters['no_keyframe'] == 39


def test_pictures_that_cannot_be_shown_are_not(camera: Camera) -> None:
    camera.show_all(encoded(5))
    camera.show_all(encoded(40, b_frames=2, options=()))
    assert camera.intake.is_stalled(camera.now)
    assert 'B-frames' in camera.intake.remark(camera.now)


def test_pictures_while_nobody_watches_keep_the_camera_from_being_called_stalled(
    camera: Camera,
) -> None:
    camera.intake.wanted_fps = 0.0
    camera.show_all(encoded(60))
    assert not camera.intake.is_stalled(camera.now)
    # A new viewer sees nothing until a keyframe; until then the last picture is theirs.
    camera.intake.wanted_fps = 30.0
    camera.show_all(encoded(120, gop=60)[1:60])
    assert camera.intake.is_stalled(camera.now)


# --- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize('encoding', ['hevc', 'h265', 'jpeg', 'bgr8; jpeg compressed bgr8'])
def test_another_format_is_refused_and_told_once(camera: Camera, encoding: str) -> None:
    assert camera.show_all(encoded(5), encoding=encoding) == [None] * 5
    assert camera.told == [f"image dropped: format '{encoding}'; browsers need 'h264'"]
    assert camera.intake.counters['unusable'] == 5


@pytest.mark.parametrize('encoding', ['hevc_nvenc', 'libx265', 'av1', 'hevc;nv12;bgr8;bgr8'])
def test_another_encoding_is_refused_and_told_once(camera: Camera, encoding: str) -> None:
    for unit in encoded(3):
        assert camera.show(FFMPEGPacket(encoding=encoding, data=array('B', unit))) is None
    (told,) = camera.told
    assert repr(encoding.partition(';')[0]) in told
    assert 'libx264' in told


def test_a_fault_is_told_once_and_many_do_not_fill_the_log(camera: Camera) -> None:
    for number in range(100):
        camera.show(CompressedImage(format=f'jpeg{number}', data=b'\xff\xd8'))
    assert len(camera.told) == 32
    camera.show_all(encoded(3))
    assert camera.intake.counters['sent'] == 3


@pytest.mark.parametrize(('gop', 'is_slow'), [(30, False), (40, False), (60, True), (120, True)])
def test_keyframes_that_are_rare_are_remarked(camera: Camera, gop: int, is_slow: bool) -> None:
    camera.show_all(encoded(130, gop=gop))
    remark = camera.intake.remark(camera.now)
    assert remark.startswith(f'a keyframe every {gop * PERIOD_S:.1f} s') is is_slow
    assert camera.intake.keyframe_interval_s == pytest.approx(gop * PERIOD_S)


@pytest.mark.parametrize(('first', 'is_late'), [(30, False), (10, True)])
def test_a_first_keyframe_that_is_late_is_told_once(
    camera: Camera, first: int, is_late: bool
) -> None:
    units = encoded(130, gop=60)
    camera.show_all(units[first:60])
    assert [told.startswith('no keyframe for 1.2 s') for told in camera.told] == [True] * is_late
    camera.show_all(units[60:])
    camera.intake.forget()
    camera.show_all(units[10:60])
    assert len(camera.told) == 1, 'nor is it told again'


def test_a_late_keyframe_is_told_after_many_other_faults(camera: Camera) -> None:
    for number in range(2 * MAX_WARNINGS):
        camera.show(CompressedImage(format=f'codec{number}', data=b'1'))
    assert len(camera.told) == MAX_WARNINGS
    camera.show_all(encoded(130, gop=60)[10:60])
    assert camera.told[MAX_WARNINGS].startswith('no keyframe for')


def test_nobody_is_told_of_keyframes_while_nobody_watches(camera: Camera) -> None:
    camera.intake.wanted_fps = 0.0
    camera.show_all(encoded(130, gop=60)[1:60])
    assert camera.told == []


# --- parameter sets ------------------------------------------------------------------------------


def test_a_camera_that_keeps_its_parameter_sets_for_itself_is_told_of_at_its_keyframe(
    camera: Camera,
) -> None:
    camera.intake.is_listening, camera.intake.wanted_fps = True, 0.0
    camera.show_all(tuple(map(without_sets, encoded(10)))[1:])
    assert camera.intake.remark(camera.now) == '', 'they may come with a keyframe'
    camera.show_all(tuple(map(without_sets, encoded(25))))
    assert 'repeat-headers=1' in camera.intake.remark(camera.now)
    (told,) = camera.told
    assert 'repeat-headers=1' in told
    assert camera.intake.sets_known_s == float('-inf')
    assert camera.intake.remark(camera.now + 30.0) == '', 'it sends nothing any more'


def test_a_camera_that_has_neither_keyframes_nor_parameter_sets_is_told_of_after_a_while(
    camera: Camera,
) -> None:
    camera.intake.is_listening, camera.intake.wanted_fps = True, 0.0
    pictures = encoded(400, gop=400)[1:]
    camera.show_all(pictures[:290])
    assert camera.told == []
    camera.show_all(pictures[290:])
    assert len(camera.told) == 1
    assert 'parameter sets' in camera.intake.remark(camera.now)


def test_parameter_sets_that_are_heard_after_all_end_the_complaint(camera: Camera) -> None:
    camera.show_all(tuple(map(without_sets, encoded(10))))
    assert 'parameter sets' in camera.intake.remark(camera.now)
    camera.show_all(encoded(3))
    assert camera.intake.remark(camera.now) == ''
    assert camera.intake.sets_known_s == camera.now


def test_what_is_no_h264_is_not_said_to_lack_parameter_sets(camera: Camera) -> None:
    camera.intake.is_listening, camera.intake.wanted_fps = True, 0.0
    camera.show_all(encoded(400, gop=400), encoding='hevc')
    assert len(camera.told) == 1
    assert 'parameter sets' not in camera.told[0]
    assert camera.intake.remark(camera.now) == ''


def test_what_is_listened_to_only_is_no_picture_to_drive_by(camera: Camera) -> None:
    camera.intake.is_listening, camera.intake.wanted_fps = True, 0.0
    assert camera.show_all(encoded(25)) == [None] * 25
    assert camera.intake.is_stalled(camera.now)
    assert not camera.intake.is_fresh(camera.now)
    assert camera.intake.sets_known_s == camera.now


def test_pictures_of_another_publisher_wait_for_parameter_sets_of_its_own(
    camera: Camera,
) -> None:
    camera.show_all(encoded(5))
    camera.intake.forget_sets(camera.now + 1.0)
    assert camera.intake.sets_known_s == float('-inf')
    large = encoded(25, width=320, height=180)
    assert camera.show_all(tuple(map(without_sets, large))) == [None] * 25
    assert None not in camera.show_all(large)


def test_an_encoder_without_keyframes_is_told_of_as_such(camera: Camera) -> None:
    params = 'bframes=0:intra-refresh=1:keyint=10'
    units = encoded(60, options=(('tune', 'zerolatency'), ('x264-params', params)))
    camera.show_all(units[5:])
    (told,) = camera.told
    assert 'intra-refresh' in told
    assert 'intra-refresh' in camera.intake.remark(camera.now)


# --- transports ----------------------------------------------------------------------------------


class FakePackage(ModuleType):
    """``ffmpeg_image_transport_msgs.msg`` where it is installed."""

    FFMPEGPacket = FFMPEGPacket


def test_the_package_of_the_packets_is_looked_for_only_where_it_is_needed() -> None:
    asked: list[str] = []

    def load(name: str) -> ModuleType:
        asked.append(name)
        return FakePackage(name)

    assert check_transport('ffmpeg', load) == 'ffmpeg'
    assert TRANSPORTS['ffmpeg'].message_type(load) is FFMPEGPacket
    assert asked == ['ffmpeg_image_transport_msgs.msg'] * 2
    for name in ('raw', 'compressed', 'h264'):
        assert check_transport(name) == name


@pytest.mark.parametrize('module', [None, ModuleType('older')])
def test_a_package_that_is_missing_is_named_as_apt_calls_it(module: ModuleType | None) -> None:
    def load(name: str) -> ModuleType:
        if module is None:
            raise ModuleNotFoundError(name)
        return module

    with pytest.raises(ConfigurationError, match='ros-.ROS_DISTRO-ffmpeg-image-transport-msgs'):
        check_transport('ffmpeg', load)


def test_pictures_that_refer_to_each_other_get_a_queue() -> None:
    for transport in TRANSPORTS.values():
        assert (transport.depth >= 10) is (transport.kind is CameraKind.H264)


def test_what_a_message_calls_itself_is_cut_where_it_is_told(camera: Camera) -> None:
    camera.show(CompressedImage(format='x\n' * 100_000, data=b'none'))
    for text in (camera.told[-1], camera.intake.remark(camera.now)):
        assert 0 < len(text) < 300
        assert text.isprintable()
    camera.intake.refuse('because\n' * 10_000, camera.now)
    assert 0 < len(camera.intake.remark(camera.now)) < 300


def test_a_keyframe_that_is_too_large_with_its_parameter_sets_ends_nothing(
    camera: Camera,
) -> None:
    units = encoded(5)
    sets, bare = only_sets(units[0]), without_sets(units[0])
    large = bare + b'\x55' * (MAX_UNIT_BYTES - len(bare))
    assert camera.show_all((sets, large)) == [None, None]
    assert camera.intake.counters['unusable'] == 1
    assert 'larger than' in camera.told[-1]
    assert camera.show(CompressedImage(format='h264', data=units[0])) is not None
