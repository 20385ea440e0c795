"""Licence headers, ruff, types and the architecture; ament's linters have modules of their own."""

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

from collections.abc import Iterator
import importlib.util
import itertools
from pathlib import Path
import re
import subprocess
import sys

import pytest
from tree import ROOT

FOLDERS = (
    *('.ci', 'benchmark', 'config', 'launch', 'scripts', 'systemd'),
    *('teleop_webrtc_bridge', 'test'),
)
SUFFIXES = frozenset({'.bash', '.css', '.html', '.js', '.mjs', '.py', '.service', '.sh', '.yaml'})
#: ament_copyright reads Python files only, of each the first comment; it refuses the SPDX form.
LONG_HEADER = '# Licensed under the Apache License, Version 2.0 (the "License");'
SPDX_HEADER = 'SPDX-License-Identifier: Apache-2.0'
HEADER_WITHIN_LINES = 4
IMPORT_OF_BENCHMARK = re.compile(r'^\s*(from|import) benchmark\b', re.MULTILINE)


def sources() -> Iterator[Path]:
    yield ROOT / 'setup.py'
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob('*'):
            if '__pycache__' in path.parts or not path.is_file() or not path.stat().st_size:
                continue
            if path.suffix in SUFFIXES or path.read_bytes().startswith(b'#!'):
                yield path


def first_comment(path: Path) -> list[str]:
    lines = path.read_text('utf-8').splitlines()
    if lines[0].startswith('#!'):
        del lines[0]
    lines = list(itertools.dropwhile(lambda line: not line.startswith('#'), lines))
    return list(itertools.takewhile(lambda line: line.startswith('#'), lines))


@pytest.mark.linter
def test_every_source_has_the_licence_header() -> None:
    without = []
    for path in sources():
        if path.suffix == '.py':
            has_header = LONG_HEADER in first_comment(path)
        else:
            beginning = path.read_text('utf-8').splitlines()[:HEADER_WITHIN_LINES]
            has_header = any(SPDX_HEADER in line for line in beginning)
        if not has_header:
            without.append(str(path.relative_to(ROOT)))
    assert without == []


@pytest.mark.linter
def test_the_first_line_of_a_module_says_what_it_is() -> None:
    """Listings show how a file begins; so the docstring precedes the licence."""
    without = []
    for path in sources():
        if path.suffix != '.py' or ROOT / 'test' in path.parents or path == ROOT / 'setup.py':
            continue
        first = path.read_text('utf-8').removeprefix('#!/usr/bin/env python3\n')
        if not first.startswith('"""'):
            without.append(str(path.relative_to(ROOT)))
    assert without == []


def run(module: str, *command: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f'{module} is not installed, see requirements-dev.txt')
    found = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.linter
def test_ruff_finds_nothing() -> None:
    run('ruff', '-m', 'ruff', 'check', '--output-format=concise')


@pytest.mark.linter
def test_the_code_is_formatted() -> None:
    run('ruff', '-m', 'ruff', 'format', '--check')


@pytest.mark.linter
def test_the_types_are_right() -> None:
    run('mypy', '-m', 'mypy')


@pytest.mark.linter
def test_the_layers_are_kept() -> None:
    start = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    run('importlinter', '-c', start, '--no-logo')


@pytest.mark.linter
def test_the_tests_do_not_use_the_benchmarks() -> None:
    """What both use is in test/support; only the benchmarks' own tests import them."""
    own = ROOT / 'test' / 'benchmark'
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / 'test').rglob('*.py')
        if own not in path.parents and IMPORT_OF_BENCHMARK.search(path.read_text('utf-8'))
    ]
    assert found == []
