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

"""Licence headers, ruff, types and the architecture; ament's linters have modules of their own."""

from collections.abc import Iterator
import importlib.util
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ('.ci', 'benchmark', 'config', 'launch', 'scripts', 'systemd')
FOLDERS += ('teleop_webrtc_bridge', 'test')
SUFFIXES = frozenset({'.bash', '.css', '.html', '.js', '.mjs', '.py', '.service', '.sh', '.yaml'})
HEADERS = ('Licensed under the Apache License, Version 2.0', 'SPDX-License-Identifier: Apache-2.0')
HEADER_WITHIN_LINES = 8


def sources() -> Iterator[Path]:
    yield ROOT / 'setup.py'
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob('*'):
            if '__pycache__' in path.parts or not path.is_file() or not path.stat().st_size:
                continue
            if path.suffix in SUFFIXES or path.read_bytes().startswith(b'#!'):
                yield path


@pytest.mark.linter
def test_every_source_has_the_licence_header() -> None:
    without = []
    for path in sources():
        beginning = path.read_text('utf-8').splitlines()[:HEADER_WITHIN_LINES]
        if not any(header in line for line in beginning for header in HEADERS):
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
