"""The codec that a robot has to send, and the reason given to people who cannot receive it."""

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

from dataclasses import replace

import pytest
from test_registry import ALICE, beat, ROBOT

from teleop_webrtc_bridge.broker.limits import Limits
from teleop_webrtc_bridge.broker.registry.registry import Registry
from teleop_webrtc_bridge.broker.registry.sessions import NewSession, SnapshotChanged
from teleop_webrtc_bridge.core.messages import VideoCodec

H264, VP8 = VideoCodec.H264, VideoCodec.VP8
BOTH = (H264, VP8)
Codecs = tuple[VideoCodec, ...]


def dialled(codecs: Codecs) -> Registry:
    registry = Registry(Limits())
    identity = NewSession(
        session_id='s1',
        owner='alice',
        key_id='key',
        robot_id='',
        robot_name='Go2',
        robot_type=None,
        instance_id=None,
        media_id='robot',
        created_at='',
        video_codecs=codecs,
    )
    registry.robots.create(identity, 0.0)
    return registry


def drive(registry: Registry, takes: Codecs | None) -> None:
    claim = registry.operators.claim('s1', ALICE, 0.0)
    registry.operators.attach('s1', claim, 'driver', 0.0, video_codecs=takes)


def watch(registry: Registry, media_id: str, takes: Codecs | None) -> None:
    somebody = replace(ALICE, sub=media_id, tenant_name='alice')
    registry.viewers.attach('s1', somebody, media_id, 0.0, video_codecs=takes)


def told(registry: Registry) -> VideoCodec | None:
    return registry.robots.answer_heartbeat('s1', ROBOT).video_codec


@pytest.mark.parametrize(
    ('driver', 'viewers', 'codec'),
    [
        (None, [], H264),
        (BOTH, [], H264),
        ((VP8,), [], VP8),
        ((VP8,), [BOTH], VP8),
        ((VP8,), [(H264,)], VP8),
        (BOTH, [(VP8,)], H264),
        ((H264,), [(VP8,)], H264),
        # The operator supports no codec of the robot, or has not reported any: the viewers decide.
        ((), [(VP8,)], VP8),
        (None, [(VP8,)], VP8),
        (None, [(VP8,), BOTH], H264),
        (None, [None, (VP8,)], VP8),
        (None, [()], H264),
    ],
)
def test_what_the_operator_takes_decides_then_what_any_viewer_takes(
    driver: Codecs | None, viewers: list[Codecs | None], codec: VideoCodec
) -> None:
    registry = dialled(BOTH)
    for number, takes in enumerate(viewers):
        watch(registry, f'viewer{number}', takes)
    drive(registry, driver)
    assert told(registry) is codec


def test_without_an_operator_the_viewers_decide() -> None:
    registry = dialled(BOTH)
    watch(registry, 'viewer', (VP8,))
    assert told(registry) is VP8
    drive(registry, BOTH)
    assert told(registry) is H264
    registry.leave('s1', ALICE, 'driver', 0.0)
    assert told(registry) is VP8


@pytest.mark.parametrize('codecs', [(), (H264,), (VP8,)])
def test_a_robot_that_has_no_choice_is_told_nothing(codecs: Codecs) -> None:
    registry = dialled(codecs)
    drive(registry, (VP8,))
    assert told(registry) is None
    assert registry.robots.other_codecs() == []


def test_a_held_heartbeat_is_answered_when_the_codec_is_to_be_another() -> None:
    registry = dialled(BOTH)
    told(registry)
    beat(registry)
    assert not registry.robots.has_news('s1')
    watch(registry, 'viewer', (VP8,))
    assert registry.robots.has_news('s1')
    assert registry.robots.other_codecs() == [SnapshotChanged(session_id='s1')]
    told(registry)
    assert not registry.robots.has_news('s1')
    assert registry.robots.other_codecs() == []


def test_what_an_answer_takes_counts_from_then_on() -> None:
    registry = dialled(BOTH)
    drive(registry, None)
    watch(registry, 'viewer', BOTH)
    assert told(registry) is H264
    registry.note_codecs('s1', 'driver', (VP8,))
    assert told(registry) is VP8
    registry.note_codecs('s1', 'viewer', (H264,))
    assert registry.video_reason('s1', 'viewer') is not None
    registry.note_codecs('s1', 'nobody', (H264,))
    assert told(registry) is VP8


def test_who_cannot_take_what_is_sent_is_told_which_codec_and_why() -> None:
    registry = dialled(BOTH)
    watch(registry, 'old', (VP8,))
    watch(registry, 'new', BOTH)
    watch(registry, 'silent', None)
    reason = 'No picture: this robot sends H.264 for {}, and this browser takes VP8 only.'
    assert registry.video_reason('s1', 'old') == reason.format('its other viewers')
    drive(registry, BOTH)
    assert registry.video_reason('s1', 'old') == reason.format('its operator')
    for fine in ('new', 'silent', 'driver', 'nobody'):
        assert registry.video_reason('s1', fine) is None


@pytest.mark.parametrize(
    ('sends', 'takes', 'reason'),
    [
        ((H264,), (VP8,), 'this robot sends H.264 only, and this browser takes VP8 only'),
        ((VP8,), (H264,), 'this robot sends VP8 only, and this browser takes H.264 only'),
        (BOTH, (), 'this robot sends H.264 and VP8 only, and this browser takes neither'),
        ((H264,), (), 'this robot sends H.264 only, and this browser takes neither'),
        ((), (VP8,), None),
    ],
)
def test_who_can_take_nothing_of_a_robot_is_told_so(
    sends: Codecs, takes: Codecs, reason: str | None
) -> None:
    registry = dialled(sends)
    drive(registry, takes)
    said = registry.video_reason('s1', 'driver')
    assert said == (None if reason is None else f'No picture: {reason}.')
