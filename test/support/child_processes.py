"""Pytest plug-in that fails tests whose marker ``real_programs`` is missing or wrong."""

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

from collections.abc import Iterator
import sys
from typing import Any, Final

import pytest

REAL_PROGRAMS: Final = 'real_programs'
"""The marker's name."""

#: Audit events of the interpreter when it starts a process.
_EVENTS: Final = frozenset({'subprocess.Popen', 'os.posix_spawn', 'os.fork', 'os.forkpty'})


class ChildProcesses:
    """
    Tracks which tests start processes, in their own code or in a fixture that they use.

    A module's fixture counts for the module's later tests as well.
    """

    def __init__(self) -> None:
        self._count = 0
        self._fixtures: set[tuple[str, str]] = set()
        """Fixtures that have started processes: their names and the nodes that they belong to."""
        # The hook stays for the life of the interpreter: it cannot be removed.
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS and not _is_of_ctypes(event, arguments):
            self._count += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Iterator[None]:
        before = self._count
        try:
            return (yield)
        finally:
            if self._count > before:
                self._fixtures.add((fixturedef.argname, request.node.nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        before = self._count
        result = yield
        # Checked only if the test has passed: a failed test has not run to its end.
        started = self._count > before or not self._fixtures.isdisjoint(_fixtures_of(item))
        is_marked = item.get_closest_marker(REAL_PROGRAMS) is not None
        if started and not is_marked and item.get_closest_marker('linter') is None:
            pytest.fail(f'starts programs: mark it {REAL_PROGRAMS}', pytrace=False)
        if is_marked and not started:
            pytest.fail(
                f'starts no programs: it must not be marked {REAL_PROGRAMS}', pytrace=False
            )
        return result


def _fixtures_of(item: pytest.Item) -> set[tuple[str, str]]:
    names = getattr(item, 'fixturenames', [])
    return {(name, node.nodeid) for name in names for node in item.listchain()}


def _is_of_ctypes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether the process only looks up a library, as importing a module may do."""
    return event == 'subprocess.Popen' and 'ldconfig' in str(arguments[:2])
