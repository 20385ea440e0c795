"""
Who was put out of which robot's viewers, and until when.

Pure; a part of :mod:`~teleop_webrtc_bridge.broker.registry.registry`, which explains the rules.
"""

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

import math
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.broker.registry.sessions import NewSession, RegistryRefusal

__all__ = ['BAN_S', 'MAX_BANS_OF_TENANT', 'Bans', 'PutOut']

BAN_S: Final = 600.0
MAX_BANS_OF_TENANT: Final = 256
"""Beyond these a tenant's oldest is lifted; never another tenant's."""

_Robot = tuple[str, str, str]
"""Owner, ``robot_id``, and the session if that is empty: a robot that redials stays the same."""


class PutOut(RegistryRefusal):
    """The caller was put out of a robot's viewers a short time ago."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            'You were removed by whoever drives this robot, or by an administrator; '
            f'you may come back in {math.ceil(retry_after_s)} s'
        )
        self.retry_after_s = retry_after_s


class Bans:
    """Owns the bans of all robots."""

    def __init__(self) -> None:
        self._until_s: dict[tuple[_Robot, Identity], float] = {}
        """The oldest first."""

    def add(self, robot: NewSession, who: Identity, now_s: float) -> None:
        """Keep a person away from a robot for ten minutes."""
        self.forget_old(now_s)
        ban = (_name(robot), who)
        self._until_s.pop(ban, None)
        self._until_s[ban] = now_s + BAN_S
        of_tenant = [(named, banned) for named, banned in self._until_s if named[0] == robot.owner]
        for oldest in of_tenant[:-MAX_BANS_OF_TENANT]:
            del self._until_s[oldest]

    def check(self, robot: NewSession, who: Identity, now_s: float) -> None:
        """
        Make sure that a person may come to a robot.

        :raises PutOut: Not yet.
        """
        left_s = self._until_s.get((_name(robot), who), now_s) - now_s
        if left_s > 0.0:
            raise PutOut(left_s)

    def forget_old(self, now_s: float) -> None:
        """Let go of the bans that are over."""
        self._until_s = {ban: until_s for ban, until_s in self._until_s.items() if until_s > now_s}


def _name(robot: NewSession) -> _Robot:
    return robot.owner, robot.robot_id, '' if robot.robot_id else robot.session_id
