"""Which tests may be run once more, and that their marker tells the truth."""

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

import os
from pathlib import Path
import shutil
import subprocess
import sys
import textwrap

import pytest
from tree import ROOT

pytestmark = pytest.mark.real_programs

TEST = ROOT / 'test'
MARKED = '@pytest.mark.real_programs'
START = "subprocess.run(['true'], check=True)"
HEAD = """
import pathlib, subprocess
import pytest

FIRST = pathlib.Path(__file__).with_suffix('.first')

def fails_the_first_time():
    if not FIRST.exists():
        FIRST.touch()
        raise AssertionError('the first time')
"""


def run(folder: Path, tests: str, *options: str, ci: bool = False) -> tuple[int, str]:
    """Run tests under this project's rules; return pytest's exit status and its output."""
    (folder / 'test').mkdir()
    shutil.copy(TEST / 'conftest.py', folder / 'test')
    shutil.copy(TEST.parent / 'pyproject.toml', folder)
    (folder / 'test' / 'test_some.py').write_text(HEAD + textwrap.dedent(tests))
    # colcon's options are for its own run.
    environment = {name: value for name, value in os.environ.items() if name != 'PYTEST_ADDOPTS'}
    environment |= {'PYTHONPATH': str(TEST / 'support'), 'CI': str(ci).lower()}
    ended = subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120.0,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_a_test_that_starts_a_program_must_be_marked(tmp_path: Path) -> None:
    tests = f"""
    def test_itself():
        {START}

    @pytest.fixture(scope='module')
    def program():
        {START}

    def test_first_with_the_fixture(program):
        pass

    def test_second_with_the_fixture(program):
        pass

    def test_pure():
        pass

    @pytest.mark.linter
    def test_of_style():
        {START}
    """
    status, output = run(tmp_path, tests)
    assert status == 1, output
    assert output.count('starts programs: mark it real_programs') >= 3
    assert '3 failed, 2 passed' in output


def test_a_test_that_starts_none_must_not_be_marked(tmp_path: Path) -> None:
    tests = f"""
    @pytest.fixture(scope='module')
    def program():
        {START}

    {MARKED}
    def test_itself():
        {START}

    {MARKED}
    def test_with_a_fixture(program):
        pass

    {MARKED}
    def test_pure():
        pass
    """
    status, output = run(tmp_path, tests)
    assert status == 1, output
    assert 'starts no programs: it must not be marked real_programs' in output
    assert '1 failed, 2 passed' in output


def test_only_what_is_marked_is_run_once_more(tmp_path: Path) -> None:
    tests = f"""
    {MARKED}
    def test_of_programs():
        {START}
        fails_the_first_time()
    """
    status, output = run(tmp_path, tests, ci=True)
    assert status == 0, output
    assert '1 passed, 1 rerun' in output
    assert 'run once more: test/test_some.py::test_of_programs' in output
    pure = tmp_path / 'pure'
    pure.mkdir()
    status, output = run(pure, 'def test_pure():\n    fails_the_first_time()\n', ci=True)
    assert status == 1, output
    assert '1 failed in' in output.splitlines()[-1]


def test_it_is_run_once_more_only_once_and_only_in_ci(tmp_path: Path) -> None:
    tests = f"""
    {MARKED}
    def test_of_programs():
        {START}
        assert FIRST is None
    """
    status, output = run(tmp_path, tests, ci=True)
    assert status == 1, output
    assert '1 failed, 1 rerun' in output
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    status, output = run(elsewhere, tests)
    assert status == 1, output
    assert '1 failed in' in output.splitlines()[-1]


def test_a_module_that_skips_itself_fails_in_ci(tmp_path: Path) -> None:
    tests = "pytest.importorskip('nobody_has_this')"
    status, output = run(tmp_path, tests)
    assert status == 5, output
    assert '1 skipped' in output
    strict = tmp_path / 'strict'
    strict.mkdir()
    status, output = run(strict, tests, ci=True)
    assert status == 2, output
    assert 'must run where CI=true' in output


def test_ci_without_the_plug_in_is_an_error(tmp_path: Path) -> None:
    tests = 'def test_pure():\n    pass\n'
    status, output = run(tmp_path, tests, '-p', 'no:rerunfailures', ci=True)
    assert status == 4, output
    assert 'CI=true needs pytest-rerunfailures' in output
