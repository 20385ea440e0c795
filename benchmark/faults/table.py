"""
Table of the faults, each with its expected outcome and the reason for it.

The actions on the rig come from :mod:`benchmark.faults.actions`.
"""

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

import signal
from typing import Final

import wall_clock

from benchmark.faults import actions
from benchmark.faults.fault import Expected, Fault, LINK, STOP_MS, UNDER_WAY_MS, WATCHDOG
from benchmark.faults.network import Conditions, Host
from benchmark.faults.page_faults import PAGE_FAULTS
from benchmark.faults.rig import Rig, Setting

__all__ = ['FAULTS', 'named']

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
ROBOT, BROKER, OPERATOR = Host.ROBOT, Host.BROKER, Host.OPERATOR
CUT: Final = Conditions(cut=True)
HD: Final = Setting(camera=(1280, 720, 30.0))
HOGS: Final = 6
LOADED_STOP_MS: Final = STOP_MS + 20.0
LEASE_MS: Final = 500.0 + STOP_MS + UNDER_WAY_MS
END_OF_LINK_MS: Final = 50.0
"""Goal for the end of file between the halves: on a busy machine, a kill takes time."""
SILENT_MS: Final = UNDER_WAY_MS
REVOKED_MS: Final = 1000.0 + STOP_MS + UNDER_WAY_MS
LEASE = 'the lease: echoed tokens expire after 500 ms and a round trip; then the watchdog'
BLIND_SPEED: Final = 0.3


def _slower_when_blind(rig: Rig, begun_s: float, ended_s: float) -> list[str]:
    """Judge the last half second of two seconds in which the picture does not change."""
    commands = rig.commands(ended_s - 0.5)
    fast = [c for c in commands if abs(c.axes[0]) > BLIND_SPEED + 1e-9]
    return [f'{len(fast)} commands at full speed without a picture'] if fast else []


def _half_ended(rig: Rig, begun_s: float, ended_s: float) -> list[str]:
    """Check that the WebRTC half of a killed bridge is gone."""
    left = rig.left_behind()
    return [f'left behind: {left}'] if left else []


_PROCESSES: Final = (
    Fault(
        name='operator: kill -9',
        expected=Expected.STOPS,
        inject=actions.signalled('operator', KILL),
        why=WATCHDOG,
    ),
    Fault(
        name='operator: SIGSTOP',
        expected=Expected.STOPS,
        inject=actions.signalled('operator', STOP),
        why=WATCHDOG,
    ),
    Fault(
        name='operator: falls silent',
        expected=Expected.STOPS,
        inject=actions.wishes('silence'),
        why=WATCHDOG,
    ),
    Fault(
        name='WebRTC half: kill -9',
        instant=True,
        expected=Expected.STOPS,
        inject=actions.webrtc_half_signalled(KILL),
        goal_ms=END_OF_LINK_MS,
        goal_from_fault=True,
        why=LINK + ', at the latest ' + WATCHDOG,
    ),
    Fault(
        name='WebRTC half: SIGSEGV',
        instant=True,
        expected=Expected.STOPS,
        inject=actions.webrtc_half_signalled(signal.SIGSEGV),
        why=LINK + ', after the kernel has written its core',
    ),
    Fault(
        name='WebRTC half: SIGSTOP',
        expected=Expected.STOPS,
        inject=actions.webrtc_half_signalled(STOP),
        why=WATCHDOG,
    ),
    Fault(
        name='WebRTC half: no more memory',
        expected=Expected.EITHER,
        inject=actions.webrtc_half_out_of_memory,
        why=WATCHDOG,
    ),
    Fault(
        name='ROS half: kill -9',
        expected=Expected.SILENT,
        inject=actions.signalled('bridge', KILL),
        bound_ms=SILENT_MS,
        check=_half_ended,
        why="nobody is left: the base's own time-out",
    ),
    Fault(
        name='ROS half: SIGSTOP',
        expected=Expected.SILENT,
        inject=actions.signalled('bridge', STOP),
        bound_ms=SILENT_MS,
        neutral_first=False,
        why="nobody is left: the base's own time-out; later commands are recent",
    ),
    Fault(
        name='robot: suspended',
        expected=Expected.SILENT,
        inject=actions.robot_suspended,
        bound_ms=SILENT_MS,
        why="nobody is left: the base's own time-out",
    ),
    Fault(
        name='ROS half: SIGTERM',
        expected=Expected.ENDS,
        inject=actions.signalled('bridge', signal.SIGTERM),
        why='the last zero is published before anything else',
    ),
    Fault(
        name='broker: kill -9',
        expected=Expected.STOPS,
        inject=actions.signalled('broker', KILL),
        why=WATCHDOG,
    ),
    Fault(
        name='broker: SIGSTOP',
        expected=Expected.STOPS,
        inject=actions.signalled('broker', STOP),
        why=WATCHDOG,
    ),
    Fault(
        name='broker: restarted',
        instant=True,
        expected=Expected.STOPS,
        inject=actions.broker_restarted,
        bound_ms=1000.0 + STOP_MS + UNDER_WAY_MS,
        why='it first ends its sessions, in less than a second; then ' + WATCHDOG,
    ),
)

_NETWORK: Final = (
    *(
        Fault(
            name=f'network: {one.name.lower()} and {other.name.lower()} apart',
            expected=Expected.STOPS,
            inject=actions.spoilt_both(one, other, CUT),
            why=WATCHDOG,
        )
        for one, other in ((ROBOT, BROKER), (OPERATOR, BROKER))
    ),
    Fault(
        name='network: nothing to the broker from the operator',
        expected=Expected.STOPS,
        inject=actions.spoilt(OPERATOR, BROKER, CUT),
        why=WATCHDOG,
    ),
    Fault(
        name='network: nothing to the robot',
        expected=Expected.STOPS,
        inject=actions.spoilt(BROKER, ROBOT, CUT),
        why=WATCHDOG,
    ),
    Fault(
        name='network: nothing to the operator',
        expected=Expected.STOPS,
        inject=actions.spoilt(BROKER, OPERATOR, CUT),
        bound_ms=LEASE_MS,
        hold_s=2.5,
        why=LEASE,
    ),
    Fault(
        name='network: nothing from the robot',
        expected=Expected.STOPS,
        inject=actions.spoilt(ROBOT, BROKER, CUT),
        bound_ms=LEASE_MS,
        hold_s=2.5,
        why=LEASE,
    ),
    Fault(
        name='network: 20 % loss each way',
        expected=Expected.DRIVES_ON,
        inject=actions.spoilt_both(OPERATOR, BROKER, Conditions(loss=0.2)),
        why=WATCHDOG,
    ),
    Fault(
        name='network: 50 % loss each way',
        expected=Expected.EITHER,
        inject=actions.spoilt_both(OPERATOR, BROKER, Conditions(loss=0.5)),
        why=WATCHDOG,
    ),
    Fault(
        name='network: 100 ± 100 ms, overtaking',
        expected=Expected.DRIVES_ON,
        inject=actions.spoilt_both(OPERATOR, BROKER, Conditions(delay_s=0.1, jitter_s=0.1)),
        bound_ms=200.0 + STOP_MS + UNDER_WAY_MS,
        why='commands in flight, 200 ms; then ' + WATCHDOG,
    ),
    Fault(
        name='network: 300 ± 100 ms all along',
        expected=Expected.DRIVES_ON,
        inject=actions.wishes('drive'),
        bound_ms=400.0 + STOP_MS + UNDER_WAY_MS,
        quickest_s=0.2,
        setting=Setting(operator_link=Conditions(delay_s=0.3, jitter_s=0.1)),
        why='commands in flight, 400 ms; then ' + WATCHDOG,
    ),
    Fault(
        name='network: 300 ± 100 ms from now on',
        expected=Expected.EITHER,
        inject=actions.spoilt_both(OPERATOR, BROKER, Conditions(delay_s=0.3, jitter_s=0.1)),
        bound_ms=400.0 + STOP_MS + UNDER_WAY_MS,
        why='commands in flight, 400 ms; then ' + WATCHDOG,
    ),
    Fault(
        name='network: half of all packets twice',
        expected=Expected.DRIVES_ON,
        inject=actions.spoilt_both(OPERATOR, BROKER, Conditions(duplicate=0.5)),
        why=WATCHDOG,
    ),
    Fault(
        name='network: 60 kbit/s and a large buffer',
        expected=Expected.EITHER,
        inject=actions.spoilt_both(OPERATOR, BROKER, Conditions(rate_bps=60e3)),
        hold_s=4.0,
        bound_ms=500.0 + STOP_MS + UNDER_WAY_MS,
        why='nothing older than 500 ms is obeyed; then ' + WATCHDOG,
    ),
    Fault(
        name="network: noise at the robot's ports",
        expected=Expected.DRIVES_ON,
        inject=actions.flooded,
        why=WATCHDOG,
    ),
)

_MACHINE: Final = (
    Fault(
        name='machine: 6 hogs, 720p, operator silent',
        expected=Expected.STOPS,
        inject=actions.hogged(HOGS, actions.wishes('silence')),
        setting=HD,
        goal_ms=LOADED_STOP_MS,
        bound_ms=LOADED_STOP_MS + UNDER_WAY_MS,
        why=WATCHDOG + '; commands in flight take longer',
    ),
    Fault(
        name='machine: 6 hogs, 720p, WebRTC half kill -9',
        instant=True,
        expected=Expected.STOPS,
        inject=actions.hogged(HOGS, actions.webrtc_half_signalled(KILL)),
        setting=HD,
        goal_ms=LOADED_STOP_MS,
        why=LINK,
    ),
    Fault(
        name="robot's wall clock: one hour on",
        expected=Expected.DRIVES_ON,
        inject=actions.clock_stepped(3600.0),
        setting=Setting(movable_clock=True),
        missing=wall_clock.why_not,
        why=WATCHDOG,
    ),
    Fault(
        name="robot's wall clock: one hour back",
        expected=Expected.DRIVES_ON,
        inject=actions.clock_stepped(-3600.0),
        setting=Setting(movable_clock=True),
        missing=wall_clock.why_not,
        why=WATCHDOG,
    ),
    Fault(
        name='simulation: /clock paused',
        expected=Expected.DRIVES_ON,
        inject=actions.simulation_paused,
        setting=Setting(simulated_time=True),
        why=WATCHDOG,
    ),
    Fault(
        name='camera: SIGSTOP',
        expected=Expected.DRIVES_ON,
        inject=actions.signalled('camera', STOP),
        hold_s=2.5,
        check=_slower_when_blind,
        why='slower after a second without a picture; ' + WATCHDOG,
    ),
    Fault(
        name='camera: another size',
        expected=Expected.DRIVES_ON,
        inject=actions.signalled('camera', signal.SIGUSR1),
        why=WATCHDOG,
    ),
    Fault(
        name="robot's disk full",
        expected=Expected.DRIVES_ON,
        inject=actions.disk_filled,
        setting=Setting(small_disk=ROBOT, parameters={'estop_persist': 'true'}),
        why=WATCHDOG,
    ),
    Fault(
        name="broker's disk full",
        expected=Expected.DRIVES_ON,
        inject=actions.disk_filled,
        setting=Setting(small_disk=BROKER),
        why=WATCHDOG,
    ),
)

_ADVERSARIES: Final = (
    Fault(
        name="robot's API key revoked",
        expected=Expected.STOPS,
        inject=actions.key_revoked,
        bound_ms=REVOKED_MS,
        hold_s=2.0,
        why='the broker checks once per second; then ' + WATCHDOG,
    ),
    Fault(
        name="operator's token revoked",
        expected=Expected.STOPS,
        inject=actions.token_revoked,
        bound_ms=REVOKED_MS,
        hold_s=2.0,
        why='the broker checks once per second; then ' + WATCHDOG,
    ),
    Fault(
        name='operator: garbage on the channels',
        expected=Expected.EITHER,
        inject=actions.wishes('garbage'),
        why=WATCHDOG,
    ),
    Fault(
        name='operator: 5,000 commands a second',
        expected=Expected.EITHER,
        inject=actions.wishes('flood'),
        bound_ms=500.0 + STOP_MS + UNDER_WAY_MS,
        why='nothing older than 500 ms is obeyed; then ' + WATCHDOG,
    ),
)

_LATCHED: Final = (
    Fault(
        name='E-STOP, 20 % loss and 80 ms there and back',
        expected=Expected.LATCHED,
        inject=actions.estop_pressed,
        setting=Setting(operator_link=Conditions(delay_s=0.04, loss=0.2)),
        quickest_s=0.04,
        hold_s=0.0,
        goal_ms=120.0,
        goal_from_fault=True,
        trials_per_phase=5,
        why='repeated on both channels until it is acknowledged',
    ),
    *(
        Fault(
            name=f'latched, then {name}',
            expected=Expected.LATCHED,
            inject=action,
            latched_before=True,
            setting=Setting(parameters={'estop_persist': 'true'}),
            why='the latch is in the ROS half and, with estop_persist, in a file',
        )
        for name, action in (
            ('WebRTC half kill -9', actions.webrtc_half_signalled(KILL)),
            ('ROS half kill -9', actions.signalled('bridge', KILL)),
            ('broker kill -9', actions.signalled('broker', KILL)),
            ('robot and broker apart', actions.spoilt_both(ROBOT, BROKER, CUT)),
            ('operator kill -9', actions.signalled('operator', KILL)),
        )
    ),
)

FAULTS: Final = (
    *_PROCESSES,
    *_NETWORK,
    *_MACHINE,
    *_ADVERSARIES,
    *PAGE_FAULTS,
    *_LATCHED,
)


def named(names: list[str]) -> list[Fault]:
    """
    Return the faults whose name contains one of these; all faults, if none are given.

    :raises LookupError: One of them matches no fault.
    """
    for name in names:
        if not any(name in fault.name for fault in FAULTS):
            raise LookupError(f'no fault name contains {name!r}; --list shows the names')
    return [f for f in FAULTS if not names or any(name in f.name for name in names)]
