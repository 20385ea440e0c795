"""The launch files start what they should, with command lines that the programs understand."""

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

import json
from pathlib import Path
from typing import Any

from package_setup import entry_points, read_setup
from programs import free_port
import pytest
from starting import IS_STAND_IN, Refused, share, start, Started
from tree import ROOT

GO2 = 'go2.launch.py'
BROKER_ARGUMENTS = {'broker_url': 'https://broker.example'}
BROKER_READY = b'Operator page: http://127.0.0.1:8765/#token=t\n'
LAUNCH_FILES = sorted(path.name for path in (ROOT / 'launch').iterdir())

ONE_FOR_ALL = [name for name in LAUNCH_FILES if name != 'fleet.launch.py']


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return arguments with which the broker started here disturbs no other programs."""
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    return {'broker_port': str(free_port())}


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
    # rcl: the last of -p and --params-file wins.
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


def runs(name: str, **arguments: str) -> Any:
    """Return the run of a launch file with all programs running."""
    import launch

    return launch.run(ROOT / 'launch' / name, arguments, (BROKER_READY,))


@pytest.mark.skipif(not IS_STAND_IN, reason='asks the stand-in')
@pytest.mark.parametrize('name', LAUNCH_FILES)
@pytest.mark.parametrize('status', [-9, -27, 1])
def test_a_program_that_has_failed_is_started_again_after_a_while(name: str, status: int) -> None:
    run = runs(name, respawn_delay='2.5')
    for node in run.started:
        # Restarts never end and never speed up, even if the program fails at once.
        assert [run.end(node, status) for _ in range(5)] == [2.5] * 5
    assert run.shutdown == ''
    assert {node.exec_name for node in run.started} <= set(entry_points())


@pytest.mark.skipif(not IS_STAND_IN, reason='asks the stand-in')
@pytest.mark.parametrize('name', ONE_FOR_ALL)
@pytest.mark.parametrize(
    ('status', 'respawn', 'said', 'last'),
    [
        (0, 'true', 'has ended', 0),
        (2, 'true', 'has ended with status 2', 1),
        (-9, 'false', 'has ended with status -9', 1),
        (0, 'false', 'has ended', 0),
    ],
)
def test_the_end_of_a_program_for_good_ends_the_launch(
    name: str, status: int, respawn: str, said: str, last: int
) -> None:
    for number in range(len(runs(name).started)):
        run = runs(name, respawn=respawn)
        node = run.started[number]
        assert run.end(node, status) is None
        assert run.shutdown == f'{node.exec_name} {said}'
        assert run.status == last


@pytest.mark.skipif(not IS_STAND_IN, reason='asks the stand-in')
@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_at_the_end_of_the_launch_nothing_is_made_of_how_programs_end(name: str) -> None:
    run = runs(name)
    run.context.is_shutdown = True
    for node in run.started:
        assert run.end(node, -2) is None
    assert (run.shutdown, run.status) == ('', 0)


@pytest.mark.parametrize('name', LAUNCH_FILES)
@pytest.mark.parametrize(
    'arguments',
    [
        {'respawn': 'maybe'},
        {'respawn': ''},
        *({'respawn_delay': text} for text in ('', 'soon', '0.0', '-1', 'nan', 'inf', '1e4')),
    ],
)
def test_a_respawn_that_cannot_work_is_refused(name: str, arguments: dict[str, str]) -> None:
    with pytest.raises(Refused) as raised:
        start(name, arguments, count=1)
    if IS_STAND_IN:
        (line,) = str(raised.value.__cause__).splitlines()
        assert all(f'{it!r}' in line or f'"{it}"' in line for it in arguments.values())


@pytest.mark.parametrize(
    'arguments',
    [
        {'namespace': 'go2-a'},
        {'namespace': 'go2 a'},
        {'params_file': '/does/not/exist.yaml'},
        {'params_file': '~nobody-of-this-name/own.yaml'},
        {'api_key_file': '~nobody-of-this-name/key'},
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder that contains our own files."""
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'own.yaml').write_text('')
    return tmp_path


def test_the_home_folder_is_found(home: Path) -> None:
    started = bridge({'params_file': '~/own.yaml', 'api_key_file': '~/key'})
    assert started.params_files == [str(home / 'own.yaml')]
    assert started.parameters['api_key_file'] == f'"{home}/key"'


def test_the_home_folder_is_found_by_the_demo(here: dict[str, str], home: Path) -> None:
    arguments = {**here, 'params_file': '~/own.yaml', 'broker_state_dir': '~/state'}
    started = {it.executable: it for it in start('demo.launch.py', arguments, count=3)}
    assert started['teleop_bridge'].params_files == [str(home / 'own.yaml')]
    assert str(home / 'state') in started['teleop_broker'].arguments


def test_the_home_folder_is_found_for_the_broker(home: Path) -> None:
    arguments = {'config_file': '~/own.yaml', 'state_dir': '~/state'}
    (broker,) = start('broker.launch.py', arguments, count=1)
    assert broker.arguments[:2] == ('--config', str(home / 'own.yaml'))
    assert broker.arguments[broker.arguments.index('--state-dir') + 1] == str(home / 'state')


@pytest.mark.skipif(not IS_STAND_IN, reason='starts nothing')
def test_an_empty_state_home_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_STATE_HOME', '')
    broker, _ = start(GO2, {}, count=2)
    assert str(home / '.local/state/teleop_webrtc_bridge') in broker.arguments


def demo(arguments: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the remappings of the demo's bridge and of its robot."""
    started = {it.executable: it for it in start('demo.launch.py', arguments, count=3)}
    return started['teleop_bridge'].remappings, started['simulated_robot'].remappings


def test_the_simulated_robot_follows_its_bridge(here: dict[str, str]) -> None:
    topics = {'cmd_vel_topic': '/one/drive', 'image_topic': 'eye'}
    bridge_has, robot_has = demo({**here, **topics})
    assert bridge_has['cmd_vel'] == robot_has['cmd_vel'] == '/one/drive'
    assert bridge_has['image'] == robot_has['camera/image_raw'] == 'eye'


def test_by_default_they_have_the_same_topics(here: dict[str, str]) -> None:
    bridge_has, robot_has = demo(here)
    assert bridge_has['cmd_vel'] == robot_has['cmd_vel'] == 'cmd_vel'
    assert bridge_has['image'] == robot_has['camera/image_raw'] == 'camera/image_raw'


def test_the_simulated_robot_s_other_camera_keeps_its_topic(here: dict[str, str]) -> None:
    bridge_has, robot_has = demo({**here, 'image_topic': 'camera_rear/image_raw'})
    assert bridge_has['image'] == 'camera_rear/image_raw'
    assert 'camera/image_raw' not in robot_has
