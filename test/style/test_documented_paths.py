"""The files, modules and links that README.md, CONTRIBUTING.md and docs/ name exist."""

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

from functools import cache
from pathlib import Path
import re

import pytest
from tree import ROOT

PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
# Folders in which a relative path may begin.
BASES = (ROOT, ROOT / 'teleop_webrtc_bridge', ROOT / 'test')
SOURCE_FOLDERS = ('benchmark', 'config', 'docs', 'launch', 'scripts', 'systemd', 'test')
SOURCE = re.compile(r'[\w./-]+\.(?:py|js|mjs|html)')
QUOTED = re.compile(r'`([^`\s]+)')
LINK = re.compile(r'\]\(([^)#\s]*)(?:#([^)\s]+))?\)')
MODULE = re.compile(r'\b(?:benchmark|teleop_webrtc_bridge)(?:\.[a-z_]\w*)+')


@cache
def names() -> frozenset[str]:
    """Return the names of all source files."""
    folders = [ROOT / 'teleop_webrtc_bridge', *(ROOT / name for name in SOURCE_FOLDERS)]
    return frozenset(path.name for folder in folders for path in folder.rglob('*'))


def exists(path: str) -> bool:
    """Return whether a path exists; the page's tests are named without their suffix."""
    if '/' not in path:
        return path in names()
    suffixes = ('', '.py', '.test.mjs')
    return any((base / f'{path}{suffix}').exists() for base in BASES for suffix in suffixes)


def is_ours(path: str) -> bool:
    """Return whether a quoted text names a file or folder of this repository."""
    if SOURCE.fullmatch(path):
        return not path.startswith(('/', 'build/'))
    folder, slash, rest = path.partition('/')
    known = {*SOURCE_FOLDERS, *(p.name for p in BASES[1].iterdir() if p.is_dir())}
    return bool(slash) and folder in known and bool(re.fullmatch(r'[\w./-]*', rest))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r'^#+ +(.+)$', page.read_text(encoding='utf-8'), re.MULTILINE)
    slugs = (re.sub(r'[^\w\- ]', '', heading.lower()) for heading in headings)
    return {slug.replace(' ', '-') for slug in slugs}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_each_path_that_a_page_names_exists(page: Path) -> None:
    quoted = {text.rstrip('.,:;') for text in QUOTED.findall(page.read_text(encoding='utf-8'))}
    paths = {text for text in quoted if is_ours(text)}
    assert sorted(path for path in paths if not exists(path)) == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_each_module_that_a_page_names_exists(page: Path) -> None:
    modules = set(MODULE.findall(page.read_text(encoding='utf-8')))
    missing = []
    for module in sorted(modules):
        path = ROOT / module.replace('.', '/')
        if not (path.is_dir() or path.with_suffix('.py').is_file()):
            missing.append(module)
    assert missing == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding='utf-8')):
        if '://' in target:
            continue
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor and linked.suffix == '.md':
            assert anchor in anchors(linked), f'{target}#{anchor}'
