"""fleet.launch.py starts one bridge per robot, and refuses invalid files with one line."""

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

import pytest
from starting import IS_STAND_IN, Refused, share, start, Started
from tree import ROOT

FLEET = 'fleet.launch.py'

pytest.importorskip('yaml')


@pytest.fixture
def robots_file(tmp_path: Path) -> Path:
    return tmp_path / 'robots.yaml'


def fleet(robots_file: Path, text: str, *, count: int, **arguments: str) -> list[Started]:
    robots_file.write_text(text)
    started = start(FLEET, {'robots_file': str(robots_file), **arguments}, count=count)
    assert [it.executable for it in started] == ['teleop_bridge'] * count
    return started


def test_the_example_starts_two_robots() -> None:
    one, two = start(FLEET, {'broker_url': 'https://broker.example'}, count=2)
    assert one.remappings == {
        '__node': 'teleop_bridge',
        '__ns': '/go2_a',
        'image': 'camera/image_raw',
        'cmd_vel': 'cmd_vel',
    }
    assert two.remappings['__ns'] == '/go2_b'
    assert two.remappings['cmd_vel'] == 'cmd_vel_teleop'
    assert one.parameters == {'robot_id': '"go2-a"', 'broker_url': '"https://broker.example"'}
    assert two.parameters['max_linear_x'] == '0.6'
    assert one.params_files == [str(share() / 'config/go2.yaml')]


@pytest.mark.parametrize(
    ('robot_id', 'namespace'),
    [('go2-a', 'go2_a'), ('007', '_007'), ('a b/c', 'a_b_c'), ('ü', '_'), ('Go2', 'Go2')],
)
def test_the_namespace_follows_from_the_id(
    robots_file: Path, robot_id: str, namespace: str
) -> None:
    entry = json.dumps({'robot_id': robot_id})
    (started,) = fleet(robots_file, f'robots: [{entry}]', count=1)
    assert started.remappings['__ns'] == f'/{namespace}'
    assert json.loads(started.parameters['robot_id']) == robot_id


def test_everything_that_may_be_said_of_a_robot(robots_file: Path) -> None:
    (robots_file.parent / 'own.yaml').write_text('')
    (started,) = fleet(
        robots_file,
        """
        robots:
          - robot_id: 'a'
            namespace: '/floor_1/a'
            image_topic: '/front'
            cmd_vel_topic: 'drive'
            params_file: 'own.yaml'
            limits: {max_linear_x: 1, max_angular_z: 0.5}
        """,
        count=1,
        api_key_file='/etc/key',
        use_sim_time='true',
    )
    assert started.remappings == {
        '__node': 'teleop_bridge',
        '__ns': '/floor_1/a',
        'image': '/front',
        'cmd_vel': 'drive',
    }
    assert started.params_files == [str(robots_file.parent / 'own.yaml')]
    assert started.parameters == {
        'robot_id': '"a"',
        'api_key_file': '"/etc/key"',
        'max_linear_x': '1.0',
        'max_angular_z': '0.5',
        'use_sim_time': 'true',
    }
    assert started.arguments.index('max_linear_x:=1.0') > started.arguments.index('--params-file')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', "must be a map with one key, 'robots'"),
        ('- robot_id: a', "must be a map with one key, 'robots'"),
        ('robots: []', "must be a map with one key, 'robots'"),
        ('robots: [{robot_id: a}]\nrobot: 1', "must be a map with one key, 'robots'"),
        ('robots: [', 'is not YAML; line'),
        ('robots: [7]', 'robot 1: 7 is not a map'),
        ('robots: [{}]', 'robot 1: robot_id is required'),
        ("robots: [{robot_id: ''}]", "robot 1: robot_id: '' is not a text"),
        ('robots: [{robot_id: 007}]', 'robot 1: robot_id: 7 is not a text; quote'),
        ('robots: [{robot_id: true}]', 'robot 1: robot_id: True is not a text'),
        ('robots: [{robot_id: "a\\nb"}]', 'is not a text'),
        (f'robots: [{{robot_id: {"x" * 65}}}]', 'with 1 to 64 characters'),
        ('robots: [{robot_id: a, name: b}]', "robot 1: unknown key 'name'; allowed: robot_id"),
        ('robots: [{robot_id: a, namespace: a-b}]', "namespace: 'a-b' is not usable"),
        ('robots: [{robot_id: a, params_file: none.yaml}]', 'none.yaml is not a file'),
        ('robots: [{robot_id: a, limits: 1}]', 'limits: 1 is not a map'),
        ('robots: [{robot_id: a, limits: {max_speed: 1}}]', "unknown limit 'max_speed'"),
        ('robots: [{robot_id: a, limits: {max_linear_x: fast}}]', "max_linear_x: 'fast' is not"),
        ('robots: [{robot_id: a, limits: {max_linear_x: -1}}]', 'is not a number from 0.0'),
        ('robots: [{robot_id: a, limits: {max_linear_x: .nan}}]', 'is not a number from 0.0'),
        ('robots: [{robot_id: a, limits: {max_linear_x: true}}]', 'is not a number from 0.0'),
        ('robots: [{robot_id: a}, {robot_id: a}]', "1 and 2 have the same robot_id 'a'"),
        ('robots: [{robot_id: a-b}, {robot_id: a_b}]', "the same namespace 'a_b'; give each"),
        (
            'robots: [{robot_id: a}, {robot_id: b, namespace: /a}]',
            "1 and 2 have the same namespace '/a'",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(robots_file: Path, text: str, said: str) -> None:
    with pytest.raises(Refused) as raised:
        fleet(robots_file, text, count=1)
    if IS_STAND_IN:
        (line,) = str(raised.value.__cause__).splitlines()
        assert line.startswith(f'{robots_file}: ')
        assert said in line


def running(**arguments: str) -> Any:
    """Return the run of the example's two robots."""
    import launch

    return launch.run(ROOT / 'launch' / FLEET, arguments, ())


needs_stand_in = pytest.mark.skipif(not IS_STAND_IN, reason='asks the stand-in')


@needs_stand_in
@pytest.mark.parametrize('status', [-9, -27, 1])
def test_a_robot_whose_bridge_has_failed_comes_back_and_the_others_go_on(status: int) -> None:
    run = running(respawn_delay='0.5')
    one, _ = run.started
    for _ in range(3):
        assert run.end(one, status) == 0.5
    assert run.shutdown == ''


@needs_stand_in
@pytest.mark.parametrize('status', [0, 2])
def test_a_robot_that_was_refused_or_has_left_stays_away_and_the_others_go_on(status: int) -> None:
    run = running()
    one, two = run.started
    assert run.end(one, status) is None
    assert run.shutdown == ''
    assert run.end(two, -9) == 1.0


@needs_stand_in
@pytest.mark.parametrize(('statuses', 'last'), [((2, 2), 1), ((0, 0), 0), ((2, 0), 0)])
def test_the_launch_ends_with_its_last_robot(statuses: tuple[int, int], last: int) -> None:
    run = running()
    for node, status in zip(run.started, statuses, strict=True):
        assert run.shutdown == ''
        assert run.end(node, status) is None
    assert run.shutdown
    assert run.status == last


@needs_stand_in
def test_without_respawn_a_robot_that_has_failed_stays_away_and_the_others_go_on() -> None:
    run = running(respawn='false')
    one, two = run.started
    assert run.end(one, -9) is None
    assert run.shutdown == ''
    assert run.end(two, -9) is None
    assert run.status == 1


def test_params_file_of_the_command_line_is_relative_to_where_one_is(
    robots_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / 'here'
    here.mkdir()
    (here / 'own.yaml').write_text('')
    monkeypatch.chdir(here)
    (started,) = fleet(robots_file, 'robots: [{robot_id: a}]', count=1, params_file='own.yaml')
    assert started.params_files == ['own.yaml']


@pytest.mark.parametrize('where', ['argument', 'file'])
def test_the_home_folder_is_found(
    robots_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'own.yaml').write_text('')
    own = ", params_file: '~/own.yaml'" if where == 'file' else ''
    robots_file.write_text(f'robots: [{{robot_id: a{own}}}]')
    arguments = {'robots_file': f'~/{robots_file.name}', 'api_key_file': '~/key'}
    if where == 'argument':
        arguments['params_file'] = '~/own.yaml'
    (started,) = start(FLEET, arguments, count=1)
    assert started.params_files == [str(tmp_path / 'own.yaml')]
    assert started.parameters['api_key_file'] == f'"{tmp_path}/key"'


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        start(FLEET, {'robots_file': str(tmp_path / 'none.yaml')}, count=1)
