"""
The summary of scripts/test: totals on the last line; exit status 0 if nothing failed.

A test that failed first and passed when CI repeated it counts as passed and is named. If there are
more than two such tests, they count as failed.

Each argument is ``NAME=REPORT``; the report is JUnit XML or TAP. A part without a readable report,
or whose report contains no test, counts as one failed test; so does an argument without a report.
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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import re
import sys
from typing import Final
from xml.etree import ElementTree

MAX_REPEATED: Final = 2
"""Maximum number of tests in a run that may pass only on the second attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The number of tests by result."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    repeated: tuple[str, ...] = ()
    """The names of the tests that passed only when they were repeated."""

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            skipped=self.skipped + other.skipped,
            repeated=self.repeated + other.repeated,
        )

    def __str__(self) -> str:
        return f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped'

    def judged(self) -> Totals:
        """Return the totals of a run, in which only a few tests may be repeated."""
        count = len(self.repeated)
        if count <= MAX_REPEATED:
            return self
        return replace(self, passed=self.passed - count, failed=self.failed + count)


def read_junit(text: str) -> Totals:
    """
    Return the totals of a JUnit XML report.

    :raises ValueError: The text is not such a report.
    """
    runs: dict[str, list[ElementTree.Element]] = {}
    try:
        for case in ElementTree.fromstring(text).iter('testcase'):
            name = f'{case.get("classname")}.{case.get("name")}'
            runs.setdefault(name, []).append(case)
    except ElementTree.ParseError as error:
        raise ValueError(f'not XML: {error}') from error
    totals = Totals()
    for name, cases in runs.items():
        if any(case.find(tag) is not None for tag in ('failure', 'error') for case in cases):
            totals += Totals(failed=1)
        elif cases[-1].find('skipped') is not None:
            totals += Totals(skipped=1)
        else:
            # pytest-rerunfailures reports the failed first run as if it had passed.
            totals += Totals(passed=1, repeated=(name,) if len(cases) > 1 else ())
    return totals


def read_tap(text: str) -> Totals:
    """
    Return the totals at the end of node's TAP report.

    :raises ValueError: The report has no totals.
    """
    counts = {name: int(n) for name, n in re.findall(r'^# (\w+) (\d+)$', text, re.MULTILINE)}
    try:
        return Totals(
            passed=counts['pass'],
            failed=counts['fail'] + counts['cancelled'],
            skipped=counts['skipped'] + counts['todo'],
        )
    except KeyError as error:
        raise ValueError(f'no count of {error}') from error


def read(part: str) -> Totals:
    """Return the totals of one part, and print a message if it has none."""
    name, _, path = part.partition('=')
    if not path:
        print(f'{name}: has failed')
        return Totals(failed=1)
    try:
        text = Path(path).read_text(encoding='utf-8')
        totals = read_tap(text) if path.endswith('.tap') else read_junit(text)
    except (OSError, ValueError) as error:
        print(f'{name}: no report ({error})')
        return Totals(failed=1)
    if totals == Totals():
        print(f'{name}: no test was found')
        return Totals(failed=1)
    print(f'{name}: {totals}')
    return totals


def main(parts: Sequence[str]) -> int:
    totals = sum((read(part) for part in parts), Totals())
    for name in totals.repeated:
        print(f'passed only when run once more: {name}')
    if len(totals.repeated) > MAX_REPEATED:
        print(f'more than {MAX_REPEATED} tests were run once more: they count as failed')
    totals = totals.judged()
    print(totals)
    return int(totals.failed > 0)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
