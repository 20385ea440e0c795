"""One trial: drive at full speed, inject a fault, judge, heal, and drive again."""

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
from dataclasses import dataclass, field
import math
import os
import time
from typing import Any, Final
import uuid

from benchmark.faults.actions import estop_pressed, wishes
from benchmark.faults.causes import what_happened, why_it_stood
from benchmark.faults.fault import Expected, Fault
from benchmark.faults.oracle import (
    after,
    age_violations,
    Command,
    form_violations,
    READING_S,
    stop_of,
    Window,
    zero_of_latch,
)
from benchmark.faults.processes import alive, TooSlow, wait_for
from benchmark.faults.rig import Rig
from teleop_webrtc_bridge.processes.child_process import STEADY_S

__all__ = ['Trial', 'run']

HELD_S: Final = 0.6
"""How long the key is held after the robot is heard again."""
SETTLE_S: Final = 0.25
"""Time after a bound within which everything published has been recorded."""
RELEASES: Final = 6
RELEASE_S: Final = 4.0
VIDEO_S: Final = 10.0
"""A longer time without a picture is a surprise."""
LONGEST_VIDEO_S: Final = 40.0
"""Time-out for the picture, on a busy machine."""
DIAGNOSED_S: Final = 3.0
"""Span of diagnostics, published once per second, that shows the counters before a stop."""
STORY_S: Final = 10.0
OLD_S: Final = 0.3
EXIT_S: Final = 5.0
"""Time within which a program must exit on request."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """Result of one trial; times in seconds, NaN where there is none."""

    fault: str
    phase_s: float
    """Time from the first motion to the fault."""
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    accepted_to_zero_s: float = math.nan
    """From the last velocity at a subscriber (the last accepted command) to the zero."""
    stamped_to_zero_s: float = math.nan
    """The same by the robot's own stamps."""
    fault_to_zero_s: float = math.nan
    reconnect_s: float = math.nan
    """From the end of the fault until the operator hears the robot again."""
    video_s: float = math.nan
    """From the end of the fault until the operator sees a new picture."""
    latch_kept: bool | None = None
    told: str = ''
    """First news that reached the operator."""
    robot_said: str = ''
    """The bridge's latest reason on ``~/state``."""
    moved_after_bound: int = 0
    violations: list[str] = field(default_factory=list)
    """Unsafe behaviour: there must be none."""
    surprises: list[str] = field(default_factory=list)
    """Safe but unexpected behaviour."""


def run(rig: Rig, fault: Fault, phase_s: float) -> Trial:
    """
    Run one trial.

    :param phase_s: From the first motion to the fault, in seconds.
    :raises TooSlow: The rig did not become drivable before or after the fault.
    """
    trial = Trial(fault=fault.name, phase_s=phase_s)
    begun_s = time.monotonic()
    try:
        _try(rig, fault, trial)
    except TooSlow as error:
        raise TooSlow(f'{error}; {_since(rig, begun_s)}') from error
    return trial


def _try(rig: Rig, fault: Fault, trial: Trial) -> None:
    if fault.instant:
        # A half that is killed repeatedly is restarted after ever longer delays.
        wait_for(lambda: rig.age_of_half_s() > STEADY_S, 'a steady WebRTC half')
    rig.make_drivable()
    begun_s = time.monotonic()
    rig.drive()
    # The point of the trial: the fault strikes at a random moment.
    time.sleep(trial.phase_s)
    match fault.expected:
        case Expected.STOPS | Expected.SILENT | Expected.ENDS:
            _stopping(rig, fault, trial, begun_s)
        case Expected.DRIVES_ON | Expected.EITHER:
            _driving_on(rig, fault, trial, begun_s)
        case Expected.LATCHED:
            _latched(rig, fault, trial, begun_s)
    commands = rig.commands(begun_s)
    trial.violations += form_violations(commands)
    if old := age_violations(commands, fault.quickest_s):
        trial.violations += old
        trial.violations.append('before that: ' + _story(rig, commands, begun_s))
    rig.tell('silence')


# --- the three kinds -------------------------------------------------------------------------


def _stopping(rig: Rig, fault: Fault, trial: Trial, begun_s: float) -> None:
    fault_s = fault.inject(rig)
    bound_s = fault_s + 1e-3 * fault.bound_ms
    if fault.expected is Expected.ENDS:
        status = rig.bridge.wait()
        if status != 0 or time.monotonic() - fault_s > EXIT_S:
            late_s = time.monotonic() - fault_s
            trial.surprises.append(f'exit status {status} after {late_s:.1f} s')
    _sleep_until(max(fault_s + fault.hold_s, bound_s + SETTLE_S))
    commands = rig.commands(begun_s)
    if fault.check is not None:
        trial.violations += fault.check(rig, fault_s, time.monotonic())
    healed_s = rig.heal()
    window = Window(begin_s=bound_s, end_s=healed_s, why=fault.name)
    _judge_stop(fault, trial, commands, fault_s, window)
    _come_back(rig, fault, trial, fault_s, healed_s)


def _driving_on(rig: Rig, fault: Fault, trial: Trial, begun_s: float) -> None:
    fault_s = fault.inject(rig)
    _sleep_until(fault_s + fault.hold_s)
    if fault.check is not None:
        trial.violations += fault.check(rig, fault_s, time.monotonic())
    released_s = wishes('silence')(rig)
    bound_s = released_s + 1e-3 * fault.bound_ms
    _sleep_until(bound_s + SETTLE_S)
    commands = rig.commands(begun_s)
    zeros = [c for c in commands if c.is_zero and fault_s < c.arrival_s < released_s]
    if zeros and fault.expected is Expected.DRIVES_ON:
        trial.surprises.append(
            f'stood {zeros[0].arrival_s - fault_s:.2f} s after the fault: '
            + _why_it_stood(rig, zeros[0].arrival_s)
        )
    healed_s = rig.heal()
    window = Window(begin_s=bound_s, end_s=healed_s, why='the operator is silent')
    if zeros and fault.expected is Expected.EITHER:
        trial.violations += after(commands, window)
    else:
        _judge_stop(fault, trial, commands, released_s, window)
    _hear_again(rig, fault, trial, fault_s, healed_s)


def _latched(rig: Rig, fault: Fault, trial: Trial, begun_s: float) -> None:
    pressed_s = estop_pressed(rig) if fault.latched_before else fault.inject(rig)
    rig.operator.wait_for_event('acknowledged', pressed_s)
    # The zero was published first, but on another topic: the order of reading may differ.
    latched_s = rig.wait_for_latch(pressed_s) + READING_S
    _sleep_until(latched_s)
    zero_s = zero_of_latch(rig.commands(begun_s), latched_s)
    trial.fault_to_zero_s = max(0.0, zero_s - pressed_s)
    trial.told = 'acknowledged'
    if trial.fault_to_zero_s > 1e-3 * fault.bound_ms:
        trial.violations.append(f'E-STOP took {trial.fault_to_zero_s:.3f} s')
    fault_s = pressed_s
    if fault.latched_before:
        fault_s = fault.inject(rig)
    _sleep_until(fault_s + fault.hold_s)
    healed_s = rig.heal()
    rig.tell('drive')
    _hear_again(rig, fault, trial, fault_s, healed_s)
    time.sleep(HELD_S)
    rig.tell('neutral')
    time.sleep(HELD_S)
    rig.tell('drive')
    time.sleep(HELD_S)
    told = rig.operator.of_kind('telemetry', healed_s)[-1]['state']
    trial.latch_kept = bool(told['estopped'] and rig.state()['estopped'])
    if not trial.latch_kept:
        trial.violations.append(f'the latch was lost: {told}, {rig.state()}')
    cleared_s = time.monotonic()
    # Neither a held key nor neutral and a new press moves a latched robot.
    window = Window(begin_s=latched_s, end_s=cleared_s, why='the E-STOP latch')
    moved = after(rig.commands(begun_s), window)
    trial.moved_after_bound += len(moved)
    trial.violations += moved
    _release(rig)


def _release(rig: Rig) -> None:
    """Request the release of the latch until a bad network lets it through."""
    begun_s = time.monotonic()
    for _ in range(RELEASES):
        rig.tell('estop_clear', nonce=uuid.uuid4().hex)
        try:
            wait_for(lambda: not rig.state()['estopped'], 'the release of the latch', RELEASE_S)
        except TooSlow:
            continue
        return
    story = what_happened(list(rig.operator.events), begun_s)
    raise TooSlow(f'the latch was not released by {RELEASES} requests: {story}')


# --- judging ---------------------------------------------------------------------------------


def _judge_stop(
    fault: Fault, trial: Trial, commands: Sequence[Command], cause_s: float, window: Window
) -> None:
    before = [c for c in commands if c.arrival_s < window.end_s]
    moved = after(before, window)
    trial.moved_after_bound += len(moved)
    trial.violations += moved
    stop = stop_of(before)
    if stop is None or stop.zero_s is None:
        if fault.expected is not Expected.SILENT:
            trial.violations.append('no zero was published')
        return
    trial.accepted_to_zero_s = stop.time_to_zero_s
    trial.stamped_to_zero_s = stop.stamped_s if stop.stamped_s is not None else math.nan
    trial.fault_to_zero_s = stop.zero_s - cause_s
    if stop.zero_s > window.begin_s and fault.expected is not Expected.SILENT:
        trial.violations.append(f'zero only after {trial.fault_to_zero_s:.3f} s')
    if fault.expected is Expected.ENDS and not before[-1].is_zero:
        trial.violations.append('the last message was a velocity')


def _come_back(rig: Rig, fault: Fault, trial: Trial, fault_s: float, healed_s: float) -> None:
    """Wait for the robot with the key held; it must not move before neutral."""
    rig.tell('drive')
    _hear_again(rig, fault, trial, fault_s, healed_s)
    time.sleep(HELD_S)
    neutral_s = time.monotonic()
    if fault.neutral_first:
        window = Window(begin_s=healed_s, end_s=neutral_s, why='the key is still held')
        moved = after(rig.commands(healed_s), window)
        trial.moved_after_bound += len(moved)
        trial.violations += moved


def _hear_again(rig: Rig, fault: Fault, trial: Trial, fault_s: float, healed_s: float) -> None:
    trial.told = trial.told or _told(rig, fault_s)
    trial.robot_said = rig.state().get('reason', '')
    since_s, over_s = healed_s, healed_s
    if fault.instant:
        over_s = fault_s
        # Telemetry in flight at the time of the fault does not prove a new connection.
        since_s = rig.operator.wait_for_event('connected', fault_s)['at_s']
    trial.reconnect_s = rig.operator.wait_for_event('telemetry', since_s)['at_s'] - over_s
    try:
        seen = rig.operator.wait_for_event('frames', since_s, LONGEST_VIDEO_S)
        trial.video_s = seen['at_s'] - over_s
    except TooSlow:
        trial.surprises.append(f'no picture after {LONGEST_VIDEO_S:g} s')
    if trial.video_s > VIDEO_S:
        trial.surprises.append(f'no picture for {trial.video_s:.1f} s')


def _why_it_stood(rig: Rig, zero_s: float) -> str:
    return why_it_stood(
        zero_s,
        machine_s=rig.canary.longest_s(zero_s - DIAGNOSED_S, zero_s),
        sent=rig.sent_s(),
        operator=list(rig.operator.events),
        robot=rig.recorder.of_kind('state'),
        diagnostics=rig.recorder.of_kind('diagnostics', zero_s - DIAGNOSED_S),
    )


def _story(rig: Rig, commands: Sequence[Command], begun_s: float) -> str:
    """Return the ages of the obeyed commands, and the events of operator and robot."""
    ages = [
        f'{command.arrival_s - begun_s:.2f}:{command.age_s:.2f}'
        for command in commands
        if command.age_s is not None and command.age_s > OLD_S
    ]
    return f'time:age {" ".join(ages)}; {_since(rig, begun_s - STORY_S)}'


def _since(rig: Rig, begun_s: float) -> str:
    """Return the events of robot and operator, in seconds since a time."""
    robot = [
        f'{state["at_s"] - begun_s:.2f} s {state["state"]} {state["reason"]}'.rstrip()
        for state in rig.recorder.of_kind('state', begun_s)
    ]
    return f'robot {robot}; operator: {what_happened(list(rig.operator.events), begun_s)}'


def _told(rig: Rig, fault_s: float) -> str:
    """Return the first news that reached the operator."""
    if not alive(rig.operator.pid):
        return 'is gone'
    for event in list(rig.operator.events):
        if event['at_s'] < fault_s:
            continue
        if event['kind'] in ('lost', 'deaf', 'refused'):
            return f'{event["kind"]}: {event.get("why", "")}'
        if event['kind'] == 'page':
            return f'page: {event["text"]}'
        if event['kind'] == 'telemetry':
            said = _said(event['state'])
            if said:
                return said
    return 'nothing new'


def _said(state: dict[str, Any]) -> str:
    if state['estopped']:
        return 'telemetry: estopped'
    if state['blind']:
        return 'telemetry: blind'
    return '' if state['moving'] else 'telemetry: not moving'


def _sleep_until(when_s: float) -> None:
    time.sleep(max(0.0, when_s - time.monotonic()))
