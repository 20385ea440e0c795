"""The messages themselves, whatever carries them."""

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

import dataclasses

import pytest

from teleop_webrtc_bridge.core.messages import (
    ChannelIds,
    CHANNELS,
    CMD_UNRELIABLE,
    IceServer,
    JoyState,
    MAP_UNRELIABLE,
    Origin,
    OriginRole,
    STATE_RELIABLE,
    STATE_RELIABLE_BACK,
    Velocity,
    VideoCodec,
)

AXES = ('linear_x', 'linear_y', 'linear_z', 'angular_x', 'angular_y', 'angular_z')


def test_the_axes_are_linear_then_angular() -> None:
    velocity = Velocity(**{name: float(number) for number, name in enumerate(AXES)})
    assert velocity.axes() == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.mark.parametrize('axis', AXES)
@pytest.mark.parametrize('speed', [1e-300, -0.1, float('inf'), float('nan')])
def test_only_all_zeros_are_zero(axis: str, speed: float) -> None:
    assert Velocity().is_zero()
    assert Velocity(**{axis: -0.0}).is_zero()
    assert not Velocity(**{axis: speed}).is_zero()


def test_the_ids_are_told_in_the_order_in_which_the_channels_are_opened() -> None:
    ids = ChannelIds(cmd=2, state=3, state_back=4, map=5)
    assert ids.by_label() == {
        CMD_UNRELIABLE: 2,
        STATE_RELIABLE: 3,
        STATE_RELIABLE_BACK: 4,
        MAP_UNRELIABLE: 5,
    }
    assert list(ids.by_label()) == [spec.label for spec in CHANNELS]


def test_what_answers_is_opened_before_what_listens() -> None:
    assert [spec.to_robot for spec in CHANNELS] == [False, False, True, True]


def test_a_password_is_not_shown() -> None:
    server = IceServer(urls=('turn:a.example',), username='u', credential='secret')
    assert 'secret' not in repr(server)


def test_messages_are_not_changed_after_they_were_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Velocity().linear_x = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ('origin', 'text'),
    [
        (Origin(sub='ann', role=OriginRole.VIEWER), 'ann (viewer)'),
        (
            Origin(sub='/teleop_bridge/estop_in', role=OriginRole.ROBOT),
            '/teleop_bridge/estop_in (robot)',
        ),
        (Origin(sub='', role=OriginRole.OPERATOR), 'unnamed operator'),
    ],
)
def test_who_pressed_is_told_in_one_line(origin: Origin, text: str) -> None:
    assert str(origin) == text
    assert origin.as_fields() == {'sub': origin.sub, 'role': origin.role.value}


def test_codecs_are_told_to_people_by_their_usual_names() -> None:
    assert [str(codec) for codec in VideoCodec] == ['H.264', 'VP8']


def joy(buttons: tuple[int, ...]) -> JoyState:
    return JoyState(seq=1, stamp_s=0.0, frame_id='gamepad', axes=(0.2, -0.2), buttons=buttons)


def test_a_press_of_an_earlier_state_is_added_to_a_later_one_of_the_same_device() -> None:
    assert joy((0, 1, 0)).with_presses(joy((1, 0, 0))).buttons == (1, 1, 0)
    assert joy((0, 1)).with_presses(joy((1, 0, 0))).buttons == (0, 1)


def test_a_released_device_is_neutral() -> None:
    assert not joy((0, 1)).is_neutral(0.3)
    assert not joy((0, 0)).is_neutral(0.1)
    assert joy((0, 0)).is_neutral(0.3)
    assert joy((1, 1)).released() == dataclasses.replace(joy((0, 0)), axes=(0.0, 0.0))
