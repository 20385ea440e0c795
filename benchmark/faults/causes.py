"""
Explains why a robot stood that should have moved: what stopped, was refused or was lost; pure.

A stop that the operator's own program or the machine caused is not the bridge's fault.
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

from collections.abc import Iterable, Mapping, Sequence
import itertools
from typing import Any, Final

__all__ = ['drops', 'what_happened', 'why_it_stood']

BEFORE_S: Final = 0.4
"""Watchdog time plus commands in flight: the cause lies within this time."""
AFTER_S: Final = 1.2
"""Diagnostics are published once per second."""
USUAL: Final = ('frames', 'telemetry', 'wants', 'sent')
DETAILS: Final = ('why', 'text', 'link', 'by_s', 'buffered', 'sctp', 'ok')


def why_it_stood(
    zero_s: float,
    *,
    machine_s: float,
    sent: Sequence[float],
    operator: Iterable[Mapping[str, Any]],
    robot: Iterable[Mapping[str, Any]],
    diagnostics: Sequence[Mapping[str, Any]],
) -> str:
    """
    Return what is known about the time before a zero.

    :param zero_s: When the robot was stopped.
    :param machine_s: How long the machine made an unrelated thread wait.
    :param sent: When commands were sent, in any order.
    :param operator: The events of the operator's program.
    :param robot: The bridge's messages on ``~/state``.
    :param diagnostics: The bridge's counters, each set with its time ``at_s``.
    """
    begin_s = zero_s - BEFORE_S
    known = []
    times = sorted(time_s for time_s in sent if begin_s <= time_s <= zero_s)
    gaps = [later - earlier for earlier, later in itertools.pairwise([begin_s, *times, zero_s])]
    known.append(f'{len(times)} commands sent in {BEFORE_S:g} s, longest gap {max(gaps):.2f} s')
    if machine_s > 0.0:
        known.append(f'the machine made threads wait for {machine_s:.2f} s')
    for event in operator:
        if not begin_s <= event['at_s'] <= zero_s + AFTER_S:
            continue
        if event['kind'] == 'late':
            known.append(f"the operator's program did not run for {event['by_s']:.2f} s")
        elif event['kind'] == 'skipped':
            known.append(f'the page had held back {event["count"]} commands')
        elif event['kind'] == 'page':
            known.append(f'page: {event["text"]}')
        elif event['kind'] in ('lost', 'refused', 'connected', 'deaf', 'lock'):
            known.append(f'operator {event["kind"]} {event.get("why", "")}'.rstrip())
        elif event['kind'] == 'full':
            known.append(f'the link held {event["buffered"]} bytes back: {event["sctp"]}')
        elif event['kind'] == 'telemetry' and event['state'].get('refusing'):
            known.append(f'refusing {event["state"]["refusing"]}')
    known += [
        f'robot {event["state"]} {event["reason"]}'.rstrip()
        for event in robot
        if begin_s <= event['at_s'] <= zero_s + AFTER_S
    ]
    grown = drops(diagnostics, begin_s, zero_s + AFTER_S)
    if grown:
        known.append('counters ' + ', '.join(f'{k} +{v:g}' for k, v in sorted(grown.items())))
    return '; '.join(dict.fromkeys(known))


def what_happened(operator: Iterable[Mapping[str, Any]], begin_s: float) -> str:
    """Return the events of the operator's link and requests since a time, as readable text."""
    told = [
        f'{event["at_s"] - begin_s:.2f} s {event["kind"]} '
        + ' '.join(str(event[name]) for name in DETAILS if name in event)
        for event in operator
        if event['at_s'] >= begin_s and event['kind'] not in USUAL
    ]
    return '; '.join(told)


def drops(
    diagnostics: Sequence[Mapping[str, Any]], begin_s: float, end_s: float
) -> dict[str, float]:
    """Return by how much the counters of lost or refused items rose in a time span."""
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    for event in diagnostics:
        if event['at_s'] <= begin_s:
            before |= event['counters']
        elif event['at_s'] <= end_s:
            after |= event['counters']
    return {
        name: value - before.get(name, 0.0)
        for name, value in after.items()
        if value > before.get(name, 0.0)
    }
