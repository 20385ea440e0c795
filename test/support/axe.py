"""Findings of axe-core, the accessibility checker, on a page in Chromium."""

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
from typing import Final

from playwright.sync_api import Page
from tree import ROOT

PROGRAM: Final = ROOT / 'node_modules' / 'axe-core' / 'axe.min.js'
RULES: Final = [
    *('wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa'),
    'best-practice',
]
RUN = """async (tags) => {
    const {violations} = await axe.run(document, {
        runOnly: {type: 'tag', values: tags}, resultTypes: ['violations'],
    });
    return violations.flatMap(({id, nodes}) =>
        nodes.map(({target, failureSummary}) => `${id}: ${target.join(' ')}: ${failureSummary}`));
}"""


@cache
def program() -> str:
    """
    Return the text of axe-core.

    :raises FileNotFoundError: `scripts/setup --tests` has not been run.
    """
    return PROGRAM.read_text()


def findings(page: Page) -> list[str]:
    """Return what violates WCAG 2.2 A and AA, or axe-core's best practices: rule, element, why."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(f'() => {{ {program()} }}')
    return list(page.evaluate(RUN, RULES))
