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

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import dataclasses
import importlib.util
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.exceptions import ParameterImmutableException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from tree import ROOT
import yaml

from teleop_webrtc_bridge.bridge.ros.parameters.declaration import (
    declare,
    declare_cameras,
    descriptor,
)
from teleop_webrtc_bridge.bridge.ros.parameters.row import Parameter
from teleop_webrtc_bridge.bridge.ros.parameters.table import (
    API_KEY_VARIABLE,
    CameraSettings,
    PARAMETERS,
    read_api_key,
    refuse_unknown,
    Settings,
)
from teleop_webrtc_bridge.core.configuration import CameraConfiguration
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

KEY = 'dtk_live_0123456789abcdef0123456789abcdef01234567'
CONFIGURATION = ROOT / 'config' / 'go2.yaml'
#: What every robot sets for itself.
PER_ROBOT = {'robot_id', 'robot_name', 'robot_type', 'broker_url'}
ROWS = {row.name: row for row in PARAMETERS}


@contextmanager
def node_with(overrides: Mapping[str, Any]) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context)
    node = Node(
        'parameters',
        context=context,
        start_parameter_services=False,
        parameter_overrides=[RosParameter(name, value=it) for name, it in overrides.items()],
    )
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


@pytest.fixture
def node() -> Iterator[Node]:
    with node_with({}) as node:
        yield node


# --- what the program refuses ----------------------------------------------------------------


def start(*arguments: str, key: str | None = KEY) -> tuple[int, str]:
    """Run the program; return its status and its output."""
    environment = {name: value for name, value in os.environ.items() if name != API_KEY_VARIABLE}
    if key is not None:
        environment[API_KEY_VARIABLE] = key
    found = subprocess.run(
        [sys.executable, '-m', 'teleop_webrtc_bridge.bridge.ros.main', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=60.0,
        check=False,
    )
    return found.returncode, found.stdout


def refusal(*arguments: str, key: str | None = KEY) -> str:
    """Return the one line with which the program refuses to run."""
    status, printed = start('--ros-args', *arguments, key=key)
    assert status == 2, printed
    lines = printed.splitlines()
    assert len(lines) == 1, printed
    assert lines[0].startswith('teleop_bridge: ')
    assert KEY not in printed
    return lines[0].removeprefix('teleop_bridge: ')


@pytest.mark.real_programs
@pytest.mark.parametrize(
    ('name', 'value', 'allowed'),
    [
        ('video_codec', 'av1', 'h264, vp8'),
        ('image_transport', 'theora', 'raw, compressed, h264, ffmpeg'),
        ('image_reliability', 'often', 'auto, reliable, best_effort'),
        ('command_timeout', '5.0', 'from 0.05 to 1.0 s'),
        ('command_timeout', '1', 'a number with a decimal point'),
        ('command_timeout', '.nan', 'from 0.05 to 1.0 s'),
        ('max_linear_x', '-.inf', 'from 0.0 to 10.0 m/s'),
        ('max_angular_z', '"fast"', 'from 0.0 to 10.0 rad/s'),
        ('video_bitrate', '1', 'from 150000 to 20000000 bit/s'),
        ('video_fps', '[30.0]', 'from 1.0 to 120.0 Hz'),
        ('publish_stamped', '1', 'true or false'),
        ('robot_id', '007', 'text (quote what looks like a number)'),
        ('robot_id', 'x' * 65, '64 printable characters'),
        ('broker_url', 'http://192.0.2.7:8765', 'https://HOST'),
        ('api_key_file', '/nonexistent/key', 'a readable file'),
        ('api_key_file', '/', 'a readable file'),
    ],
)
def test_a_bad_value_ends_the_program_with_one_line_that_says_what_is_allowed(
    name: str, value: str, allowed: str
) -> None:
    line = refusal('-p', f'{name}:={value}')
    assert line.startswith(f'{name}: ')
    assert allowed in line
    assert value.strip('"-[].0')[:3] in line


@pytest.mark.real_programs
@pytest.mark.skipif(
    importlib.util.find_spec('ffmpeg_image_transport_msgs') is not None,
    reason='ffmpeg_image_transport_msgs is installed',
)
def test_a_transport_whose_package_is_missing_ends_the_program_with_its_name() -> None:
    assert refusal('-p', 'image_transport:=ffmpeg') == (
        "image_transport: 'ffmpeg' is not usable; allowed: ffmpeg with "
        'ffmpeg_image_transport_msgs installed (ros-$ROS_DISTRO-ffmpeg-image-transport-msgs), '
        'or raw, compressed, h264'
    )


@pytest.mark.real_programs
def test_a_mistyped_name_is_refused_with_a_suggestion() -> None:
    assert refusal('-p', 'max_liner_x:=0.1') == (
        "parameter: 'max_liner_x' is not usable; allowed: did you mean max_linear_x?"
    )


@pytest.mark.real_programs
def test_a_mistyped_name_in_a_file_is_refused_too(tmp_path: Path) -> None:
    file = tmp_path / 'robot.yaml'
    file.write_text('/**:\n  ros__parameters:\n    max_liner_x: 0.1\n', encoding='utf-8')
    assert 'did you mean max_linear_x?' in refusal('--params-file', str(file))


@pytest.mark.real_programs
def test_a_missing_parameter_file_is_named() -> None:
    assert '/nonexistent/robot.yaml' in refusal('--params-file', '/nonexistent/robot.yaml')


@pytest.mark.real_programs
@pytest.mark.parametrize(
    ('options', 'line'),
    [
        (['cameras:=front'], "cameras: 'front' is not usable; allowed: a list of texts"),
        (['cameras:=[1, 2]'], "cameras: '[1, 2]' is not usable; allowed: a list of texts"),
        (['cameras:=[]'], "parameter: '[]' is not usable; allowed: a value: "),
        (['cameras:=[front, "2nd"]'], "cameras: '2nd' is not usable; allowed: letters, digits"),
        (['cameras:=[front/left]'], "cameras: 'front/left' is not usable; allowed: letters"),
        (['cameras:=[front, rear, front]'], "cameras: 'front' is not usable; allowed: each name"),
        (['cameras:=[video_fps]'], "cameras: 'video_fps' is not usable; allowed: names that no"),
        (['cameras:=[a, b, c, d, e, f, g, h, i]'], 'allowed: 8 names at most'),
        (
            ['cameras:=[a, b]', 'stereo_cameras:=[b, a]'],
            "stereo_cameras: ['b', 'a'] is not usable; allowed: two of ['a', 'b'] in this order",
        ),
        (['cameras:=[a, b]', 'stereo_cameras:=[a]'], "['a'] is not usable; allowed: two of"),
        (['cameras:=[a, b]', 'stereo_cameras:=[a, a]'], "['a', 'a'] is not usable; allowed:"),
        (['cameras:=[a, b]', 'stereo_cameras:=[a, c]'], "['a', 'c'] is not usable; allowed:"),
        (
            ['stereo_cameras:=[left, right]'],
            "stereo_cameras: ['left', 'right'] is not usable; allowed: two cameras",
        ),
        (
            ['cameras:=[front]', 'front.topik:=a'],
            "parameter: 'front.topik' is not usable; allowed: did you mean front.topic?",
        ),
        (
            ['cameras:=[front]', 'rear.topic:=a'],
            "cameras: ['front'] is not usable; allowed: a list with rear: rear.topic is set",
        ),
        (
            ['rear.video_fps:=5.0'],
            'cameras: [] is not usable; allowed: a list with rear: rear.video_fps is set',
        ),
        (['cameras:=[front]', 'front.topic:=a b'], "front.topic: 'a b' is not usable"),
        (
            ['cameras:=[front]', 'front.video_fps:=0.5'],
            "front.video_fps: '0.5' is not usable; allowed: a number with a decimal point from 1",
        ),
        (
            ['cameras:=[front]', 'front.image_transport:=carrier_pigeon'],
            "front.image_transport: 'carrier_pigeon' is not usable; allowed: raw, compressed",
        ),
    ],
)
def test_cameras_that_cannot_work_are_refused(options: list[str], line: str) -> None:
    refused = refusal(*(word for option in options for word in ('-p', option)))
    assert line in refused


@pytest.mark.real_programs
def test_without_a_key_the_variable_and_the_parameter_are_named() -> None:
    line = refusal(key=None)
    assert line.startswith(f'{API_KEY_VARIABLE}: ')
    assert 'api_key_file' in line


@pytest.mark.real_programs
def test_an_unusable_key_is_not_shown(tmp_path: Path) -> None:
    line = refusal(key=f'{KEY} {KEY}')
    assert line.startswith(f'{API_KEY_VARIABLE}: ')
    assert '(not shown)' in line
    file = tmp_path / 'key'
    file.write_text(f'{KEY}\n{KEY}\n', encoding='ascii')
    assert refusal('-p', f'api_key_file:={file}').startswith('api_key_file: ')


@pytest.mark.real_programs
def test_an_argument_that_is_not_of_ros_is_refused() -> None:
    status, printed = start('--robot-id', 'a')
    assert status == 2
    assert "'--robot-id'" in printed
    assert '--ros-args' in printed


# --- the table -------------------------------------------------------------------------------


def test_the_configuration_file_lists_the_table_with_its_defaults() -> None:
    document = yaml.safe_load(CONFIGURATION.read_text('utf-8'))
    given = document['/**']['ros__parameters']
    assert list(given) == list(ROWS)
    for name, row in ROWS.items():
        if name not in PER_ROBOT:
            assert given[name] == row.default, name
        assert type(given[name]) is type(row.default), name


def test_without_names_there_is_one_camera_as_ever(node: Node) -> None:
    settings = declare(node)
    (camera,) = declare_cameras(node, settings)
    assert camera == CameraSettings(
        name='image',
        topic='image',
        transport='raw',
        reliability='auto',
        fps=30.0,
        max_width_px=1280,
    )
    assert camera.configuration() == CameraConfiguration(name='image', max_width_px=1280)


def test_each_camera_has_parameters_of_its_own_and_inherits_the_rest() -> None:
    given = {
        'cameras': ['front', 'rear'],
        'image_transport': 'compressed',
        'rear.topic': 'camera_rear/image_raw',
        'rear.image_transport': 'raw',
        'rear.video_fps': 10.0,
        'rear.video_max_width': 320,
    }
    with node_with(given) as node:
        front, rear = declare_cameras(node, declare(node))
        refuse_unknown(list(given), ['front', 'rear'])
        assert front == CameraSettings(
            name='front',
            topic='front/image',
            transport='compressed',
            reliability='auto',
            fps=30.0,
            max_width_px=1280,
            is_named=True,
        )
        assert rear == CameraSettings(
            name='rear',
            topic='camera_rear/image_raw',
            transport='raw',
            reliability='auto',
            fps=10.0,
            max_width_px=320,
            is_named=True,
        )
        for name in ('front.topic', 'rear.video_fps', 'rear.image_reliability'):
            described = node.describe_parameter(name)
            assert described.read_only
            assert 'camera ' in described.description
        (result,) = node.set_parameters([RosParameter('rear.video_fps', value=20.0)])
        assert 'read-only' in result.reason


def test_the_table_and_the_settings_name_the_same_parameters() -> None:
    assert [field.name for field in dataclasses.fields(Settings)] == list(ROWS)


@pytest.mark.parametrize('row', PARAMETERS, ids=lambda row: row.name)
def test_every_parameter_is_described_and_its_default_is_allowed(row: Parameter) -> None:
    described = descriptor(row)
    assert row.description
    assert not row.description.endswith('.')
    assert described.read_only is not row.dynamic
    assert row.checked(row.default) == row.default
    if type(row.default) in (int, float):
        assert row.unit
        assert row.unit in described.description
        assert row.bounds is not None
        assert row.bounds[0] <= row.default <= row.bounds[1]
    assert row.allowed()


def test_what_changes_identity_network_or_topics_is_read_only() -> None:
    dynamic = {row.name for row in PARAMETERS if row.dynamic}
    limits = {name for name in ROWS if name.startswith('max_')}
    latency = {'latency_budget', 'latency_speed_floor'}
    assert dynamic == {'command_timeout', 'blind_speed_factor', *latency, *limits}


def test_no_parameter_can_hold_a_secret() -> None:
    assert not [name for name in ROWS if name.endswith(('key', 'token', 'password', 'secret'))]


# --- while the node runs ---------------------------------------------------------------------


def test_the_defaults_are_declared(node: Node) -> None:
    settings = declare(node)
    assert dataclasses.asdict(settings) == {row.name: row.default for row in PARAMETERS}
    limits = settings.limits()
    assert limits.command_timeout_s == 0.25
    assert limits.max_axes == (1.0, 0.5, 0.0, 0.0, 0.0, 1.5)
    assert limits.max_acceleration == (2.5, 2.5, 2.5, 6.0, 6.0, 6.0)
    assert limits.blind_speed_factor == 0.3


@pytest.mark.parametrize(
    ('name', 'value'),
    [(row.name, row.default) for row in PARAMETERS if not row.dynamic],
    ids=lambda value: str(value),
)
def test_a_read_only_parameter_cannot_be_set(node: Node, name: str, value: object) -> None:
    declare(node)
    (result,) = node.set_parameters([RosParameter(name, value=value)])
    assert not result.successful
    assert 'read-only' in result.reason
    with pytest.raises(ParameterImmutableException):
        node.undeclare_parameter(name)


@pytest.mark.parametrize('row', [row for row in PARAMETERS if row.dynamic], ids=lambda r: r.name)
def test_a_dynamic_parameter_is_set_within_its_range_only(node: Node, row: Parameter) -> None:
    declare(node)
    assert row.bounds is not None
    low, high = row.bounds
    (result,) = node.set_parameters([RosParameter(row.name, value=high)])
    assert result.successful, result.reason
    for bad in (high + 0.01, low - 0.01, float('nan'), float('inf'), 1, 'fast'):
        (result,) = node.set_parameters([RosParameter(row.name, value=bad)])
        assert not result.successful, bad
    assert node.get_parameter(row.name).value == high


def test_known_names_and_those_of_rclpy_are_not_refused() -> None:
    refuse_unknown([*ROWS, 'use_sim_time', 'qos_overrides./cmd_vel.publisher.depth'])
    with pytest.raises(ConfigurationError, match='robot_id, .*video_fps'):
        refuse_unknown(['something_else_altogether'])


# --- the key ---------------------------------------------------------------------------------


def test_the_key_comes_from_the_file_before_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, 'x' * 40)
    assert read_api_key('') == 'x' * 40
    file = tmp_path / 'key'
    file.write_text(f'  {KEY}\n', encoding='ascii')
    assert read_api_key(str(file)) == KEY


@pytest.mark.parametrize(
    'bad', [b'', b'short', b'\xff' * 40, b'x' * 257, b'a b' * 10, b'\x00' * 40]
)
def test_a_file_without_a_usable_key_is_refused_and_not_shown(tmp_path: Path, bad: bytes) -> None:
    file = tmp_path / 'robot_key'
    file.write_bytes(bad)
    with pytest.raises(ConfigurationError, match='^api_key_file: ') as refused:
        read_api_key(str(file))
    assert not bad or bad.decode('latin-1') not in str(refused.value)


def test_the_name_of_a_robot_falls_back_to_its_id(node: Node) -> None:
    settings = declare(node)

    def name(**fields: str) -> str:
        changed = dataclasses.replace(settings, **fields)
        return changed.bridge_configuration(
            instance_id='i', api_key=KEY, clock_ahead_s=0.0, cameras=()
        ).robot_name

    assert name(robot_name='Rex', robot_id='a') == 'Rex'
    assert name(robot_id='a') == 'a'
    assert name() == 'robot'
