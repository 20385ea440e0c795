"""
How control goes from one operator to another: asked for, granted, taken with the next join.

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

from dataclasses import replace
from typing import Final

from teleop_webrtc_bridge.broker.identity import Identity, OperatorCaller, Role
from teleop_webrtc_bridge.broker.registry.bans import Bans
from teleop_webrtc_bridge.broker.registry.named_person import NamedPerson
from teleop_webrtc_bridge.broker.registry.session_table import SessionTable
from teleop_webrtc_bridge.broker.registry.sessions import (
    ControlRequest,
    ControlState,
    NotAllowed,
    NotRequested,
    Session,
)

__all__ = ['GRANT_S', 'REQUEST_S', 'ControlRequests', 'has_grant', 'open_requests']

REQUEST_S: Final = 10.0
"""Who wants control repeats the request every second or two, or has given up."""
GRANT_S: Final = 15.0
"""How long a granted slot waits for its taker."""
MAX_REQUESTS: Final = 8


class ControlRequests:
    """The requests for control of the session table."""

    def __init__(self, table: SessionTable, bans: Bans) -> None:
        self._table = table
        self._bans = bans

    def request(
        self, session_id: str, caller: OperatorCaller, now_s: float
    ) -> tuple[ControlState, Identity | None]:
        """
        Ask for control, or go on asking.

        :returns: Where the request stands, and who has control.
        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotAllowed: The caller may only watch.
        :raises PutOut: The caller was put out of this robot's viewers.
        """
        session = self._table.get(session_id, caller, now_s)
        if not caller.may_control:
            raise NotAllowed
        who = caller.identity
        self._bans.check(session.identity, who, now_s)
        if session.holder is None:
            return ControlState.FREE, None
        if session.holder == who:
            return ControlState.HOLDER, session.holder
        self._put(session, who, now_s, granted_at_s=None)
        granted = has_grant(self._table.get(session_id, caller, now_s), who, now_s)
        return ControlState.GRANTED if granted else ControlState.PENDING, session.holder

    def grant(
        self, session_id: str, caller: OperatorCaller, named: NamedPerson, now_s: float
    ) -> Identity:
        """
        Let somebody who asks take over.

        :returns: Whom.
        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotOperator: The caller has no control to give.
        :raises NotRequested: Nobody of that name asks.
        :raises AmbiguousName: Several of that name ask.
        """
        session, _ = self._table.of_operator(session_id, caller, None, now_s)
        who = named.among(request.who for request in open_requests(session, now_s))
        if who is None:
            raise NotRequested
        self._put(session, who, now_s, granted_at_s=now_s)
        return who

    def take(self, session_id: str, caller: OperatorCaller, now_s: float) -> None:
        """
        Grant control to oneself; for administrators.

        :raises SessionUnknown: See :meth:`SessionTable.get`.
        :raises NotAllowed: The caller is none.
        """
        session = self._table.get(session_id, caller, now_s)
        if caller.role is not Role.ADMIN:
            raise NotAllowed
        self._put(session, caller.identity, now_s, granted_at_s=now_s)

    def _put(
        self, session: Session, who: Identity, now_s: float, *, granted_at_s: float | None
    ) -> None:
        """Add a request, or renew it in its place; beyond eight the newest is refused silently."""
        requests = open_requests(session, now_s)
        older = next((request for request in requests if request.who == who), None)
        if older is None:
            renewed = ControlRequest(who=who, asked_at_s=now_s, granted_at_s=granted_at_s)
            requests = (
                [*requests[: MAX_REQUESTS - 1], renewed]
                if granted_at_s
                else [*requests, renewed][:MAX_REQUESTS]
            )
        else:
            granted = older.granted_at_s if granted_at_s is None else granted_at_s
            renewed = replace(older, asked_at_s=now_s, granted_at_s=granted)
            requests = [renewed if request is older else request for request in requests]
        self._table.store(replace(session, requests=tuple(requests)))


def open_requests(session: Session, now_s: float) -> list[ControlRequest]:
    """Return the requests that are still meant, the oldest first."""
    return [
        request
        for request in session.requests
        if now_s - request.asked_at_s < REQUEST_S or _is_granted(request, now_s)
    ]


def has_grant(session: Session, who: Identity, now_s: float) -> bool:
    """Return whether a join of this person may take the slot from its holder."""
    return any(request.who == who and _is_granted(request, now_s) for request in session.requests)


def _is_granted(request: ControlRequest, now_s: float) -> bool:
    return request.granted_at_s is not None and now_s - request.granted_at_s < GRANT_S
