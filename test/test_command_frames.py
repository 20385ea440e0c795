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

"""Which commands mean the base, by the name of their device."""

from __future__ import annotations

import pytest

from teleop_webrtc_bridge.command_frames import check_frames, CommandFrames, DEFAULT_REFUSED
from teleop_webrtc_bridge.exceptions import ConfigurationError
from teleop_webrtc_bridge.messages import DriveCommand, Velocity


def command(frame_id: str, channel: str = '') -> DriveCommand:
    return DriveCommand(
        seq=1, stamp_s=1.0, frame_id=frame_id, velocity=Velocity(linear_x=1.0), channel=channel
    )


@pytest.mark.parametrize(
    'frame_id',
    [
        *('eef_twist_arm', 'eef_twist_xarm_arm', 'eef', 'left_eef', 'EEF', 'eefTwistArm'),
        *('left', 'right', 'LEFT', 'Right', ' left', 'left\n', 'left\0', '/left', 'ｌｅｆｔ'),
        *('arm', 'arm1', 'left_arm', 'left-arm', 'left arm', 'Left/Arm', 'leftArm', 'arm_base'),
        *('xarm7', 'gripper', 'gripper_left', 'right_gripper', 'left_hand', 'wrist_3_link'),
        *('tool0', 'tool_frame', 'tcp', 'ee_link', 'end_effector', 'end-effector', 'manipulator'),
    ],
)
def test_what_means_an_arm_is_refused_however_it_is_spelled(frame_id: str) -> None:
    refused = CommandFrames().refused(command(frame_id))
    assert refused is not None
    assert refused.isprintable()


@pytest.mark.parametrize(
    'frame_id',
    [
        *('', ' ', 'keyboard', 'vr', 'gamepad', 'touch', 'joystick', 'base_link', 'cmd_vel'),
        *('alarm', 'farm', 'swarm', 'headset', 'left_stick', 'toolbar', 'feed', 'teleop'),
        *('\ufffd\ufffd', 'k' * 4000),
    ],
)
def test_everything_else_means_the_base(frame_id: str) -> None:
    assert CommandFrames().refused(command(frame_id)) is None


def test_the_channel_of_the_newer_framing_counts_as_well() -> None:
    frames = CommandFrames()
    assert frames.refused(command('keyboard', 'eef_twist_arm')) == 'eef_twist_arm'
    assert frames.refused(command('keyboard', 'cmd_unreliable')) is None


def test_the_owner_says_what_is_refused() -> None:
    frames = CommandFrames(['PTZ*', 'pan tilt', '', 'unit[0-9]'])
    for frame_id in ('ptz_1', 'Pan-Tilt', 'unit7'):
        assert frames.refused(command(frame_id)) is not None
    for frame_id in ('left', 'unitx', ''):
        assert frames.refused(command(frame_id)) is None
    assert CommandFrames(['']).refused(command('left')) is None
    assert CommandFrames(['[']).refused(command('left')) is None


@pytest.mark.parametrize('patterns', [['x' * 129], ['a\nb'], ['x'] * 129])
def test_patterns_that_cannot_be_meant_are_refused(patterns: list[str]) -> None:
    with pytest.raises(ConfigurationError, match='command_frames_refused'):
        check_frames(patterns)


def test_the_defaults_are_allowed() -> None:
    assert check_frames(list(DEFAULT_REFUSED)) == list(DEFAULT_REFUSED)
