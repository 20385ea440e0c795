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

"""The launch files start what they should, with command lines that the programs understand."""

from __future__ import annotations

import json
from pathlib import Path
import socket

from package_setup import entry_points, read_setup
import pytest
from starting import IS_STAND_IN, Refused, share, start, Started

ROOT = Path(__file__).resolve().parent.parent.parent
GO2 = 'go2.launch.py'
BROKER_ARGUMENTS = {'broker_url': 'https://broker.example'}
LAUNCH_FILES = sorted(path.name for path in (ROOT / 'launch').iterdir())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return arguments with which the broker that is started here disturbs nobody."""
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return {'broker_port': str(probe.getsockname()[1])}


def bridge(arguments: dict[str, str]) -> Started:
    (started,) = start(GO2, {**BROKER_ARGUMENTS, **arguments}, count=1)
    assert started.executable == 'teleop_bridge'
    return started


def test_all_launch_files_are_installed() -> None:
    installed = dict(read_setup().data_files)['share/teleop_webrtc_bridge/launch']
    assert sorted(Path(path).name for path in installed) == LAUNCH_FILES
    assert LAUNCH_FILES == [
        'broker.launch.py',
        'demo.launch.py',
        'fleet.launch.py',
        'go2.launch.py',
    ]


def test_all_parameter_files_are_installed() -> None:
    installed = dict(read_setup().data_files)['share/teleop_webrtc_bridge/config']
    assert sorted(installed) == [
        'config/broker.yaml',
        'config/fleet.yaml',
        'config/go2.yaml',
        'config/twist_mux.yaml',
    ]


def test_the_executables_exist(here: dict[str, str]) -> None:
    started = {process.executable for process in start('demo.launch.py', here, count=3)}
    assert started == set(entry_points())


@pytest.mark.skipif(not IS_STAND_IN, reason='asks the stand-in')
@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_every_argument_is_described(name: str) -> None:
    import launch

    entities = launch.load(ROOT / 'launch' / name).entities
    arguments = [entity for entity in entities if hasattr(entity, 'default_value')]
    assert arguments
    for argument in arguments:
        assert len(argument.description) > 10
    names = {argument.name for argument in arguments}
    if name not in ('broker.launch.py', 'fleet.launch.py'):
        assert names >= {'robot_id', 'params_file', 'namespace', 'broker_url', 'use_sim_time'}
    assert 'log_level' in names


def test_the_node_reads_the_robot_s_parameter_file() -> None:
    started = bridge({})
    assert started.params_files == [str(share() / 'config/go2.yaml')]
    assert Path(started.params_files[0]).is_file()


@pytest.mark.parametrize('robot_id', ['007', 'true', '1e3', 'go2-a', 'a b', "it's", 'ü: [x]', '~'])
def test_robot_id_stays_a_string(robot_id: str) -> None:
    rcl_yaml = pytest.importorskip('yaml')
    written = bridge({'robot_id': robot_id}).parameters['robot_id']
    assert written.startswith('"')
    assert json.loads(written) == rcl_yaml.safe_load(written) == robot_id


def test_the_command_line_wins_over_the_file() -> None:
    arguments = bridge({'robot_id': 'go2-a'}).arguments
    # rcl: the last one of -p and --params-file wins.
    assert arguments.index('robot_id:="go2-a"') > arguments.index('--params-file')


def test_what_is_not_given_is_left_to_the_file() -> None:
    assert set(bridge({}).parameters) == {'broker_url'}


def test_topics_and_names() -> None:
    started = bridge(
        {'namespace': 'go2_a', 'image_topic': '/front/image', 'cmd_vel_topic': 'cmd_vel_teleop'}
    )
    assert started.remappings == {
        '__node': 'teleop_bridge',
        '__ns': '/go2_a',
        'image': '/front/image',
        'cmd_vel': 'cmd_vel_teleop',
    }


def test_topics_by_default() -> None:
    remappings = bridge({}).remappings
    assert (remappings['image'], remappings['cmd_vel']) == ('camera/image_raw', 'cmd_vel')


def test_another_broker() -> None:
    parameters = bridge({'api_key_file': '/etc/key', 'use_sim_time': 'true'}).parameters
    assert parameters == {
        'broker_url': '"https://broker.example"',
        'api_key_file': '"/etc/key"',
        'use_sim_time': 'true',
    }


def test_without_broker_url_one_is_started_and_awaited(
    here: dict[str, str], tmp_path: Path
) -> None:
    broker, node = start(GO2, {**here, 'log_level': 'warn'}, count=2)
    state_dir = str(tmp_path / 'teleop_webrtc_bridge')
    port = here['broker_port']
    assert (broker.executable, node.executable) == ('teleop_broker', 'teleop_bridge')
    own = broker.arguments[: broker.arguments.index('--ros-args')]
    assert own == (
        *('--host', '127.0.0.1', '--port', port, '--state-dir', state_dir),
        *('--log-level', 'warning', '--login-link'),
    )
    assert node.parameters == {
        'broker_url': f'"http://127.0.0.1:{port}"',
        'api_key_file': f'"{state_dir}/robot_api_key"',
    }


@pytest.mark.skipif(not IS_STAND_IN, reason='decides what the broker writes')
@pytest.mark.parametrize(
    ('output', 'count'),
    [
        ((), 1),
        ((b'Operator page: http://127.0.0.1:8765/',), 1),
        ((b'Operator page: http://x/#token=t\n', b'Operator page: http://x/#token=t\n'), 2),
        ((b'Operator page: http://x/ (sign-in ', b'link: /a b/operator_page_link)\n'), 2),
    ],
)
def test_the_node_starts_once_and_not_before_the_broker_is_ready(
    output: tuple[bytes, ...], count: int
) -> None:
    assert len(start(GO2, {}, count=count, output=output)) == count


@pytest.mark.skipif(not IS_STAND_IN, reason='asks the stand-in')
@pytest.mark.parametrize('name', [name for name in LAUNCH_FILES if name != 'fleet.launch.py'])
def test_the_end_of_a_process_ends_the_launch(name: str) -> None:
    import launch

    output = (b'Operator page: http://127.0.0.1:8765/#token=t\n',)
    for node in launch.run(ROOT / 'launch' / name, {}, output).started:
        assert node.on_exit.reason
        assert node.output == 'screen'


@pytest.mark.parametrize(
    'arguments',
    [
        {'namespace': 'go2-a'},
        {'namespace': 'go2 a'},
        {'params_file': '/does/not/exist.yaml'},
        {'use_sim_time': 'maybe'},
        {'log_level': 'loud'},
    ],
)
def test_what_cannot_work_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(Refused):
        start(GO2, {**BROKER_ARGUMENTS, **arguments}, count=1)


def test_the_broker_alone_leaves_to_its_file_what_is_not_given() -> None:
    (broker,) = start('broker.launch.py', {'log_level': 'debug', 'port': '18799'}, count=1)
    own = broker.arguments[: broker.arguments.index('--ros-args')]
    config_file = str(share() / 'config/broker.yaml')
    assert own == ('--config', config_file, '--log-level', 'debug', '--port', '18799')
    assert Path(config_file).is_file()


def test_the_demo_hands_its_arguments_on(here: dict[str, str]) -> None:
    arguments = {**here, 'robot_id': '007', 'namespace': 'one', 'use_sim_time': 'true'}
    started = {it.executable: it for it in start('demo.launch.py', arguments, count=3)}
    node, robot = started['teleop_bridge'], started['simulated_robot']
    assert node.parameters['robot_id'] == '"007"'
    assert node.parameters['use_sim_time'] == robot.parameters['use_sim_time'] == 'true'
    assert node.remappings['__ns'] == robot.remappings['__ns'] == '/one'
