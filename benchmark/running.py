"""Common frame of all benchmarks: environment, time limit, machine description, output."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
import json
import os
from pathlib import Path
import platform
import shutil
import signal
import subprocess
import sys
from typing import Any, Final, NoReturn

import psutil

from benchmark.comparison import table
from benchmark.figures import Figures, MeasurementError, medians

__all__ = [
    'Ended',
    'bounded',
    'end_children',
    'end_on_signals',
    'find_chromium',
    'machine',
    'options',
    'output_file',
    'prepare_environment',
    'report',
    'run',
]

ROOT: Final = Path(__file__).resolve().parents[1]


class Ended(BaseException):
    """A signal requested the end, or the time limit has passed."""


def _end(number: int, frame: object) -> NoReturn:
    raise Ended(signal.Signals(number).name)


def end_on_signals() -> None:
    """Make signals end the benchmark cleanly, with all processes that it has started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _end)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """
    Limit the duration of the block; at its end, kill the processes that it has started.

    :raises Ended: The time limit passed, or a signal came.
    """
    end_on_signals()
    signal.alarm(round(seconds))
    try:
        yield
    finally:
        signal.alarm(0)
        end_children()


def run(program: str, main: Callable[[], None]) -> NoReturn:
    """Run a program and exit; without figures, print one line and exit with status 1."""
    try:
        main()
    except Ended as ended:
        print(f'{program}: ended by {ended}', file=sys.stderr)
        sys.exit(1)
    except MeasurementError as error:
        print(f'{program}: {error}', file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def end_children() -> None:
    """Kill the remaining child processes."""
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def prepare_environment() -> None:
    """Isolate the programs under test from other robots, and put this tree on their path."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    os.environ.setdefault('ROS_LOG_DIR', str(ROOT / 'build' / 'ros_log'))
    paths = (str(ROOT), str(ROOT / 'test' / 'support'), os.environ.get('PYTHONPATH', ''))
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, paths))


def find_chromium() -> str:
    """Return the path of a Chromium; exit with status 2 if there is none."""
    names = (os.environ.get('CHROMIUM'), 'chromium', 'google-chrome', 'chromium-browser')
    for name in filter(None, names):
        if found := shutil.which(name):
            return found
    print('benchmark: no Chromium found; set the variable CHROMIUM', file=sys.stderr)
    sys.exit(2)


def machine(chromium: str | None = None) -> dict[str, Any]:
    """
    Return a description of the machine, on which the figures depend.

    :param chromium: The browser, if one is used.
    """
    models = (
        line.partition(':')[2].strip()
        for line in Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        if line.startswith('model name')
    )
    found = {
        'cpu': next(models, 'unknown'),
        'cores': os.cpu_count(),
        'kernel': platform.release(),
        'python': platform.python_version(),
        'aiortc': version('aiortc'),
        'av': version('av'),
        'load_average': round(os.getloadavg()[0], 2),
    }
    if chromium is not None:
        said = subprocess.run(
            [chromium, '--version'], stdout=subprocess.PIPE, text=True, timeout=20.0, check=True
        )
        found['browser'] = said.stdout.strip()
    return found


def output_file(text: str) -> Path:
    """Return the path of an output file; it is checked before the measurement, not after it."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f'{text} is not a file in an existing folder')
    return path


def options(program: str, description: str, *, seconds: float) -> argparse.ArgumentParser:
    """
    Return a parser with the options that every benchmark has.

    :param seconds: Default duration of a case.
    """
    parser = argparse.ArgumentParser(
        prog=f'python3 -m benchmark.{program}',
        allow_abbrev=False,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=seconds,
        help=f'seconds per case, at least 1 ({seconds:g})',
    )
    parser.add_argument(
        '--repeats', type=int, default=3, help='number of repeats, of which medians are taken (3)'
    )
    parser.add_argument('--json', type=output_file, help='write every figure of every repeat')
    return parser


def report(
    results: Mapping[str, Sequence[Figures]], where: Mapping[str, Any], file: Path | None
) -> None:
    """
    Print the medians, and write all figures.

    :param results: Case → the figures of its repeats.
    :param file: Output file for JSON.
    """
    middle = {name: medians(repeats) for name, repeats in results.items()}
    for name, value in where.items():
        print(f'{name}: {value}')
    print()
    print(table(middle))
    if file is not None:
        text = json.dumps(
            {'machine': dict(where), 'medians': middle, 'repeats': dict(results)}, indent=1
        )
        file.write_text(text + '\n', encoding='utf-8')
