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

import itertools

import pytest

from teleop_webrtc_bridge.bridge.webrtc.video.stream_source import (
    KeyframeWait,
    StreamBitrate,
    Thinning,
)

PERIOD_S = 1 / 30


def waits(gop: int, asked_at: int, count: int = 300) -> tuple[list[float], KeyframeWait]:
    """Request one keyframe at a picture of a stream; return the reported waits and the object."""
    wait = KeyframeWait()
    told = []
    for number in range(count):
        now = 100.0 + number * PERIOD_S
        if number == asked_at:
            wait.ask(now)
        late_s = wait.passed(number % gop == 0, now)
        if late_s is not None:
            told.append(late_s)
    return told, wait


# --- keyframes -----------------------------------------------------------------------------------


@pytest.mark.parametrize('asked_at', [0, 1, 15, 29, 30, 31])
def test_a_keyframe_a_second_is_never_late(asked_at: int) -> None:
    told, wait = waits(30, asked_at)
    assert told == []
    assert wait.late == 0
    assert wait.interval_s == pytest.approx(1.0)


def test_a_keyframe_that_is_late_is_told_once_while_it_is_waited_for() -> None:
    told, wait = waits(120, 1)
    assert len(told) == wait.late == 1
    assert 1.2 < told[0] < 1.3
    assert wait.interval_s == pytest.approx(4.0)


def test_who_asks_again_and_again_is_one_who_waits() -> None:
    wait = KeyframeWait()
    told = []
    for number in range(121):
        now = 100.0 + number * PERIOD_S
        wait.ask(now)
        told.append(wait.passed(number == 120, now))
    assert [late_s for late_s in told if late_s is not None] == [pytest.approx(1.2, abs=0.05)]
    wait.ask(200.0)
    assert wait.passed(True, 200.1) is None, 'a new one who waits'
    assert wait.late == 1


def test_a_camera_that_begins_late_has_no_late_keyframe() -> None:
    wait = KeyframeWait()
    wait.ask(100.0)
    assert wait.passed(True, 123.0) is None
    wait.ask(124.0)
    # A pause in the middle of a group of pictures.
    assert [wait.passed(False, 123.5 + second / 10) for second in range(10)] == [None] * 10
    assert wait.passed(False, 140.0) is None
    assert wait.passed(False, 140.9) is None
    assert wait.passed(False, 141.8) == pytest.approx(1.8)
    assert wait.late == 1


def test_an_interruption_is_no_interval() -> None:
    wait = KeyframeWait()
    wait.passed(True, 100.0)
    wait.forget()
    wait.passed(True, 500.0)
    assert wait.interval_s is None
    wait.passed(True, 501.0)
    assert wait.interval_s == pytest.approx(1.0)


# --- bits ----------------------------------------------------------------------------------------


def test_the_bitrate_is_that_of_the_last_seconds() -> None:
    bitrate = StreamBitrate()
    assert bitrate.bps() == 0.0
    now = 100.0
    for size in [10_000] * 90:
        now += PERIOD_S
        bitrate.note(size, now)
    assert bitrate.bps() == pytest.approx(8 * 10_000 * 30, rel=0.02)
    for size in [1_000] * 90:
        now += PERIOD_S
        bitrate.note(size, now)
    assert bitrate.bps() == pytest.approx(8 * 1_000 * 30, rel=0.02)
    bitrate.forget()
    assert bitrate.bps() == 0.0


def test_a_burst_says_nothing_of_the_bitrate() -> None:
    bitrate = StreamBitrate()
    for number in range(10):
        bitrate.note(10_000, 100.0 + number * 1e-4)
    assert bitrate.bps() == 0.0


# --- a link that is too narrow -------------------------------------------------------------------

STREAM_BPS = 4e6


def times(thinning: Thinning, link_bps: float, begin_s: float, seconds: float) -> list[bool]:
    count = round(seconds / PERIOD_S)
    return [
        thinning.follow(link_bps, STREAM_BPS, begin_s + number * PERIOD_S)
        for number in range(count)
    ]


def test_a_link_that_carries_most_of_the_stream_gets_all_of_it() -> None:
    assert not any(times(Thinning(), 0.72 * STREAM_BPS, 100.0, 60.0))


def test_a_short_lack_changes_nothing() -> None:
    thinning = Thinning()
    for begin_s in (100.0, 103.0, 106.0):
        assert not any(times(thinning, 0.3 * STREAM_BPS, begin_s, 1.9))
        assert not any(times(thinning, STREAM_BPS, begin_s + 2.0, 1.0))


def test_a_stream_whose_bitrate_is_not_known_is_not_thinned() -> None:
    thinning = Thinning()
    assert not any(thinning.follow(1e5, 0.0, 100.0 + second) for second in range(10))


def test_on_a_narrow_link_keyframes_go_alone_and_all_is_tried_again_less_and_less_often() -> None:
    now = [100.0 + number * PERIOD_S for number in range(30 * 400)]
    thinning = Thinning()
    states = [thinning.follow(0.3 * STREAM_BPS, STREAM_BPS, at_s) for at_s in now]
    spells = [(on, len(list(group)) * PERIOD_S) for on, group in itertools.groupby(states)]
    assert [round(length) for on, length in spells if on][:5] == [5, 10, 20, 30, 30]
    assert {round(length) for on, length in spells[:-1] if not on} == {2}


def test_when_the_link_carries_the_stream_all_of_it_goes_at_once() -> None:
    thinning = Thinning()
    assert any(times(thinning, 0.3 * STREAM_BPS, 100.0, 4.0))
    assert not any(times(thinning, STREAM_BPS, 104.0, 30.0))
    # Much later it counts as new congestion.
    states = times(thinning, 0.3 * STREAM_BPS, 134.0, 6.9)
    assert states[-1]
    assert not thinning.follow(0.3 * STREAM_BPS, STREAM_BPS, 134.0 + 7.1)
