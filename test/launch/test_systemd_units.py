"""The units start the installed programs as the launch files would, or say why they cannot."""

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

import os
from pathlib import Path
import shutil
import subprocess

from package_setup import read_setup
import pytest
from systemd_unit import BRIDGE, BROKER, FOLDER, read_unit, Unit
from tree import ROOT

REFUSED = 2
#: Prints its arguments, one per line.
PROGRAM = '#!/bin/sh\necho "$0"\nprintf "%s\\n" "$@"\n'


def test_all_units_are_installed() -> None:
    installed = dict(read_setup().data_files)['share/teleop_webrtc_bridge/systemd']
    assert sorted(installed) == sorted(str(it.relative_to(ROOT)) for it in FOLDER.iterdir())


@pytest.mark.systemd
@pytest.mark.real_programs
def test_systemd_understands_them() -> None:
    if shutil.which('systemd-analyze') is None:
        pytest.skip('systemd-analyze is missing')
    said = subprocess.run(
        ['systemd-analyze', 'verify', *map(str, FOLDER.iterdir())], capture_output=True, text=True
    )
    # It also checks the machine's units on which ours depend.
    assert not [line for line in said.stderr.splitlines() if 'teleop' in line]
    assert said.returncode == 0, said.stderr


class Installation:
    """A workspace with programs that only print how they were started."""

    def __init__(self, folder: Path) -> None:
        self.setup = folder / 'my install' / 'setup.bash'
        self._prefix = folder / 'ws'
        self.setup.parent.mkdir()
        # The package that comes first on the path has no such programs.
        self.setup.write_text(f'export AMENT_PREFIX_PATH={folder}/other:{self._prefix}\n')
        self.virtual_environment = folder / 'venv'
        (self.virtual_environment / 'bin').mkdir(parents=True)

    def add(self, name: str, folder: Path | None = None) -> Path:
        program = (folder or self._prefix / 'lib/teleop_webrtc_bridge') / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(PROGRAM)
        program.chmod(0o755)
        return program

    def run(self, unit: Unit, **variables: str) -> tuple[int, list[str], str]:
        """Return the status, the output of the started program, and the errors."""
        settings = unit.settings['Environment']
        environment = dict(pair.split('=', 1) for line in settings for pair in line.split())
        environment |= {'PATH': os.environ['PATH'], **variables}
        ended = subprocess.run(unit.command, capture_output=True, text=True, env=environment)
        return ended.returncode, ended.stdout.splitlines(), ended.stderr


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.mark.real_programs
@pytest.mark.parametrize(
    ('instance', 'namespace'),
    [('go2-a', '/go2_a'), ('007', '/_007'), ('Go2', '/Go2'), ('a.b', '/a_b')],
)
def test_the_bridge_is_started_with_the_names_of_its_instance(
    installation: Installation, instance: str, namespace: str
) -> None:
    program = installation.add('teleop_bridge')
    found = installation.run(
        read_unit(BRIDGE, instance),
        ROS_SETUP=str(installation.setup),
        ROS_ARGUMENTS='-r image:=/front -r cmd_vel:=drive',
    )
    status, (started, *arguments), _ = found
    assert (status, started) == (0, str(program))
    # Of several rules for one name, rcl uses the first; of several values, the last.
    assert arguments == [
        *('--ros-args', '-r', 'image:=/front', '-r', 'cmd_vel:=drive'),
        *('-r', f'__ns:={namespace}', '-r', 'image:=camera/image_raw'),
        *('-p', f'robot_id:="{instance}"'),
        *('--params-file', f'/etc/teleop_webrtc_bridge/{instance}.yaml'),
    ]


@pytest.mark.real_programs
@pytest.mark.parametrize('unit', [BRIDGE, BROKER], ids=['bridge', 'broker'])
def test_what_is_not_installed_is_refused_in_one_line(
    installation: Installation, unit: Path
) -> None:
    status, said, errors = installation.run(
        read_unit(unit, 'a'), ROS_SETUP=str(installation.setup), PATH='/usr/bin:/bin'
    )
    assert (status, said) == (REFUSED, [])
    (line,) = errors.splitlines()
    assert 'ROS_SETUP' in line
    assert not read_unit(unit, 'a').is_repeated(status)


@pytest.mark.real_programs
def test_a_ros_that_is_not_there_is_refused(installation: Installation) -> None:
    status, said, errors = installation.run(read_unit(BRIDGE, 'a'), ROS_DISTRO='nowhere')
    assert (status, said) == (REFUSED, [])
    assert 'ROS_SETUP: /opt/ros/nowhere/setup.bash cannot be read' in errors


@pytest.mark.real_programs
def test_the_broker_is_found_in_a_workspace_or_without_ros(installation: Installation) -> None:
    arguments = [
        *('--config', '/etc/teleop_webrtc_bridge/broker.yaml'),
        *('--state-dir', '/var/lib/teleop_webrtc_broker'),
    ]
    unit = read_unit(BROKER)
    folder = installation.virtual_environment
    alone = installation.add('teleop_broker', folder / 'bin')
    variables = {'VIRTUAL_ENV': str(folder)}
    assert installation.run(unit, **variables)[:2] == (0, [str(alone), *arguments])
    program = installation.add('teleop_broker')
    variables['ROS_SETUP'] = str(installation.setup)
    assert installation.run(unit, **variables)[:2] == (0, [str(program), *arguments])


@pytest.mark.parametrize('path', [BRIDGE, BROKER], ids=['bridge', 'broker'])
def test_what_fails_is_started_again_and_what_was_refused_is_not(path: Path) -> None:
    unit = read_unit(path, 'a')
    assert unit.restart_s == 1.0
    assert unit.only('StartLimitIntervalSec') == '0'
    assert all(unit.is_repeated(status) for status in (1, -9, -27))
    assert not any(unit.is_repeated(status) for status in (0, REFUSED))


def test_only_the_bridge_may_have_real_time_priority() -> None:
    assert read_unit(BRIDGE, 'a').only('LimitRTPRIO') == '10'
    assert 'RestrictRealtime' not in read_unit(BRIDGE, 'a').settings
    # And DDS needs its shared memory.
    assert 'PrivateDevices' not in read_unit(BRIDGE, 'a').settings
    assert read_unit(BROKER).only('RestrictRealtime') == 'yes'
