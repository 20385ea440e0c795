"""
Why a robot stood that should have moved: which of the programs stopped, refused or lost; pure.

A stop for which the operator's own program or the machine is to blame is none of the bridge's.
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
"""The watchdog's time and what was under way: what is to blame happened in here."""
AFTER_S: Final = 1.2
"""Diagnostics come once a second."""
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
    Return what is known of the time before a zero.

    :param zero_s: When the robot was stopped.
    :param machine_s: How long the machine let a thread wait that had nothing to do with it.
    :param sent: When commands were sent, in any order.
    :param operator: The events of the operator's program.
    :param robot: What the bridge said on ``~/state``.
    :param diagnostics: The counters of the bridge, as they were at ``at_s``.
    """
    begin_s = zero_s - BEFORE_S
    known = []
    times = sorted(time_s for time_s in sent if begin_s <= time_s <= zero_s)
    gaps = [later - earlier for earlier, later in itertools.pairwise([begin_s, *times, zero_s])]
    known.append(f'{len(times)} commands sent in {BEFORE_S:g} s, longest gap {max(gaps):.2f} s')
    if machine_s > 0.0:
        known.append(f'the machine let threads wait for {machine_s:.2f} s')
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
    """Return what became of the operator's link and requests since a time, for people."""
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
    """Return by how much the counters of what was lost or refused rose in a time."""
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
