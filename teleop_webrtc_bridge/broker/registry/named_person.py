"""Whom a request means by a name that several people may have."""

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

from collections.abc import Iterable
from dataclasses import dataclass

from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.registry.sessions import RegistryRefusal

__all__ = ['AmbiguousName', 'NamedPerson']


class AmbiguousName(RegistryRefusal):
    """A request names somebody, and several people have that name."""

    def __init__(self, people: Iterable[Identity]) -> None:
        people = list(people)
        roles = sorted({who.role.value for who in people})
        tenants = sorted({who.tenant for who in people})
        # People of one name and one role differ by their tenants.
        field, values = ('role', roles) if len(roles) > 1 else ('tenant', tenants)
        super().__init__(
            f'Several people are named {people[0].sub!r}: add {field!r}, one of {values}'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPerson:
    """A name, and what tells people of that name apart."""

    sub: str
    role: Role | None = None
    """``None``: any."""
    tenant: str | None = None
    """``None``: any."""

    def means(self, who: Identity) -> bool:
        """Return whether a person may be meant."""
        return (
            self.sub == who.sub
            and self.role in (None, who.role)
            and self.tenant in (None, who.tenant)
        )

    def among(self, people: Iterable[Identity]) -> Identity | None:
        """
        Return the one of some people who is meant.

        :returns: ``None`` if nobody is.
        :raises AmbiguousName: Several may be: the broker does not guess.
        """
        meant = {who for who in people if self.means(who)}
        if len(meant) > 1:
            raise AmbiguousName(meant)
        return next(iter(meant), None)
