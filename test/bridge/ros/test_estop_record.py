"""Who pressed and who released; the test controls the time."""

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

from teleop_webrtc_bridge.bridge.ros.estop import (
    EstopAction,
    EstopCause,
    EstopRecord,
    MAX_EVENTS,
    MAX_OTHERS,
)
from teleop_webrtc_bridge.core.messages import Origin, OriginRole

ANN = Origin(sub='ann', role=OriginRole.VIEWER)
BEN = Origin(sub='ben', role=OriginRole.OPERATOR)
BUTTON = Origin(sub='/teleop_bridge/estop_in', role=OriginRole.ROBOT)


@pytest.fixture
def record() -> EstopRecord:
    return EstopRecord(clock_ahead_s=1.7e9)


def told(record: EstopRecord) -> list[tuple[EstopAction, int, Origin]]:
    return [(event.action, event.latch, event.by) for event in record.take_events()]


def test_nobody_pressed_at_the_start(record: EstopRecord) -> None:
    assert record.cause(None) is None
    assert record.cause(1) is None
    assert told(record) == []


def test_the_first_names_the_latch_and_says_when(record: EstopRecord) -> None:
    record.pressed(5.0, 1, ANN)
    record.pressed(6.0, 1, BEN)
    cause = record.cause(1)
    assert cause == EstopCause(by=ANN, since_s=1.7e9 + 5.0)
    assert cause is not None
    assert cause.since == '2023-11-14T22:13:25+00:00'
    assert EstopCause(by=ANN, since_s=None).since == ''


def test_the_name_is_of_that_latch_alone(record: EstopRecord) -> None:
    record.pressed(5.0, 1, ANN)
    assert record.cause(2) is None
    assert record.cause(None) is None


def test_a_latch_after_a_release_has_a_name_of_its_own(record: EstopRecord) -> None:
    record.pressed(5.0, 1, ANN)
    record.released(1, BEN)
    assert record.cause(1) is None
    record.pressed(7.0, 2, BUTTON)
    cause = record.cause(2)
    assert cause is not None
    assert cause.by == BUTTON
    assert told(record) == [
        (EstopAction.LATCHED, 1, ANN),
        (EstopAction.RELEASED, 1, BEN),
        (EstopAction.LATCHED, 2, BUTTON),
    ]


def test_copies_of_a_press_say_nothing_and_others_are_told_once_each(record: EstopRecord) -> None:
    for by in (ANN, ANN, BEN, BUTTON, ANN, BEN, BUTTON):
        record.pressed(5.0, 1, by)
    assert told(record) == [
        (EstopAction.LATCHED, 1, ANN),
        (EstopAction.PRESSED_AGAIN, 1, BEN),
        (EstopAction.PRESSED_AGAIN, 1, BUTTON),
    ]
    assert told(record) == []
    record.released(1, BEN)
    record.pressed(6.0, 2, ANN)
    record.pressed(6.0, 2, BEN)
    assert told(record)[-1] == (EstopAction.PRESSED_AGAIN, 2, BEN)


def test_the_same_name_in_another_role_is_somebody_else(record: EstopRecord) -> None:
    record.pressed(5.0, 1, ANN)
    record.pressed(5.0, 1, Origin(sub='ann', role=OriginRole.OPERATOR))
    assert [action for action, *_ in told(record)] == [
        EstopAction.LATCHED,
        EstopAction.PRESSED_AGAIN,
    ]


def test_a_release_of_nothing_says_nothing(record: EstopRecord) -> None:
    record.released(None, BEN)
    assert told(record) == []


def test_a_latch_that_nobody_here_set_is_released_by_name(record: EstopRecord) -> None:
    record.released(3, BEN)
    assert told(record) == [(EstopAction.RELEASED, 3, BEN)]


def test_a_press_that_latched_nothing_says_nothing(record: EstopRecord) -> None:
    record.pressed(5.0, None, ANN)
    assert record.cause(None) is None
    assert told(record) == []


def test_what_is_remembered_is_bounded(record: EstopRecord) -> None:
    for number in range(1000):
        record.pressed(5.0, 1, Origin(sub=f'p{number}', role=OriginRole.VIEWER))
    assert len(told(record)) == 1 + MAX_OTHERS
    for latch in range(2, 1000):
        record.pressed(5.0, latch, ANN)
        record.released(latch, BEN)
    events = told(record)
    assert len(events) == MAX_EVENTS
    assert events[-1] == (EstopAction.RELEASED, 999, BEN), 'the newest are kept'


def test_a_latch_of_before_the_start_keeps_its_name() -> None:
    cause = EstopCause(by=ANN, since_s=12.0)
    record = EstopRecord(clock_ahead_s=0.0, latch=1, cause=cause)
    record.pressed(5.0, 1, BEN)
    assert record.cause(1) == cause
    assert told(record) == [
        (EstopAction.RESTORED, 1, ANN),
        (EstopAction.PRESSED_AGAIN, 1, BEN),
    ]
