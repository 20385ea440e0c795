"""The open files that this process may have, and how they are divided."""

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

import resource
from typing import Final

from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['connections_within', 'raise_limit']

RESERVED: Final = 64
"""For the database, the log, the listening sockets and what Python itself opens."""
MOST_CONNECTIONS: Final = 4096
"""More have to be asked for: an idle connection takes about 10 KB."""
LEAST_CONNECTIONS: Final = 16


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_within(wanted: int | None) -> int:
    """
    Return how many HTTP connections there may be.

    Media need none of them: they have processes of their own, each with a limit of its own.

    :param wanted: What was configured; ``None``: what the limit of open files allows.
    :raises ConfigurationError: There are not enough descriptors.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted or MOST_CONNECTIONS
    possible = limit - RESERVED
    if possible < LEAST_CONNECTIONS:
        least = RESERVED + LEAST_CONNECTIONS
        raise ConfigurationError('ulimit -n', limit, f'at least {least} open files')
    if wanted is not None and wanted > possible:
        allowed = f'at most {possible} with a limit of {limit} open files (ulimit -n)'
        raise ConfigurationError('caps.connections', wanted, allowed)
    return wanted or min(possible, MOST_CONNECTIONS)
