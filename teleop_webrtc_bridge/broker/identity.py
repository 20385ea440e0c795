"""Identities: people, robots, roles and valid names."""

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

from dataclasses import dataclass, field
import enum
import math
import re
from typing import Final
import unicodedata

__all__ = [
    'LABEL_ALLOWED',
    'MAX_CHARS',
    'NAME_ALLOWED',
    'Identity',
    'OperatorCaller',
    'RobotCaller',
    'Role',
    'as_label',
    'as_name',
]

MAX_CHARS: Final = 64
NAME_ALLOWED: Final = '1 to 64 letters, digits, spaces or _ . : -'
LABEL_ALLOWED: Final = 'up to 64 printable characters'

_NAME: Final = re.compile(r'[\w .:-]{1,64}')


class Role(enum.Enum):
    """What an operator token permits."""

    OPERATOR = 'operator'
    ADMIN = 'admin'
    """Sees and controls the robots of every tenant."""
    VIEWER = 'viewer'
    """Sees the robots of one tenant, and may stop them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """
    A person, as the broker identifies them.

    The name alone does not identify anybody: each tenant has its own names, and the same name with
    another role is another identity.
    """

    tenant: str
    sub: str
    role: Role

    def __str__(self) -> str:
        return f'{self.sub} ({self.role.value} of {self.tenant})'


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotCaller:
    """A robot, authenticated by its API key."""

    key_id: str
    owner: str
    """The tenant."""
    robot_id: str | None
    """The only ``robot_id`` that may use the key; ``None``: any."""

    def sees(self, owner: str, robot_id: str) -> bool:
        """Return whether this key gives access to a tenant's robot."""
        return self.owner == owner and self.robot_id in (None, robot_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCaller:
    """A person, authenticated by a bearer token."""

    sub: str
    role: Role
    tenant_name: str | None = None
    """``None``: the person's own tenant, which has the same name."""
    token_id: str | None = field(default=None, compare=False)
    """The id of one of our own tokens; ``None``: the token is an issuer's."""
    expires_at_s: float | None = field(default=None, compare=False)
    """When the token expires, in seconds since 1970."""

    @property
    def tenant(self) -> str:
        """The tenant whose robots this person may access."""
        return self.sub if self.tenant_name is None else self.tenant_name

    @property
    def identity(self) -> Identity:
        """The person's identity, which stays the same when a token is renewed."""
        return Identity(tenant=self.tenant, sub=self.sub, role=self.role)

    @property
    def credential(self) -> str:
        """Distinguishes two tokens of one person, unless they come from an issuer."""
        return self.token_id or f'issued {self.identity}'

    def sees(self, owner: str) -> bool:
        """Return whether this person has access to a tenant."""
        return self.role is Role.ADMIN or self.tenant == owner

    @property
    def may_control(self) -> bool:
        return self.role is not Role.VIEWER

    @property
    def may_mint(self) -> bool:
        """Whether this person may create keys and tokens: they outlive an issuer's tokens."""
        return self.token_id is not None

    def renewed_by(self, other: OperatorCaller) -> OperatorCaller:
        """
        Return which of two tokens of the same identity counts from now on.

        An issuer's tokens are short-lived, so a browser presents a new one now and then. Our own
        tokens are not renewed, because each can be revoked separately.
        """
        if self.token_id is not None or other.token_id is not None:
            return self
        return max(self, other, key=lambda caller: caller.expires_at_s or math.inf)


def as_name(value: object) -> str | None:
    """Return a name in normal form; ``None``: it is not a valid one."""
    name = unicodedata.normalize('NFC', value).strip(' ') if isinstance(value, str) else ''
    return name if _NAME.fullmatch(name) else None


def as_label(value: object) -> str | None:
    """Return a printable label, which may be empty, in normal form; ``None``: it is invalid."""
    if not isinstance(value, str) or len(value) > MAX_CHARS or not value.isprintable():
        return None
    return unicodedata.normalize('NFC', value)
