"""docs/aiortc.md lists each unpublished name that we use, and no other."""

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

import ast
from collections.abc import Iterator
from pathlib import Path
import re

from tree import ROOT

TABLE = ROOT / 'docs' / 'aiortc.md'
PACKAGE = ROOT / 'teleop_webrtc_bridge'
NAME = re.compile(r'`(\w+)`')


def listed() -> list[str]:
    """Return the names in the first column of the tables."""
    rows = [line for line in TABLE.read_text('utf-8').splitlines() if line.startswith('| `')]
    return [name for row in rows for name in NAME.findall(row.split('|')[1])]


def private_attributes(path: Path) -> Iterator[str]:
    """Yield the private names that a file uses of objects other than ``self``."""
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith('_')
            and not node.attr.endswith('__')
            and not (isinstance(node.value, ast.Name) and node.value.id in ('self', 'cls'))
        ):
            yield node.attr


def files(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob('*.py'))


def test_each_private_name_that_we_use_is_listed() -> None:
    used = {name for path in files('aiortc_support') for name in private_attributes(path)}
    assert used - set(listed()) == set()


def test_no_listed_name_is_unused_or_listed_twice() -> None:
    words = {
        word
        for path in files('aiortc_support')
        for node in ast.walk(ast.parse(path.read_text('utf-8')))
        for word in (
            *([node.attr] if isinstance(node, ast.Attribute) else []),
            *([node.id] if isinstance(node, ast.Name) else []),
        )
    }
    assert [name for name in listed() if name not in words] == []
    assert len(listed()) == len(set(listed()))


def test_only_aiortc_support_uses_them() -> None:
    private = {name for name in listed() if name.startswith('_')}
    others = [path for folder in ('bridge', 'broker', 'demo') for path in files(folder)]
    used = {(path.name, name) for path in others for name in private_attributes(path)}
    assert {(path, name) for path, name in used if name in private} == set()


def test_each_row_says_why_and_names_tests_that_exist() -> None:
    tests = {path.name for path in (ROOT / 'test').rglob('test_*.py')}
    for row in TABLE.read_text('utf-8').splitlines():
        if row.startswith('| `'):
            assert all(cell.strip() for cell in row.split('|')[1:-1]), row
            assert row.count('|') == 5, row
            assert set(re.findall(r'`(test_\w+\.py)`', row)) <= tests, row
