"""Runs the survival matrix; see ``--help``."""

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

import argparse
from collections.abc import Sequence
import json
import os
from pathlib import Path
import random
import shutil
import signal
import sys
import time
from typing import Final, NoReturn

from namespaces import why_no_namespaces

from benchmark.faults.fault import Fault
from benchmark.faults.processes import TooSlow
from benchmark.faults.report import as_json, markdown, summary
from benchmark.faults.rig import rig
from benchmark.faults.table import FAULTS, named
from benchmark.faults.trial import run, Trial

SHORTEST_PHASE_S: Final = 0.1
LONGEST_PHASE_S: Final = 0.6
BROWSERS: Final = ('chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser')
ATTEMPTS: Final = 3
"""Number of rigs that one fault may use up: a rig that breaks is replaced."""


class _Ended(BaseException):
    """A signal requested the end."""


def _end(number: int, frame: object) -> NoReturn:
    raise _Ended(signal.Signals(number).name)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exit with status 2 when one is invalid."""
    parser = argparse.ArgumentParser(
        prog='benchmark.faults', allow_abbrev=False, description=__doc__
    )
    parser.add_argument(
        '--fault',
        action='append',
        default=[],
        metavar='NAME',
        help='only faults whose name contains this; may be repeated (all)',
    )
    parser.add_argument('--phases', type=int, default=20, help='trials of each fault (20)')
    parser.add_argument('--seed', type=int, default=1, help='seed of the random phases (1)')
    parser.add_argument(
        '--minutes', type=float, default=120.0, help='start no fault after this time (120)'
    )
    parser.add_argument(
        '--part', default='1/1', metavar='I/N', help='every N-th fault, starting at the I-th (1/1)'
    )
    parser.add_argument('--list', action='store_true', help='list the faults and exit')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all trials to this file')
    options = parser.parse_args(arguments)
    try:
        part, parts = map(int, options.part.split('/'))
    except ValueError:
        part, parts = 0, 0
    if not 1 <= part <= parts:
        parser.error(
            f'--part {options.part}: must be two numbers such as 1/3, the first at most the second'
        )
    options.faults = slice(part - 1, None, parts)
    return options


def try_out(fault: Fault, phases: list[float], done: list[Trial]) -> None:
    """Add a trial for each phase; a rig that breaks is reported as a surprise and replaced."""
    for _ in range(ATTEMPTS):
        try:
            with rig(fault.setting) as running:
                while len(done) < len(phases):
                    trial = run(running, fault, phases[len(done)])
                    done.append(trial)
                    print('V' if trial.violations else '.', end='', flush=True)
                    for text in trial.violations:
                        print(f' {text} ', end='', flush=True)
        except (TooSlow, OSError) as error:
            phase_s = phases[min(len(done), len(phases) - 1)]
            done.append(Trial(fault=fault.name, phase_s=phase_s, surprises=[str(error)]))
            print('?', end='', flush=True)
        if len(done) >= len(phases):
            return


def _print_list(faults: Sequence[Fault]) -> None:
    for fault in faults:
        print(f'{fault.name:50} {fault.expected.value:18} {fault.bound_ms:5.0f} ms  {fault.why}')


def main(arguments: Sequence[str]) -> int:
    """
    Run the matrix.

    :returns: 0 if no violation was seen, 1 otherwise, 2 if the matrix cannot run here.
    """
    options = parse(arguments)
    if options.list:
        _print_list(FAULTS[options.faults])
        return 0
    try:
        faults = named(options.fault)[options.faults]
    except LookupError as error:
        print(f'benchmark.faults: {error}', file=sys.stderr)
        return 2
    if why := why_no_namespaces():
        print(f'benchmark.faults: {why}', file=sys.stderr)
        return 2
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    if chromium := next(filter(None, map(shutil.which, BROWSERS)), None):
        os.environ.setdefault('CHROMIUM', chromium)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    trials: list[Trial] = []
    try:
        _run_all(faults, options, trials)
    except _Ended as ended:
        print(f'\nbenchmark.faults: ended by {ended}', file=sys.stderr)
    print(markdown(faults, trials))
    print(summary(trials))
    if options.json:
        result = as_json(trials, seed=options.seed, cores=os.cpu_count())
        options.json.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    return 1 if any(trial.violations for trial in trials) else 0


def _run_all(faults: Sequence[Fault], options: argparse.Namespace, trials: list[Trial]) -> None:
    begun_s = time.monotonic()
    for fault in faults:
        if time.monotonic() - begun_s > 60 * options.minutes:
            print(f'not tried, out of time: {fault.name}', flush=True)
            continue
        if why := fault.missing():
            print(f'not tried: {fault.name}: {why}', flush=True)
            continue
        print(f'{fault.name} ', end='', flush=True)
        source = random.Random(f'{options.seed} {fault.name}')
        count = options.phases * fault.trials_per_phase
        phases = [source.uniform(SHORTEST_PHASE_S, LONGEST_PHASE_S) for _ in range(count)]
        done: list[Trial] = []
        try:
            try_out(fault, phases, done)
        finally:
            trials += done
        print(flush=True)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
