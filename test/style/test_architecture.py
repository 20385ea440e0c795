"""Tests of docs/architecture.md: it names files that exist."""

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

import re

from tree import ROOT

DOCS = ROOT / 'docs'
TEXT = (DOCS / 'architecture.md').read_text('utf-8')
PATHS = sorted(set(re.findall(r'`([\w/.]+/[\w.]*)`', TEXT)))


def test_each_file_that_it_names_exists() -> None:
    package = ROOT / 'teleop_webrtc_bridge'
    assert [
        path for path in PATHS if not any((root / path).exists() for root in (package, ROOT))
    ] == []


def test_it_names_the_files_of_both_ways() -> None:
    assert 'bridge/ros/drive.py' in PATHS
    assert 'bridge/webrtc/video/encoder.py' in PATHS
    assert len(PATHS) > 40


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r'\]\(([^)#:]+)', TEXT)
    assert links
    assert [link for link in links if not (DOCS / link).exists()] == []
