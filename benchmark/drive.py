"""
A drive through the whole system: ``python3 -m benchmark.drive``; prefer ``scripts/benchmark``.

Starts broker, bridge and simulated robot as processes and a headless Chromium on the operator
page, drives in a circle, measures, stops everything, and prints a table. docs/performance.md
explains each figure.
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

import argparse
from collections.abc import Sequence
import json
from pathlib import Path
import sys
import tempfile
from typing import Final

from benchmark.figures import Figures, MeasurementError, medians
from benchmark.report import judge, table
from benchmark.running import (
    bounded,
    end_on_signals,
    Ended,
    find_chromium,
    machine,
    output_file,
    prepare_environment,
)

LONGEST_S: Final = 30.0
"""The page keeps its newest 1000 glass-to-glass samples: about this long at 30 Hz."""
OVERHEAD_S: Final = 120.0
"""Time that a repeat may take in addition to its window."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exit with status 2 when one is invalid."""
    parser = argparse.ArgumentParser(prog='benchmark', allow_abbrev=False, description=__doc__)
    parser.add_argument(
        '--seconds', type=_seconds, default=20.0, help='seconds measured per repeat, 5 to 30 (20)'
    )
    parser.add_argument('--repeat', type=_count, default=3, help='number of repeats, 1 to 20 (3)')
    parser.add_argument(
        '--connects', type=_count, default=5, help='page loads per repeat, 1 to 20 (5)'
    )
    parser.add_argument(
        '--json', type=output_file, metavar='FILE', help='write all figures to this file'
    )
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    value = float(text)
    if not 5.0 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f'{text} is out of range; allowed: 5 to {LONGEST_S:g}')
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 20:
        raise argparse.ArgumentTypeError(f'{text} is out of range; allowed: 1 to 20')
    return value


def run(options: argparse.Namespace, chromium: str) -> list[Figures]:
    """Run all repeats; a signal or a stall ends them."""
    from benchmark import scenario

    repeats = []
    chosen = scenario.Options(
        chromium=chromium, seconds=options.seconds, connects=options.connects
    )
    for number in range(1, options.repeat + 1):
        print(f'benchmark: run {number} of {options.repeat} …', file=sys.stderr, flush=True)
        with (
            tempfile.TemporaryDirectory(prefix='teleop-benchmark-') as folder,
            bounded(options.seconds + OVERHEAD_S),
        ):
            repeats.append(scenario.measure(Path(folder), chosen))
    return repeats


def main(arguments: Sequence[str]) -> int:
    """
    Run the benchmark.

    :returns: 0 if all floors are met, 1 if not or if interrupted, 2 for an invalid option.
    """
    options = parse(arguments)
    end_on_signals()
    prepare_environment()
    chromium = find_chromium()
    try:
        repeats = run(options, chromium)
    except Ended as ended:
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
