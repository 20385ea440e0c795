"""What is stored of keys, tokens and what happened."""

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

from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller, Role
from teleop_webrtc_bridge.core.exceptions import TeleopError

__all__ = ['AuditRow', 'KeyRecord', 'Known', 'TokenRecord', 'TooManyCredentials']


class TooManyCredentials(TeleopError):
    """A tenant has as many keys or tokens as it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored behind a secret."""

    caller: RobotCaller | OperatorCaller
    is_revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is known of an API key; not the key."""

    key_id: str
    name: str
    prefix: str
    robot_id: str | None
    owner: str
    created_at_s: float
    """Seconds since 1970."""
    last_used_at_s: float | None = None
    """The same; ``None``: never, as far as it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What is known of an operator's token; not the token."""

    token_id: str
    sub: str
    role: Role
    tenant: str
    created_at_s: float
    """Seconds since 1970."""
    expires_at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One line of the audit trail."""

    at_s: float
    """Seconds since 1970."""
    action: str
    tenant: str
    subject: str
    role: str
    robot_id: str
    session_id: str
    address: str
    detail: str
