"""A drive thread that slept while commands waited for it, and what is no silence after that."""

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

from collections.abc import Sequence
import itertools

from gate_drive import Drive, FORWARD, LATENCY_S, PERIOD_S, ZERO
import pytest

from teleop_webrtc_bridge.core.messages import DriveCommand, Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandVerdict

QUEUE = 20
"""Number of commands that the link holds; later ones replace each other."""
PERIODS = pytest.mark.parametrize('period_s', [0.02, 0.04, 0.07, 0.1, 0.2])
"""From the page's period to that of an overloaded machine."""


class Console:
    """A sender that numbers its commands, and the link, which holds the oldest and the newest."""

    def __init__(self, drive: Drive, period_s: float = PERIOD_S, *, numbered: bool = True) -> None:
        self.drive = drive
        self.period_s = period_s
        self._numbers = itertools.count(1) if numbered else itertools.repeat(0)

    def command(self, velocity: Velocity, sent_s: float) -> DriveCommand:
        return DriveCommand(
            seq=next(self._numbers),
            stamp_s=sent_s + self.drive.skew_s,
            frame_id='test',
            velocity=velocity,
        )

    def send(self, velocity: Velocity, *, delay_s: float = LATENCY_S) -> CommandVerdict:
        drive = self.drive
        verdict = drive.gate.command(drive.now, self.command(velocity, drive.now - delay_s))
        drive.publish()
        return verdict

    def hold(self, velocity: Velocity, seconds: float) -> set[CommandVerdict]:
        verdicts = set()
        for _ in range(round(seconds / self.period_s)):
            verdicts.add(self.send(velocity))
            self.drive.wait(self.period_s)
        return verdicts

    def begin(self) -> None:
        self.hold(ZERO, 0.5)
        self.hold(FORWARD, 0.5)
        assert self.drive.gate.moving

    def lose(self, count: int) -> None:
        for _ in range(count):
            next(self._numbers)

    def sleep(self, velocities: Sequence[Velocity]) -> float:
        """
        Send these while the drive thread sleeps; return when it woke up.

        It publishes after the commands that the link held, and after the newest one, which the
        WebRTC half then passes on.
        """
        drive, gate = self.drive, self.drive.gate
        arrivals_s = [drive.now + number * self.period_s for number in range(len(velocities))]
        waiting = [
            (arrival_s, self.command(velocity, arrival_s - LATENCY_S))
            for arrival_s, velocity in zip(arrivals_s, velocities, strict=True)
        ]
        woken_s = drive.now + len(velocities) * self.period_s
        drive.now = woken_s
        for arrival_s, command in waiting[:QUEUE]:
            gate.command(arrival_s, command, taken_s=drive.now)
        drive.publish()
        drive.now += 0.001
        for arrival_s, command in waiting[QUEUE:][-1:]:
            gate.command(arrival_s, command, taken_s=drive.now)
        drive.publish()
        return woken_s


@PERIODS
@pytest.mark.parametrize('numbered', [True, False])
@pytest.mark.parametrize('timeout_s', [0.25, 1.0])
@pytest.mark.parametrize('asleep_s', [1.3, 2.0, 3.0, 4.3])
def test_a_key_held_while_the_drive_thread_slept_moves_nothing_until_neutral(
    period_s: float, numbered: bool, timeout_s: float, asleep_s: float
) -> None:
    drive = Drive(timeout_s=timeout_s)
    console = Console(drive, period_s, numbered=numbered)
    console.begin()
    woken_s = console.sleep([FORWARD] * round(asleep_s / period_s))
    assert console.hold(FORWARD, 3.0) == {CommandVerdict.NOT_NEUTRAL}
    assert set(drive.since(woken_s)) == {ZERO}
    assert console.send(ZERO) is CommandVerdict.ACCEPTED
    drive.wait(period_s)
    assert console.send(FORWARD) is CommandVerdict.ACCEPTED


@PERIODS
def test_a_key_pressed_while_the_drive_thread_slept_moves_nothing_until_neutral(
    drive: Drive, period_s: float
) -> None:
    console = Console(drive, period_s)
    console.hold(ZERO, 1.0)
    woken_s = console.sleep([FORWARD] * round(2.0 / period_s))
    assert console.hold(FORWARD, 3.0) == {CommandVerdict.NOT_NEUTRAL}
    assert all(velocity.is_zero() for velocity in drive.since(woken_s))


@pytest.mark.parametrize('asleep_s', [0.1, 0.5, 0.7, 0.9, 0.95])
@pytest.mark.parametrize('numbered', [True, False])
def test_a_short_sleep_of_the_drive_thread_is_no_silence(
    drive: Drive, asleep_s: float, numbered: bool
) -> None:
    """The link dropped commands of a held key: that is not neutral."""
    console = Console(drive, numbered=numbered)
    console.begin()
    drive.gate.stop(drive.now)
    stopped_s = drive.now
    console.hold(FORWARD, 0.2)
    console.sleep([FORWARD] * round(asleep_s / PERIOD_S))
    assert console.hold(FORWARD, 2.0) == {CommandVerdict.NOT_NEUTRAL}
    assert set(drive.since(stopped_s)) == {ZERO}


def test_a_short_sleep_of_the_drive_thread_needs_no_neutral(drive: Drive) -> None:
    console = Console(drive)
    console.begin()
    console.sleep([FORWARD] * round(0.9 / PERIOD_S))
    assert console.hold(FORWARD, 1.0) == {CommandVerdict.ACCEPTED}


def test_commands_that_wait_for_exactly_the_longest_gap_are_obeyed(drive: Drive) -> None:
    drive.now = 1024.0
    console = Console(drive)
    console.send(ZERO)
    for waited_s, verdict in ((1.0, CommandVerdict.ACCEPTED), (1.125, CommandVerdict.NOT_NEUTRAL)):
        drive.now += 0.125
        command = console.command(FORWARD, drive.now)
        taken_s = drive.now + waited_s
        assert drive.gate.command(drive.now, command, taken_s=taken_s) is verdict


@pytest.mark.parametrize(
    ('lost', 'verdict'),
    [(0, CommandVerdict.ACCEPTED), (2, CommandVerdict.ACCEPTED), (3, CommandVerdict.NOT_NEUTRAL)],
)
def test_a_silence_in_which_commands_were_lost_is_not_the_operators(
    drive: Drive, lost: int, verdict: CommandVerdict
) -> None:
    console = Console(drive)
    console.begin()
    drive.gate.stop(drive.now)
    assert console.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    console.lose(lost)
    drive.wait(0.7)
    assert console.send(FORWARD) is verdict


def test_a_key_held_while_the_network_paused_is_no_silence(drive: Drive) -> None:
    """It pauses for as long as the oldest of the waiting commands still counts as recent."""
    console = Console(drive, 0.1)
    console.begin()
    drive.gate.stop(drive.now)
    assert console.send(FORWARD) is CommandVerdict.NOT_NEUTRAL
    drive.wait(0.55)
    for late_s in (0.45, 0.35, 0.25, 0.15, 0.05):
        assert console.send(FORWARD, delay_s=LATENCY_S + late_s) is CommandVerdict.NOT_NEUTRAL
    assert console.hold(FORWARD, 2.0) == {CommandVerdict.NOT_NEUTRAL}


@pytest.mark.parametrize('asleep_s', [1.1, 2.0, 60.0, 36000.0])
def test_a_key_held_while_the_computer_slept_moves_nothing_until_neutral(
    drive: Drive, asleep_s: float
) -> None:
    """The robot's steady clock stood still meanwhile, so that only the stamps show the sleep."""
    console = Console(drive)
    console.begin()
    woken_s = drive.now
    drive.skew_s += asleep_s
    assert CommandVerdict.ACCEPTED not in console.hold(FORWARD, 5.0)
    assert set(drive.since(woken_s)) == {ZERO}
    assert console.send(ZERO) is CommandVerdict.ACCEPTED
    drive.wait(PERIOD_S)
    assert console.send(FORWARD) is CommandVerdict.ACCEPTED
