"""Which commands mean the base, by the name of their device."""

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

import pytest

from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import DriveCommand, Velocity
from teleop_webrtc_bridge.core.motion.command_frames import (
    check_frames,
    CommandFrames,
    DEFAULT_REFUSED,
)


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
        *(
            'leftarm',
            'rightarm',
            'LEFTARM',
            'robotarm',
            'larm',
            'rarm',
            'LArm',
            'armleft',
            'l_arm',
        ),
        *('lefthand', 'righthand', 'lhand', 'hand1', 'leftgripper', 'hand_left', 'handLeft'),
        *('endeffector', 'endEffector', 'eetwist', 'eeTwist', 'EETwist', 'tcp_twist', 'tcp_left'),
        *('left_tcp', 'flange', 'left1', 'left_1', 'left-1', 'right2', 'jaw', 'claw', 'bimanual'),
        *('left_controller', 'right_controller', 'controller_left', 'vr_left', 'vr_right'),
        *(
            'quest_left',
            'questLeft',
            'VRLeft',
            'left\u200b',
            'le\u200bft',
            'left\u0301',
            'left+arm',
        ),
        *('dualarm', 'manualarm', 'ur5arm', 'ur5e_arm', '2fingergripper', 'swarm_arm', 'arm/base'),
        *('left_hand_controller', 'armcontroller', 'dual_arms', 'forearm', 'keyboard_arm'),
        *(
            '(left)',
            'left|',
            '\u2066left\u2069',
            'lfinger',
            'finger_tip',
            'toolframe',
            'toolflange',
        ),
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
        *('joy', 'mouse', 'touchpad', 'quest', 'web', 'base', 'old', 'test', 'soak', 'cmd'),
        *('/keyboard', 'Keyboard', 'KEYBOARD', 'keyboard1', 'gamepad_2', 'joy0', 'xbox', 'ps5'),
        *('hand_controller', 'hand-held', 'handheld', 'HandHeld', 'finger_touch', 'fingertouch'),
        *('two_finger_touch', 'twoFingerTouch', 'tool_box', 'toolBox', 'leftStick', 'leftstick'),
        *('left_joystick', 'right_thumbstick', 'farm_robot', 'swarm3', 'upright', 'page', 'phone'),
        *('steering_wheel', 'pedals', 'virtual_joystick', 'webxr', 'oculus', 'headless', 'agent'),
        *('teleop_twist_keyboard', 'map', 'odom', 'base_footprint', 'handle', 'charm', 'handler'),
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
    for frame_id in ('my_ptz', 'pan_tilt_2', 'unit_7_unit7'):
        assert frames.refused(command(frame_id)) is not None
    for frame_id in ('left', 'unitx', '', 'pan', 'tilt_pan', 'pan_and_tilt'):
        assert frames.refused(command(frame_id)) is None
    assert CommandFrames(['']).refused(command('left')) is None
    assert CommandFrames(['[']).refused(command('left')) is None


def test_the_owner_may_let_named_devices_alone_drive() -> None:
    frames = CommandFrames(['*', '!keyboard', '!left_stick'])
    for frame_id in ('keyboard', 'Keyboard2', 'left-stick'):
        assert frames.refused(command(frame_id)) is None
    for frame_id in ('gamepad', 'left', 'stick', '', '\ufffd', 'keyboard_arm'):
        assert frames.refused(command(frame_id)) == frame_id


@pytest.mark.parametrize(
    'pattern', ['_*', '/*', '*_', '**', '?', '?*', '* *', '!', '!*', '!_*', '_', '[]*', '-', '[*]']
)
def test_a_pattern_that_would_match_everything_or_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match='command_frames_refused'):
        check_frames(['left', pattern])


def test_everything_may_be_refused_on_purpose() -> None:
    assert check_frames(['*']) == ['*']
    frames = CommandFrames(check_frames([' * ']))
    for frame_id in ('keyboard', 'left', ''):
        assert frames.refused(command(frame_id)) == frame_id


def test_neither_names_nor_patterns_are_found_out_by_trying() -> None:
    # With a search that goes back, this would take longer than the universe has lasted.
    frames = CommandFrames(['*a' * 31 + 'b', '*_*a*a*_*a*a*_*a*a*b', '*_' * 31 + 'b'])
    for name in ('a' * 128, 'a_' * 64, '\ufdfa' * 128, 'aA' * 64, 'a1' * 64):
        assert frames.refused(command(name)) is None


@pytest.mark.parametrize('patterns', [['x' * 65], ['a\nb'], ['x'] * 129])
def test_patterns_that_cannot_be_meant_are_refused(patterns: list[str]) -> None:
    with pytest.raises(ConfigurationError, match='command_frames_refused'):
        check_frames(patterns)


def test_the_defaults_are_allowed() -> None:
    assert check_frames(list(DEFAULT_REFUSED)) == list(DEFAULT_REFUSED)
