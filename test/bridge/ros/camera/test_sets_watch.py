"""When the node subscribes to a camera only for its parameter sets."""

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

import pytest

from teleop_webrtc_bridge.bridge.ros.camera.stream_intake import DISCOVERY_S, SetsWatch

NEVER_S = float('-inf')
NOBODY: frozenset[bytes] = frozenset()
FIRST, SECOND = frozenset({b'1'}), frozenset({b'2'})


@pytest.fixture
def watch() -> SetsWatch:
    """Return one that knows the sets of the first publisher, which came at 10 s."""
    watch = SetsWatch()
    assert watch.look(NOBODY, 9.5) is None
    assert watch.look(FIRST, 10.0) is None
    assert watch.needs(NEVER_S)
    assert not watch.needs(10.1)
    return watch


def test_it_is_listened_to_from_the_start_on_and_before_there_is_a_publisher() -> None:
    watch = SetsWatch()
    assert watch.needs(NEVER_S)
    watch.look(NOBODY, 1.0)
    assert watch.needs(NEVER_S)
    watch.look(FIRST, 2.0)
    assert watch.needs(NEVER_S)


def test_what_came_before_the_graph_showed_the_publisher_does_not_end_it(
    watch: SetsWatch,
) -> None:
    """It may belong to another publisher; the next one follows at once."""
    assert watch.needs(9.9)


def test_a_publisher_that_ends_may_start_again_at_any_time(watch: SetsWatch) -> None:
    assert watch.look(NOBODY, 11.0) is None
    assert watch.needs(10.9)
    assert watch.look(SECOND, 20.0) == 11.0 - DISCOVERY_S
    assert watch.needs(10.9)
    assert not watch.needs(20.1)


def test_a_publisher_that_takes_the_place_of_another_has_sets_of_its_own(
    watch: SetsWatch,
) -> None:
    assert watch.look(SECOND, 10.5) == 10.0 - DISCOVERY_S
    assert watch.needs(10.4)


def test_a_publisher_that_is_back_after_an_interruption_is_the_same(watch: SetsWatch) -> None:
    watch.look(NOBODY, 11.0)
    assert watch.look(FIRST, 30.0) is None
    assert not watch.needs(10.9)


def test_beside_another_publisher_none_is_forgotten_but_it_is_listened_to(
    watch: SetsWatch,
) -> None:
    assert watch.look(FIRST | SECOND, 11.0) is None
    assert watch.needs(10.9)
    assert not watch.needs(11.1)
    assert watch.look(SECOND, 12.0) is None, 'which was heard meanwhile'
    assert not watch.needs(11.1)
