"""ROS domains of the tests: modules that run at the same time never share one."""

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
from typing import Final

#: Number of domains, from 1 on. DDS uses UDP ports up to 7400 + 250 * (DOMAINS + 1) for them; the
#: ports that tests choose are above.
DOMAINS: Final = 60
FIRST_FREE_PORT: Final = 7400 + 250 * (DOMAINS + 1)


def next_domain(domain_id: int) -> int:
    """
    Return the next domain for this pytest-xdist worker; no other worker ever gets it.

    :param domain_id: Any domain.
    """
    # Without parallel tests, there is one worker.
    index = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
    workers = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
    row = ((domain_id - 1) // workers + 1) % (DOMAINS // workers)
    return 1 + row * workers + index
