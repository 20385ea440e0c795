"""The broker's limits: robots, viewers, keys, connections and open files."""

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

from dataclasses import dataclass
import resource
from typing import Final

from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['Limits', 'connections_within', 'raise_open_files']

RESERVED_FILES: Final = 64
"""Open files for the database, the log, the listening sockets and Python itself."""
MOST_CONNECTIONS: Final = 4096
"""Unless more are configured: an idle connection takes about 10 KB."""
LEAST_CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on the broker's memory and load; config/broker.yaml explains each."""

    robots_per_key: int = 128
    robots_per_tenant: int = 256
    viewers_per_robot: int = 8
    viewers_per_person: int = 8
    """How many viewers of one robot may be the same person."""
    connections: int | None = None
    """``None``: as many as the limit of open files allows."""
    connections_per_token: int = 512
    connections_per_address: int = 256
    """Counts connections on which no valid key or token was presented."""
    keys_per_tenant: int = 1000
    """Counts valid robot API keys."""
    tokens_per_tenant: int = 1000
    """Counts valid operator tokens."""


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_within(wanted: int | None) -> int:
    """
    Return how many HTTP connections there may be.

    Media count separately: their processes have their own limits of open files.

    :param wanted: The configured number; ``None``: as many as the limit of open files allows.
    :raises ConfigurationError: The limit of open files is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted or MOST_CONNECTIONS
    possible = limit - RESERVED_FILES
    if possible < LEAST_CONNECTIONS:
        least = RESERVED_FILES + LEAST_CONNECTIONS
        raise ConfigurationError('ulimit -n', limit, f'at least {least} open files')
    if wanted is not None and wanted > possible:
        allowed = f'at most {possible} with a limit of {limit} open files (ulimit -n)'
        raise ConfigurationError('caps.connections', wanted, allowed)
    return wanted or min(possible, MOST_CONNECTIONS)
