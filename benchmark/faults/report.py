"""The matrix as a readable table and as JSON; pure."""

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

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
import math
from typing import Any

from benchmark.faults.fault import Fault
from benchmark.faults.trial import Trial
from benchmark.figures import percentile

__all__ = ['as_json', 'markdown', 'summary']

_HEAD = (
    'fault',
    'must',
    'n',
    'accepted → zero [ms] p50, max',
    'fault → zero [ms] p50, max',
    'goal [ms]',
    'reached',
    'bound [ms]',
    'moved after it',
    'latch kept',
    'heard again [s] p50, max',
    'video [s] p50, max',
    'operator told',
)


def as_json(trials: Sequence[Trial], **about: Any) -> dict[str, Any]:
    """Return all results in a form that JSON can hold."""
    rows = [{name: _plain(value) for name, value in asdict(trial).items()} for trial in trials]
    return {**about, 'trials': rows}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(faults: Sequence[Fault], trials: Sequence[Trial]) -> str:
    """Return one row for each fault that was tried."""
    lines = ['| ' + ' | '.join(_HEAD) + ' |', '|' + '---|' * len(_HEAD)]
    for fault in faults:
        own = [trial for trial in trials if trial.fault == fault.name]
        if own:
            lines.append('| ' + ' | '.join(_row(fault, own)) + ' |')
    return '\n'.join(lines)


def _row(fault: Fault, trials: Sequence[Trial]) -> list[str]:
    kept = [trial.latch_kept for trial in trials if trial.latch_kept is not None]
    told = Counter(trial.told for trial in trials).most_common(1)[0][0]
    return [
        fault.name,
        fault.expected.value,
        str(len(trials)),
        _spread((trial.accepted_to_zero_s for trial in trials), 1e3, 0),
        _spread((trial.fault_to_zero_s for trial in trials), 1e3, 0),
        ('from fault: ' if fault.goal_from_fault else '') + f'{fault.goal_ms:.0f}',
        _reached(fault, trials),
        f'{fault.bound_ms:.0f}',
        str(sum(trial.moved_after_bound for trial in trials)),
        f'{sum(kept)} of {len(kept)}' if kept else '–',
        _spread((trial.reconnect_s for trial in trials), 1.0, 1),
        _spread((trial.video_s for trial in trials), 1.0, 1),
        told,
    ]


def _reached(fault: Fault, trials: Sequence[Trial]) -> str:
    times_s = [
        t.fault_to_zero_s if fault.goal_from_fault else t.accepted_to_zero_s for t in trials
    ]
    known = [1e3 * time_s <= fault.goal_ms for time_s in times_s if math.isfinite(time_s)]
    return f'{sum(known)} of {len(known)}' if known else '–'


def _spread(values: Iterable[float], scale: float, digits: int) -> str:
    known = [scale * value for value in values if math.isfinite(value)]
    if not known:
        return '–'
    return f'{percentile(known, 50):.{digits}f}, {max(known):.{digits}f}'


def summary(trials: Sequence[Trial]) -> str:
    """Return a summary with all violations and surprises."""
    unsafe = [f'{t.fault} at {t.phase_s:.3f} s: {v}' for t in trials for v in t.violations]
    odd = [f'{t.fault} at {t.phase_s:.3f} s: {s}' for t in trials for s in t.surprises]
    lines = [f'{len(trials)} trials, {len(unsafe)} violations, {len(odd)} surprises']
    lines += [f'  VIOLATION {text}' for text in unsafe]
    lines += [f'  surprise  {text}' for text in odd]
    return '\n'.join(lines)
