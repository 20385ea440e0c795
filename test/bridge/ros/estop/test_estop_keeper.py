"""What is logged of the E-STOP, and what is kept, with real files."""

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

from pathlib import Path

import pytest

from teleop_webrtc_bridge.bridge.link.packets import Status
from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.estop.file import EstopFile
from teleop_webrtc_bridge.bridge.ros.estop.keeper import EstopKeeper
from teleop_webrtc_bridge.bridge.ros.estop.record import EstopAction, EstopCause, EstopEvent
from teleop_webrtc_bridge.core.messages import Origin, OriginRole
from teleop_webrtc_bridge.core.session import BridgeState

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

ANN = EstopCause(by=Origin(sub='ann', role=OriginRole.VIEWER), since_s=12.0)
BEN = EstopCause(by=Origin(sub='ben', role=OriginRole.OPERATOR), since_s=13.0)
STATUS = Status(state=BridgeState.DIALLING, reason='', control_epoch=0, counters={})


class Log:
    """Lines with their severity."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def keeper(self, path: Path, *, outlives_end: bool = True) -> EstopKeeper:
        def at(level: str) -> object:
            return lambda text: self.lines.append((level, text))

        return EstopKeeper(
            EstopFile(path),
            outlives_end=outlives_end,
            log=at('INFO'),  # type: ignore[arg-type]
            warn=at('WARN'),  # type: ignore[arg-type]
            complain=at('ERROR'),  # type: ignore[arg-type]
        )


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'folder' / 'go2-a.estop'


def held(cause: EstopCause | None, latch: int = 1) -> DriveSnapshot:
    return DriveSnapshot(status=STATUS, latch=latch, cause=cause)


RELEASED = DriveSnapshot(status=STATUS)


def test_who_pressed_and_who_released_is_logged_in_one_line_each(log: Log, path: Path) -> None:
    spaced = Origin(sub='Ann "the" Ärmel event=state', role=OriginRole.ADMIN)
    log.keeper(path).log(
        [
            EstopEvent(action=EstopAction.LATCHED, latch=3, by=ANN.by),
            EstopEvent(action=EstopAction.PRESSED_AGAIN, latch=3, by=spaced),
            EstopEvent(action=EstopAction.RELEASED, latch=3, by=BEN.by),
            EstopEvent(action=EstopAction.RESTORED, latch=1, by=ANN.by),
        ]
    )
    assert log.lines == [
        ('WARN', 'event=estop latch=3 sub="ann" role="viewer"'),
        (
            'INFO',
            r'event=estop_again latch=3 sub="Ann \"the\" \u00c4rmel event=state" role="admin"',
        ),
        ('INFO', 'event=estop_released latch=3 sub="ben" role="operator"'),
        ('WARN', 'event=estop_restored latch=1 sub="ann" role="viewer"'),
    ]


@pytest.mark.parametrize('outlives_end', [False, True])
def test_a_crash_keeps_the_latch(log: Log, path: Path, outlives_end: bool) -> None:
    log.keeper(path, outlives_end=outlives_end).save(held(ANN))
    assert log.keeper(path, outlives_end=outlives_end).restored == ANN
    assert log.lines == []


@pytest.mark.parametrize('outlives_end', [False, True])
def test_an_end_in_good_order_keeps_the_latch_only_if_the_owner_wants_it(
    log: Log, path: Path, outlives_end: bool
) -> None:
    keeper = log.keeper(path, outlives_end=outlives_end)
    keeper.end()
    assert not path.parent.exists()
    keeper.save(held(ANN))
    keeper.end()
    assert path.exists() is outlives_end
    assert log.lines == []


def test_a_folder_that_nothing_can_be_read_from_latches_only_if_the_owner_wants_it(
    log: Log, path: Path
) -> None:
    path.parent.write_text('in the way of the folder')
    assert log.keeper(path, outlives_end=True).restored is not None
    keeper = log.keeper(path, outlives_end=False)
    assert keeper.restored is None
    keeper.save(held(ANN))
    assert [level for level, _ in log.lines] == ['WARN']


def test_latch_and_name_are_kept_until_the_release(log: Log, path: Path) -> None:
    keeper = log.keeper(path)
    assert keeper.restored is None
    keeper.save(RELEASED)
    assert not path.exists()
    keeper.save(held(ANN))
    assert log.keeper(path).restored == ANN
    # Released and pressed anew between two looks: another name, and a file all the time.
    keeper.save(held(BEN, latch=2))
    assert log.keeper(path).restored == BEN
    keeper.save(RELEASED)
    assert log.keeper(path).restored is None
    assert log.lines == []


def test_a_latch_without_a_name_is_kept_all_the_same(log: Log, path: Path) -> None:
    log.keeper(path).save(held(None))
    assert path.exists()


def test_a_restored_latch_stays_as_it_is(log: Log, path: Path) -> None:
    log.keeper(path).save(held(ANN))
    keeper = log.keeper(path)
    written_ns = path.stat().st_mtime_ns
    keeper.save(held(keeper.restored))
    assert path.stat().st_mtime_ns == written_ns
    keeper.save(RELEASED)
    assert not path.exists()


def test_a_name_that_cannot_be_written_costs_no_latch(
    log: Log, path: Path, tmp_path: Path
) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / 'elsewhere')
    log.keeper(path).save(held(ANN))
    ((level, line),) = log.lines
    assert level == 'WARN'
    assert line.startswith('event=estop_name_not_saved by="ann (viewer)" reason="')
    assert log.keeper(path).restored is not None


def test_a_latch_that_cannot_be_written_is_said_once(log: Log, path: Path) -> None:
    path.parent.write_text('in the way of the folder')
    path = path.parent / 'x' / 'go2-a.estop'
    keeper = log.keeper(path)
    assert keeper.restored is not None, 'unreadable means latched'
    keeper.save(RELEASED)
    keeper.save(RELEASED)
    ((level, line),) = log.lines
    assert level == 'ERROR'
    assert line.startswith('event=estop_not_saved reason="')
