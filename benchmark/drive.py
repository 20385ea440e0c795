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

"""
The whole way, driven: ``python3 -m benchmark.drive``, better by way of ``scripts/benchmark``.

Starts broker, bridge and simulated robot as processes and a headless Chromium on the operator
page, drives in a circle, measures, ends everything, and prints a table. docs/performance.md says
what each figure means.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
import json
import os
from pathlib import Path
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any, Final, NoReturn

import psutil

from benchmark.figures import Figures, MeasurementError, medians
from benchmark.report import judge, table

LONGEST_S: Final = 30.0
"""The page keeps its newest 1000 glass-to-glass samples: what 30 Hz give in this time."""
OVERHEAD_S: Final = 120.0
"""What a repeat may take beside its window."""


class _Ended(BaseException):
    """A signal asks for the end."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with status 2 when one is wrong."""
    parser = argparse.ArgumentParser(prog='benchmark', allow_abbrev=False, description=__doc__)
    parser.add_argument(
        '--seconds', type=_seconds, default=20.0, help='window of each repeat, 5 to 30 (20)'
    )
    parser.add_argument('--repeat', type=_count, default=3, help='repeats, 1 to 20 (3)')
    parser.add_argument(
        '--connects', type=_count, default=5, help='page loads of each repeat, 1 to 20 (5)'
    )
    parser.add_argument('--json', type=_file, metavar='FILE', help='write all figures there')
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    value = float(text)
    if not 5.0 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f'{text} is not usable; allowed: 5 to {LONGEST_S:g}')
    return value


def _file(text: str) -> Path:
    path = Path(text)
    # Before the measurement, not after it.
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f'{text} is not usable; allowed: a file in a folder')
    return path


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 20:
        raise argparse.ArgumentTypeError(f'{text} is not usable; allowed: 1 to 20')
    return value


def machine(chromium: str) -> dict[str, Any]:
    """Return what the figures depend on."""
    said = subprocess.run(
        [chromium, '--version'], stdout=subprocess.PIPE, text=True, timeout=20.0, check=True
    )
    models = (
        line.partition(':')[2].strip()
        for line in Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        if line.startswith('model name')
    )
    return {
        'cpu': next(models, 'unknown'),
        'cores': os.cpu_count(),
        'kernel': platform.release(),
        'python': platform.python_version(),
        'aiortc': version('aiortc'),
        'av': version('av'),
        'browser': said.stdout.strip(),
    }


def _find_chromium() -> str:
    names = (os.environ.get('CHROMIUM'), 'chromium', 'google-chrome', 'chromium-browser')
    for name in filter(None, names):
        if found := shutil.which(name):
            return found
    sys.exit('benchmark: no Chromium found; name one by the variable CHROMIUM')


def _prepare_environment() -> None:
    root = Path(__file__).resolve().parents[1]
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    os.environ.setdefault('ROS_LOG_DIR', str(root / 'build' / 'ros_log'))
    inherited = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join([str(root), *([inherited] if inherited else [])])


def _end(number: int, frame: object) -> NoReturn:
    raise _Ended(signal.Signals(number).name)


def _end_children() -> None:
    """Kill what is left of the processes that this one has started."""
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def run(options: argparse.Namespace, chromium: str) -> list[Figures]:
    """Run all repeats; a signal or a stall ends them."""
    from benchmark import scenario

    repeats = []
    chosen = scenario.Options(
        chromium=chromium, seconds=options.seconds, connects=options.connects
    )
    for number in range(1, options.repeat + 1):
        print(f'benchmark: run {number} of {options.repeat} …', file=sys.stderr, flush=True)
        signal.alarm(round(options.seconds + OVERHEAD_S))
        with tempfile.TemporaryDirectory(prefix='teleop-benchmark-') as folder:
            try:
                repeats.append(scenario.measure(Path(folder), chosen))
            finally:
                signal.alarm(0)
                _end_children()
    return repeats


def main(arguments: Sequence[str]) -> int:
    """
    Run the benchmark.

    :returns: 0 if all floors are reached, 1 if not or if it was ended, 2 for a wrong option.
    """
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _end)
    _prepare_environment()
    chromium = _find_chromium()
    try:
        repeats = run(options, chromium)
    except _Ended as ended:
        print(f'benchmark: ended by {ended}', file=sys.stderr)
        return 1
    except MeasurementError as error:
        print(f'benchmark: {error}', file=sys.stderr)
        return 1
    verdicts = judge(repeats)
    passed = all(verdict.passed for verdict in verdicts)
    where = machine(chromium)
    result = {
        'machine': where,
        'options': {'seconds': options.seconds, 'connects': options.connects},
        'median': medians(repeats),
        'repeats': repeats,
        'floors': [verdict.as_json() for verdict in verdicts],
        'passed': passed,
    }
    for name, value in where.items():
        print(f'{name}: {value}')
    print()
    print(table(repeats, verdicts))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return 0 if passed else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
