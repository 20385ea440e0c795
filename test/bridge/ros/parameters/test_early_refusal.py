"""A bad configuration is refused before ROS is loaded; a good one is never refused."""

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
from contextlib import contextmanager
import math
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from tree import ROOT

from teleop_webrtc_bridge.bridge.ros.parameters.early_refusal import (
    read_arguments,
    refuse_early,
    UNCERTAIN,
)
from teleop_webrtc_bridge.bridge.ros.parameters.table import API_KEY_VARIABLE
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

KEY = 'dtk_live_0123456789abcdef0123456789abcdef01234567'
HEAVY = ('aiortc', 'asyncio', 'av', 'geometry_msgs', 'numpy', 'rclpy', 'sensor_msgs')
RUN_AND_TELL = f"""
import sys
from teleop_webrtc_bridge.bridge.ros.main import main
status = main(sys.argv)
print(status, [name for name in {HEAVY} if name in sys.modules])
"""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)


# --- what is not loaded ------------------------------------------------------------------------


@pytest.mark.real_programs
@pytest.mark.parametrize(
    'arguments',
    [
        ['--robot-id', 'a'],
        ['--ros-args', '-p', 'max_liner_x:=0.1'],
        ['--ros-args', '-p', 'command_timeout:=5.0'],
        ['--ros-args', '-p', 'robot_id:=007'],
        ['--ros-args', '-p', f'robot_id:={"x" * 65}'],
        ['--ros-args', '-p', 'broker_url:=http://192.0.2.7:8765'],
        ['--ros-args', '-p', 'api_key_file:=/nonexistent'],
        ['--ros-args', '-p', 'cameras:=[front]', '-p', 'front.video_fps:=0.5'],
        ['--ros-args', '--params-file', '/nonexistent.yaml'],
        ['--ros-args', '-r', '__node:=other', '--params-file', 'MISTYPED', '-r', '__ns:=/a'],
    ],
    ids=lambda arguments: arguments[-1][:30],
)
def test_a_refused_start_loads_neither_ros_nor_numpy_nor_av(
    arguments: list[str], tmp_path: Path
) -> None:
    mistyped = tmp_path / 'robot.yaml'
    mistyped.write_text('/**:\n  ros__parameters:\n    max_liner_x: 0.1\n')
    arguments = [str(mistyped) if it == 'MISTYPED' else it for it in arguments]
    assert _main(*arguments) == '2 []'


@pytest.mark.real_programs
def test_a_missing_key_is_found_without_loading_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE)
    assert _main() == '2 []'


def _main(*arguments: str) -> str:
    """Run the program, which prints one line; return its status and the loaded modules."""
    ended = subprocess.run(
        [sys.executable, '-c', RUN_AND_TELL, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60.0,
        check=True,
    )
    assert ended.stderr.count('\n') == 1
    assert ended.stderr.startswith('teleop_bridge: ')
    return ended.stdout.strip()


# --- what is left to rclpy ---------------------------------------------------------------------


@pytest.mark.parametrize(
    'arguments',
    [
        ['-p', 'teleop_bridge:robot_id:=7'],
        ['-p', 'robot_id'],
        ['-p', 'robot_id:='],
        ['-p', 'robot_id:={a: 1}'],
        ['-p', 'robot_id:=7', '-e', '/enclave'],
        ['-p', 'robot_id:=7', '--'],
        ['-p'],
    ],
)
def test_unusual_arguments_are_left_to_rclpy(arguments: list[str]) -> None:
    assert read_arguments(['--ros-args', *arguments]) is None
    refuse_early(['--ros-args', *arguments])


@pytest.mark.parametrize(
    'value', ['1e3', '1_000', '0x1F', '08', 'y', 'nan', 'Infinity', '~', '1:30', '!!str 5', '[]']
)
def test_a_value_that_parsers_read_differently_is_left_to_rclpy(value: str) -> None:
    assert _given('-p', f'robot_id:={value}') is UNCERTAIN
    refuse_early(['--ros-args', '-p', f'robot_id:={value}'])


@pytest.mark.parametrize('section', ['teleop_bridge', '/teleop_bridge', '/a/*', 'other', '/*'])
def test_what_is_for_certain_nodes_is_left_to_rclpy(section: str, tmp_path: Path) -> None:
    file = tmp_path / 'robot.yaml'
    file.write_text(f'{section}:\n  ros__parameters:\n    max_liner_x: 1.0\n    robot_id: 7\n')
    arguments = ['--params-file', str(file), '-p', 'robot_id:=a']
    assert _given(*arguments) is UNCERTAIN
    refuse_early(['--ros-args', *arguments])


def test_a_pipe_is_left_to_those_who_need_what_is_in_it() -> None:
    read, write = os.pipe()
    os.write(write, b'something')
    os.close(write)
    pipe = f'/dev/fd/{read}'
    refuse_early(['--ros-args', '--params-file', pipe])
    refuse_early(['--ros-args', '-p', f'api_key_file:={pipe}'])
    with os.fdopen(read, 'rb') as rest:
        assert rest.read() == b'something'


@pytest.mark.parametrize('path', ['~nobody-of-this-name/key', 'x' * 5000, '/dev/null/key'])
def test_a_path_that_cannot_be_is_refused_like_any_other(path: str) -> None:
    for arguments in (['-p', f'api_key_file:={path}'], ['--params-file', path]):
        with pytest.raises(ConfigurationError, match='a readable file'):
            refuse_early(['--ros-args', *arguments])


def _given(*arguments: str) -> Any:
    given = read_arguments(['--ros-args', *arguments])
    assert given is not None
    return given.value('robot_id', '')


def test_the_configuration_that_is_installed_passes() -> None:
    file = str(ROOT / 'config' / 'go2.yaml')
    refuse_early(['--ros-args', '-r', '__ns:=/a', '--params-file', file, '-p', 'robot_id:="1e3"'])


# --- what both read ----------------------------------------------------------------------------

NAMES = ('robot_id', 'video_fps', 'front.topic', 'front.video_fps', 'max_liner_x')
SECTIONS = ('/**', 'teleop_bridge', '/teleop_bridge', '/ns/teleop_bridge', '/*', 'other')
ODD_VALUES = (
    *('7', '-7', '007', '0', '-0', '08', '0x1F', '1_000', '12345678901234567890', '1:30', '+5'),
    *('1.0', '1.', '.5', '-1.5', '1e3', '1.5e3', '1.5e+3', '.nan', '.inf', '-.inf', 'nan', 'inf'),
    *('true', 'True', 'yes', 'y', 'on', 'off', 'N', 'null', '~', '', '-', '~/key', '/a/b', '_'),
    *('a', 'a b', '"a"', "'a'", '"1"', '"a\\u0041"', 'http://a:1/#b', 'a: b', 'a #b', 'a#b'),
    *('[a, b]', '[1, 2]', '[1.0]', '[true]', '[a, 1]', '[]', '[[a]]', '{a: 1}', '[a, "1"]'),
    *('!!str 5', '!!int "5"', '&x a', '*x', '2001-01-01', '=', '<<', 'infinite', 'nano', '|\n a'),
)
values = st.sampled_from(ODD_VALUES) | st.text('ay017.e-_:"# ', max_size=5)
parameters = st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=2)
sources = st.lists(
    st.tuples(st.just('-p'), parameters) | st.tuples(st.sampled_from(SECTIONS), parameters),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150)
@given(sources=sources, namespace=st.sampled_from(['/', '/ns']))
def test_what_is_certain_is_what_rclpy_reads(
    sources: list[tuple[str, dict[str, str]]], namespace: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ['--ros-args', '-r', f'__ns:={namespace}', '-r', '__node:=teleop_bridge']
        for number, (section, named) in enumerate(sources):
            if section == '-p':
                for key, value in named.items():
                    arguments += ['-p', f'{key}:={value}']
                continue
            file = Path(folder) / f'{number}.yaml'
            lines = [f'    {key}: {value}' for key, value in named.items()]
            file.write_text('\n'.join([f'{section}:', '  ros__parameters:', *lines, '']))
            arguments += ['--params-file', str(file)]
        found = read_arguments(arguments)
        if found is None:
            return
        with rclpy_reads(arguments) as theirs:
            if theirs is None:
                # rclpy refuses them; whatever we say about them, the start is refused.
                return
            assert found.values.keys() <= theirs.keys()
            for key in found.values:
                ours = found.value(key, None)
                assert ours is UNCERTAIN or _is_same(ours, theirs[key]), (key, ours, theirs[key])


@contextmanager
def rclpy_reads(arguments: list[str]) -> Iterator[dict[str, Any] | None]:
    context = Context()
    try:
        rclpy.init(args=['teleop_bridge', *arguments], context=context)
        node = Node(
            'teleop_bridge',
            context=context,
            enable_rosout=False,
            start_parameter_services=False,
            automatically_declare_parameters_from_overrides=True,
        )
    except Exception:  # noqa: BLE001 - of several kinds, and all of them are refusals
        context.try_shutdown()
        yield None
        return
    try:
        yield {key: it.value for key, it in node.get_parameters_by_prefix('').items()}
    finally:
        node.destroy_node()
        context.try_shutdown()


def _is_same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return ours == list(theirs)
    if isinstance(ours, float) and math.isnan(ours):
        return isinstance(theirs, float) and math.isnan(theirs)
    return type(ours) is type(theirs) and ours == theirs


# --- what is said ------------------------------------------------------------------------------

#: The program without the early refusal.
LATE = """
import sys
from teleop_webrtc_bridge.bridge.ros import main as program
program.refuse_early = lambda arguments: None
sys.exit(program.main())
"""


@pytest.mark.real_programs
@pytest.mark.parametrize(
    'options',
    [
        ['robot_id:=007'],
        ['command_timeout:=1'],
        ['command_timeout:=.nan'],
        ['command_timeout:=5.0'],
        ['publish_stamped:=1'],
        ['cameras:=[1, 2]'],
        ['cameras:=[a, b]', 'stereo_cameras:=[b, a]'],
        ['stereo_cameras:=[left, right]'],
        ['cameras:=[front]', 'front.video_fps:=0.5'],
        ['rear.video_fps:=5.0'],
        ['image_transport:=theora'],
        ['max_liner_x:=0.1'],
        ['broker_url:=http://192.0.2.7:8765'],
        ['api_key_file:=/'],
    ],
    ids=lambda options: options[-1],
)
def test_the_node_would_say_the_same(options: list[str]) -> None:
    arguments = ['--ros-args', *(word for option in options for word in ('-p', option))]
    with pytest.raises(ConfigurationError) as raised:
        refuse_early(arguments)
    late = subprocess.run(
        [sys.executable, '-c', LATE, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60.0,
        check=False,
    )
    assert late.returncode == 2
    assert late.stderr.splitlines()[-1] == f'teleop_bridge: {raised.value}'
