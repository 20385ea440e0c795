"""The last line of scripts/test tells what the reports tell."""

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

from pathlib import Path
import subprocess
import sys

import pytest
from tree import ROOT

pytestmark = pytest.mark.real_programs

SUMMARIZE = ROOT / 'scripts' / 'summarize_tests.py'
PASSED = '<testcase classname="m" name="passed" />'
FAILED = '<testcase classname="m" name="failed"><failure message="m">m</failure></testcase>'
BROKEN = '<testcase classname="m" name="broken"><error message="m">m</error></testcase>'
SKIPPED = '<testcase classname="m" name="skipped"><skipped message="m">m</skipped></testcase>'


def lines_of(folder: Path, *cases: str) -> tuple[int, list[str]]:
    report = folder / 'report.xml'
    report.write_text(f'<testsuites><testsuite>{"".join(cases)}</testsuite></testsuites>')
    ended = subprocess.run(
        [sys.executable, str(SUMMARIZE), f'part={report}'], capture_output=True, text=True
    )
    return ended.returncode, ended.stdout.splitlines()


def summary_of(folder: Path, *cases: str) -> tuple[int, str]:
    status, lines = lines_of(folder, *cases)
    return status, lines[-1]


def test_each_outcome_is_counted(tmp_path: Path) -> None:
    assert summary_of(tmp_path, PASSED, SKIPPED) == (0, '1 passed, 0 failed, 1 skipped')
    counted = (1, '1 passed, 2 failed, 0 skipped')
    assert summary_of(tmp_path, PASSED, FAILED, BROKEN) == counted


def passed(name: str) -> str:
    return PASSED.replace('"passed"', f'"{name}"')


def test_a_test_that_was_run_once_more_counts_once_and_is_named(tmp_path: Path) -> None:
    status, lines = lines_of(tmp_path, PASSED, passed('a'), passed('a'))
    assert lines[-2:] == ['passed only when run once more: m.a', '2 passed, 0 failed, 0 skipped']
    assert status == 0
    again = FAILED.replace('<failure message="m">m</failure>', '')
    assert summary_of(tmp_path, again, FAILED) == (1, '0 passed, 1 failed, 0 skipped')


def test_of_those_that_were_run_once_more_two_may_pass_and_three_have_failed(
    tmp_path: Path,
) -> None:
    two = [passed(name) for name in 'aabb']
    assert summary_of(tmp_path, PASSED, *two) == (0, '3 passed, 0 failed, 0 skipped')
    status, lines = lines_of(tmp_path, PASSED, *two, passed('c'), passed('c'))
    named = [f'passed only when run once more: m.{name}' for name in 'abc']
    assert [line for line in lines if line in named] == named
    assert (status, lines[-1]) == (1, '1 passed, 3 failed, 0 skipped')


def test_those_that_were_run_once_more_are_counted_over_all_parts(tmp_path: Path) -> None:
    reports = []
    for number, names in enumerate(('aabb', 'cc')):
        report = tmp_path / f'{number}.xml'
        cases = ''.join(passed(name) for name in names)
        report.write_text(f'<testsuites><testsuite>{cases}</testsuite></testsuites>')
        reports.append(f'part {number}={report}')
    ended = subprocess.run(
        [sys.executable, str(SUMMARIZE), *reports], capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines()[-1] == '0 passed, 3 failed, 0 skipped'
    assert ended.returncode == 1


def test_a_part_without_a_report_has_failed(tmp_path: Path) -> None:
    assert summary_of(tmp_path) == (1, '0 passed, 1 failed, 0 skipped')
