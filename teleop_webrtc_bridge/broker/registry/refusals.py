"""
Refusals: the errors with which the registry rejects a request.

Each is raised before anything has changed. The HTTP side maps each class to a status.
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

from collections.abc import Iterable
import math
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.core.exceptions import TeleopError

__all__ = [
    'AmbiguousName',
    'ClaimLost',
    'JoinReplaced',
    'NoPendingOffer',
    'NotAllowed',
    'NotOperator',
    'NotRemovable',
    'NotRequested',
    'NotWatching',
    'PutOut',
    'RegistryRefusal',
    'SessionUnknown',
    'SlotTaken',
    'Superseded',
    'TooManySessions',
    'TooManyViewers',
]

NEWER_JOIN: Final = 'A newer join of the same operator took over'
"""Pages recognise it by its beginning (docs/protocol.md §2)."""


class RegistryRefusal(TeleopError):
    """Base of all refusals; never raised itself."""


class SessionUnknown(RegistryRefusal):
    """No such session, or not this caller's; callers cannot distinguish the two."""

    def __init__(self) -> None:
        super().__init__('Session not found')


class Superseded(RegistryRefusal):
    """Another instance of the robot took the session over."""

    def __init__(self, robot_id: str) -> None:
        super().__init__(
            f'Session superseded: another instance uses robot_id {robot_id!r}; '
            'give each robot its own robot_id'
        )


class TooManySessions(RegistryRefusal):
    """The tenant or the API key has reached its limit of live sessions."""


class SlotTaken(RegistryRefusal):
    """Another operator has the session."""

    def __init__(self, sub: str) -> None:
        super().__init__(f'Session already has operator: {sub}')


class ClaimLost(RegistryRefusal):
    """Another join took the operator slot while this one was under way."""

    def __init__(self) -> None:
        super().__init__(NEWER_JOIN)


class NotOperator(RegistryRefusal):
    """The caller is not the session's operator."""

    def __init__(self) -> None:
        super().__init__('Not the operator of this session')


class JoinReplaced(NotOperator):
    """The caller is the operator, but through a newer join than the one in the request."""

    def __init__(self) -> None:
        RegistryRefusal.__init__(self, NEWER_JOIN)


class NotAllowed(RegistryRefusal):
    """The caller's role does not permit this."""

    def __init__(self) -> None:
        super().__init__('Your role does not allow this')


class NotRequested(RegistryRefusal):
    """Control cannot be granted to a person who has not asked for it."""

    def __init__(self) -> None:
        super().__init__('There is no such request for control')


class NotWatching(RegistryRefusal):
    """No viewer has the given name."""

    def __init__(self) -> None:
        super().__init__('Nobody of that name watches this robot')


class NotRemovable(RegistryRefusal):
    """The operator and administrators cannot be removed."""

    def __init__(self, who: Identity) -> None:
        why = (
            'an administrator cannot be removed'
            if who.role is Role.ADMIN
            else 'the operator cannot be removed'
        )
        super().__init__(f'{who.sub}: {why}')


class PutOut(RegistryRefusal):
    """
    The caller was removed from a robot's viewers a short time ago.

    :param retry_after_s: How long the ban still lasts.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            'You were removed by the operator of this robot or by an administrator; '
            f'you may come back in {math.ceil(retry_after_s)} s'
        )
        self.retry_after_s = retry_after_s


class TooManyViewers(RegistryRefusal):
    """The robot or the person has reached a limit of viewers, or the UDP ports run out."""


class NoPendingOffer(RegistryRefusal):
    """An SDP answer arrived, but no offer is waiting for one."""

    def __init__(self) -> None:
        super().__init__('No offer is waiting for an answer')


class AmbiguousName(RegistryRefusal):
    """
    Several people have the given name.

    :param people: At least two, of one name.
    """

    def __init__(self, people: Iterable[Identity]) -> None:
        people = list(people)
        roles = sorted({who.role.value for who in people})
        tenants = sorted({who.tenant for who in people})
        # People with the same name and role differ by tenant.
        field, values = ('role', roles) if len(roles) > 1 else ('tenant', tenants)
        super().__init__(
            f'Several people are named {people[0].sub!r}: add {field!r}, one of {values}'
        )
