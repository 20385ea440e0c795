"""No two modules that run at the same time share a ROS domain."""

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

import itertools

import pytest
from ros_domain import DOMAINS, FIRST_FREE_PORT, next_domain

DDS_PORTS = 250
"""Of each domain, from 7400 on."""


def domains_of(
    worker: int, workers: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Return the domains of a worker's modules."""
    monkeypatch.setenv('PYTEST_XDIST_WORKER', f'gw{worker}')
    monkeypatch.setenv('PYTEST_XDIST_WORKER_COUNT', str(workers))
    found = [next_domain(first)]
    for _ in range(2 * DOMAINS):
        found.append(next_domain(found[-1]))
    return found


@pytest.mark.parametrize('workers', [1, 2, 3, 5, 7])
@pytest.mark.parametrize('first', [0, 1, 59, 60, 101])
def test_each_worker_has_domains_of_its_own(
    workers: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = [domains_of(it, workers, first, monkeypatch) for it in range(workers)]
    for one, other in itertools.combinations(all_of_them, 2):
        assert set(one).isdisjoint(other)
    for domains in all_of_them:
        assert all(1 <= it <= DOMAINS for it in domains)
        # What was killed in one module is long gone when its domain comes again.
        assert len(set(domains)) == DOMAINS // workers
        assert all(a != b for a, b in itertools.pairwise(domains))


def test_their_ports_end_below_those_that_tests_choose() -> None:
    assert 7400 + DDS_PORTS * DOMAINS + DDS_PORTS <= FIRST_FREE_PORT
