"""How many of each there may be at once."""

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

__all__ = ['Limits']


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the broker's memory and load; config/broker.yaml explains each."""

    robots_per_key: int = 128
    robots_per_tenant: int = 256
    viewers_per_robot: int = 8
    viewers_per_person: int = 8
    """Of one robot's: as many as one person may be."""
    connections: int | None = None
    """``None``: as many as the limit of open files allows."""
    connections_per_token: int = 512
    connections_per_address: int = 256
    """Of those on which nobody has shown a valid key or token."""
    keys_per_tenant: int = 1000
    """Robot API keys that work."""
    tokens_per_tenant: int = 1000
    """Operator tokens that work."""
