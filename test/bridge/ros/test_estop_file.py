"""The file of the E-STOP latch: its path, its content, and faults."""

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

import errno
import json
import os
from pathlib import Path

import pytest

from teleop_webrtc_bridge.bridge.ros.estop import estop_path, EstopCause, EstopFile
from teleop_webrtc_bridge.core.messages import Origin, OriginRole

FOLDER = 'teleop_webrtc_bridge'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'ros' / FOLDER / 'go2-a.estop'


# --- where -----------------------------------------------------------------------------------


def test_it_is_in_ros_home_under_the_robots_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    assert estop_path('go2-a', '/left/teleop_bridge') == tmp_path / FOLDER / 'go2-a.estop'


@pytest.mark.parametrize('ros_home', [None, '', '~/.ros'])
def test_without_ros_home_it_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ros_home: str | None
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    if ros_home is None:
        monkeypatch.delenv('ROS_HOME', raising=False)
    else:
        monkeypatch.setenv('ROS_HOME', ros_home)
    assert estop_path('go2-a', '/x') == tmp_path / '.ros' / FOLDER / 'go2-a.estop'


def test_robots_without_an_id_do_not_share_a_latch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    left = estop_path('', '/left/teleop_bridge')
    right = estop_path('', '/right/teleop_bridge')
    assert left.name == 'left_teleop_bridge.estop'
    assert left != right


def test_ids_that_make_the_same_namespace_do_not_share_a_latch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    names = [estop_path(robot_id, '/go2_a/teleop_bridge').name for robot_id in ('go2-a', 'go2_a')]
    assert names == ['go2-a.estop', 'go2_a.estop']


@pytest.mark.parametrize('robot_id', ['../../etc/x', 'a/b', '..', 'a b\n', 'ä\0'])
def test_no_id_leaves_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, robot_id: str
) -> None:
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    path = estop_path(robot_id, '/x')
    assert path.resolve().parent == (tmp_path / FOLDER).resolve()
    EstopFile(path).write(True)
    assert path.is_file()


# --- what ------------------------------------------------------------------------------------


def test_without_a_file_nothing_is_latched(path: Path) -> None:
    assert not EstopFile(path).is_latched()
    assert not path.parent.exists(), 'looking makes nothing'


def test_a_latch_is_there_for_whoever_comes_next_until_it_is_released(path: Path) -> None:
    for _ in range(2):
        EstopFile(path).write(True)
        assert EstopFile(path).is_latched()
        EstopFile(path).write(True)
        assert EstopFile(path).is_latched()
        EstopFile(path).write(False)
        assert not EstopFile(path).is_latched()
        EstopFile(path).write(False)
    assert list(path.parent.iterdir()) == []


def test_whatever_is_in_its_place_means_latched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b'\0\xff' * 100)
    assert EstopFile(path).is_latched()
    path.unlink()
    path.mkdir()
    assert EstopFile(path).is_latched()


# --- what cannot be read or written ----------------------------------------------------------


def test_a_link_that_leads_to_itself_is_latched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(path)
    assert EstopFile(path).is_latched()


def test_a_folder_that_is_none_is_latched_and_cannot_be_written_to(path: Path) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text('not a folder')
    assert EstopFile(path).is_latched()
    for latched in (True, False):
        with pytest.raises(OSError, match='exists|Not a directory'):
            EstopFile(path).write(latched)
    assert EstopFile(path).is_latched()


def test_a_name_that_is_too_long_is_latched(tmp_path: Path) -> None:
    assert EstopFile(tmp_path / ('x' * 300)).is_latched()


def test_a_latch_that_cannot_be_removed_goes_on(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(OSError, match='directory|permitted'):
        EstopFile(path).write(False)
    assert EstopFile(path).is_latched()


# --- who ---------------------------------------------------------------------------------------

ANN = EstopCause(by=Origin(sub='Ann Ärmel', role=OriginRole.VIEWER), since_s=1.7e9)
UNKNOWN = EstopCause(by=Origin(sub='estop_persist', role=OriginRole.ROBOT), since_s=None)


def latched(path: Path, content: bytes = b'') -> EstopFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    file = EstopFile(path)
    assert file.is_latched()
    return file


def test_who_set_the_latch_is_there_for_whoever_comes_next(path: Path) -> None:
    button = '/' + 'x' * 254
    for cause in (
        ANN,
        EstopCause(by=Origin(sub=button, role=OriginRole.ROBOT), since_s=None),
        EstopCause(by=Origin(sub='', role=OriginRole.OPERATOR), since_s=0.0),
        ANN,
    ):
        file = EstopFile(path)
        file.write(True)
        file.explain(cause)
        assert EstopFile(path).is_latched()
        assert EstopFile(path).cause() == cause
    assert list(path.parent.iterdir()) == [path]


def test_a_file_of_an_older_bridge_is_latched_by_nobody_known(path: Path) -> None:
    assert latched(path).cause() == UNKNOWN


@pytest.mark.parametrize(
    'content',
    [
        b'\0\xff' * 100,
        b'{',
        b'[1]',
        b'{"by":' + b'[' * 3000,
        b'{}',
        b'{"by":null}',
        b'{"by":{"sub":"ann"}}',
        b'{"by":{"sub":7,"role":"viewer"}}',
        b'{"by":{"sub":"a\\u0000","role":"viewer"}}',
        b'{"by":{"sub":"ann","role":"king"}}',
        b'{"by":{"sub":"' + b'x' * 256 + b'","role":"viewer"}}',
        b'x' * 10_000,
    ],
)
def test_a_file_that_cannot_be_understood_is_latched_by_nobody_known(
    path: Path, content: bytes
) -> None:
    assert latched(path, content).cause() == UNKNOWN


@pytest.mark.parametrize(
    'since', ['-1', '1e999', '1e300', '1' + '0' * 400, 'true', '"x"', 'null', '[]']
)
def test_a_time_that_is_none_costs_no_name(path: Path, since: str) -> None:
    content = f'{{"by":{{"sub":"ann","role":"viewer"}},"since_s":{since}}}'
    cause = latched(path, content.encode()).cause()
    assert (cause.by.sub, cause.since_s, cause.since) == ('ann', None, '')


def test_what_is_no_file_is_latched_by_nobody_known_and_holds_up_nothing(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.mkdir()
    assert EstopFile(path).cause() == UNKNOWN
    path.rmdir()
    os.mkfifo(path)
    assert EstopFile(path).is_latched()
    assert EstopFile(path).cause() == UNKNOWN
    with pytest.raises(OSError, match='No such device') as error:
        EstopFile(path).explain(ANN)
    assert error.value.errno == errno.ENXIO


def test_to_explain_a_latch_never_sets_one(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        EstopFile(path).explain(ANN)
    assert not EstopFile(path).is_latched()


def test_what_a_link_leads_to_is_not_written_over(path: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    other.write_text('precious')
    path.parent.mkdir(parents=True)
    path.symlink_to(other)
    with pytest.raises(OSError, match='symbolic links'):
        EstopFile(path).explain(ANN)
    assert other.read_text() == 'precious'


def test_the_file_is_for_people_too(path: Path) -> None:
    file = latched(path)
    file.explain(ANN)
    assert json.loads(path.read_text()) == {
        'by': {'sub': 'Ann Ärmel', 'role': 'viewer'},
        'since_s': 1.7e9,
    }
