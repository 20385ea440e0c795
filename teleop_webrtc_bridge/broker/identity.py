"""Who may do what: the two kinds of caller that the broker knows."""

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

__all__ = ['Identity', 'OperatorCaller', 'RobotCaller', 'Role']


class Role(enum.Enum):
    """What an operator token is good for."""

    OPERATOR = 'operator'
    ADMIN = 'admin'
    """Sees and controls the robots of every tenant."""
    VIEWER = 'viewer'
    """Sees the robots of one tenant, and may stop them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """
    Who a person is, as far as the broker is concerned.

    A name alone says nothing: each tenant has its own names, and a token that only watches is not
    the one that drives.
    """

    tenant: str
    sub: str
    role: Role

    def __str__(self) -> str:
        return f'{self.sub} ({self.role.value} of {self.tenant})'


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotCaller:
    """A robot, known by its API key."""

    key_id: str
    owner: str
    """The tenant."""
    robot_id: str | None
    """The only ``robot_id`` that the key is good for; ``None``: any."""

    def sees(self, owner: str, robot_id: str) -> bool:
        """Return whether a tenant's robot exists for this key."""
        return self.owner == owner and self.robot_id in (None, robot_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCaller:
    """A person, known by a bearer token."""

    sub: str
    role: Role
    tenant_name: str | None = None
    """``None``: a tenant of his own, which has his name."""
    token_id: str | None = field(default=None, compare=False)
    """Which of our own tokens he has; ``None``: another issuer's."""
    expires_at_s: float | None = field(default=None, compare=False)
    """When the token ends, in seconds since 1970."""

    @property
    def tenant(self) -> str:
        """Whose robots are his."""
        return self.sub if self.tenant_name is None else self.tenant_name

    @property
    def identity(self) -> Identity:
        """The person; a renewed token of theirs has the same."""
        return Identity(tenant=self.tenant, sub=self.sub, role=self.role)

    @property
    def credential(self) -> str:
        """The token: tells two tokens of one person apart, unless an issuer renews them."""
        return self.token_id or f'issued {self.identity}'

    def sees(self, owner: str) -> bool:
        """Return whether what belongs to a tenant exists for this caller."""
        return self.role is Role.ADMIN or self.tenant == owner

    @property
    def may_control(self) -> bool:
        return self.role is not Role.VIEWER

    @property
    def may_mint(self) -> bool:
        """Whether he may make keys and tokens: those would outlive what an issuer grants."""
        return self.token_id is not None

    def renewed_by(self, other: OperatorCaller) -> OperatorCaller:
        """
        Return which of two tokens of one person counts from now on.

        An issuer's tokens are short-lived, so a browser comes with a new one now and then. Our own
        are not exchanged: each is revoked by itself. A token that names the person with another
        role is another identity's, and renews nothing.
        """
        if self.token_id is not None or other.token_id is not None:
            return self
        return max(self, other, key=lambda caller: caller.expires_at_s or math.inf)
