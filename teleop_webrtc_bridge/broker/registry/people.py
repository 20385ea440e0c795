"""People: looked up by name, and banned from robots."""

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
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.registry.refusals import AmbiguousName, PutOut
from teleop_webrtc_bridge.broker.registry.sessions import NewSession

__all__ = ['BAN_S', 'MAX_BANS_OF_TENANT', 'Bans', 'NamedPerson']

BAN_S: Final = 600.0
MAX_BANS_OF_TENANT: Final = 256
"""A tenant's next ban lifts that tenant's oldest one."""

_Robot = tuple[str, str, str]
"""Owner, ``robot_id``, and if that is empty the session id: a ban outlives a redial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPerson:
    """A name, optionally with a role and a tenant, because names are not unique."""

    sub: str
    role: Role | None = None
    """``None``: any."""
    tenant: str | None = None
    """``None``: any."""

    def means(self, who: Identity) -> bool:
        """Return whether a person matches."""
        return (
            self.sub == who.sub
            and self.role in (None, who.role)
            and self.tenant in (None, who.tenant)
        )

    def among(self, people: Iterable[Identity]) -> Identity | None:
        """
        Return the person who matches.

        :returns: ``None`` if no person does.
        :raises AmbiguousName: Several do: the broker does not guess.
        """
        meant = {who for who in people if self.means(who)}
        if len(meant) > 1:
            raise AmbiguousName(meant)
        return next(iter(meant), None)


class Bans:
    """Owns the bans of all robots."""

    def __init__(self) -> None:
        self._until_s: dict[tuple[_Robot, Identity], float] = {}
        """The oldest first."""

    def add(self, robot: NewSession, who: Identity, now_s: float) -> None:
        """Ban a person from a robot for ten minutes."""
        self.forget_old(now_s)
        ban = (_name(robot), who)
        self._until_s.pop(ban, None)
        self._until_s[ban] = now_s + BAN_S
        of_tenant = [(named, banned) for named, banned in self._until_s if named[0] == robot.owner]
        for oldest in of_tenant[:-MAX_BANS_OF_TENANT]:
            del self._until_s[oldest]

    def check(self, robot: NewSession, who: Identity, now_s: float) -> None:
        """
        Make sure that a person is not banned from a robot.

        :raises PutOut: They are.
        """
        left_s = self._until_s.get((_name(robot), who), now_s) - now_s
        if left_s > 0.0:
            raise PutOut(left_s)

    def forget_old(self, now_s: float) -> None:
        """Remove the bans that have ended."""
        self._until_s = {ban: until_s for ban, until_s in self._until_s.items() if until_s > now_s}


def _name(robot: NewSession) -> _Robot:
    return robot.owner, robot.robot_id, '' if robot.robot_id else robot.session_id
