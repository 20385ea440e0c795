"""
What all HTTP connections share: accepting them, their number, and their budgets.

Nobody is answered here: that is up to aiohttp and the routes.
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

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
import errno
import logging
import socket
from typing import Final

from teleop_webrtc_bridge.broker.caller_addresses import network_of, TrustedProxies
from teleop_webrtc_bridge.broker.http.client_connection import (
    ClientConnection,
    CONNECTION,
    HttpHandler,
)
from teleop_webrtc_bridge.broker.http.connection_table import Activity, ConnectionTable
from teleop_webrtc_bridge.broker.http.cpu_budgets import FairQueue, RequestClass, Share, SHARES
from teleop_webrtc_bridge.broker.http.request_head import RequestHead
from teleop_webrtc_bridge.broker.identity import OperatorCaller, RobotCaller
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = ['HttpFront']

BACKLOG: Final = 4096
"""Who is waiting there costs us nothing, and no descriptor."""
ACCEPTED_AT_ONCE: Final = 8
"""Others are served between so many new connections and the next ones."""
ACCEPT_S: Final = 60e-6
"""What a new connection takes of processor time, until it is closed."""
ACCEPT_SHARE: Final = 0.1
ACCEPT_BURST_S: Final = 0.02
ACCEPT_RETRY_S: Final = 0.1
REQUEST_S: Final = 500e-6
"""What a request takes of processor time beside what is measured: aiohttp, the kernel."""
SIGN_IN_S: Final = 500e-6
"""What looking up an unknown key or token takes beside, in the thread of the database."""
PACE: Final = 0.8
PACE_BURST_S: Final = 1e-3
"""Requests of all kinds go on a few at a time: between them, the event loop hears the media
processes, and answers the heartbeats that it holds."""
LEAST_WAIT_S: Final = 1e-3
MOST_KNOWN_SECRETS: Final = 4096
SWEEP_PERIOD_S: Final = 1.0
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger(__name__)


class HttpFront:
    """
    Accepts connections and lets their requests go on, each within its budget.

    :param table: Its limits are those of the broker.
    :param seldom: Bounds log lines that others can cause.
    :param count_refusal: Called for each request that is refused here.
    """

    def __init__(
        self,
        table: ConnectionTable[ClientConnection],
        proxies: TrustedProxies,
        seldom: RateLimit,
        count_refusal: Callable[[], None],
        shares: Mapping[RequestClass, Share] = SHARES,
    ) -> None:
        self._table = table
        self._proxies = proxies
        self._seldom = seldom
        self._count_refusal = count_refusal
        self._queues: dict[RequestClass, FairQueue[ClientConnection]] = {
            kind: FairQueue(share, _request_s(kind)) for kind, share in shares.items()
        }
        self._accepts = RateLimit(per_minute=60.0 * ACCEPT_SHARE, burst=ACCEPT_BURST_S)
        self._pace = RateLimit(per_minute=60.0 * PACE, burst=PACE_BURST_S)
        self._known: OrderedDict[bytes, tuple[str, bool]] = OrderedDict()
        """Digest of a valid secret → whose budget, and whether it is a robot's."""
        self._listening: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many connections are open."""
        return len(self._table)

    @property
    def capacity(self) -> int:
        """How many connections there may be at once."""
        return self._table.total

    # --- accepting -----------------------------------------------------------------------------

    def listen(self, listening: Iterable[socket.socket]) -> None:
        """
        Let callers queue up.

        :param listening: Bound sockets; closed when :meth:`serve` ends.
        :raises OSError: Another program listens there.
        """
        self._listening = list(listening)
        for listener in self._listening:
            listener.setblocking(False)
            listener.listen(BACKLOG)

    async def serve(self, make_handler: Callable[[], HttpHandler]) -> None:
        """
        Accept and serve until cancelled.

        :param make_handler: Returns aiohttp's protocol for one connection.
        """
        self._make_handler = make_handler
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as self._tasks:
            try:
                self._accept_again()
                while True:
                    await asyncio.sleep(SWEEP_PERIOD_S)
                    now_s = self._loop.time()
                    for connection in self._table:
                        connection.check(now_s)
            finally:
                # Before the tasks end: nothing may be admitted any more.
                self._close()

    def _close(self) -> None:
        self._stop_accepting()
        for listener in self._listening:
            listener.close()
        self._listening.clear()
        if self._timer is not None:
            self._timer.cancel()
        for connection in self._table:
            if not connection.has_transport:
                connection.drop()

    def _accept_again(self) -> None:
        for listener in self._listening:
            self._loop.add_reader(listener, self._accept, listener)

    def _stop_accepting(self) -> None:
        for listener in self._listening:
            self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        now_s = self._loop.time()
        for _ in range(ACCEPTED_AT_ONCE):
            wait_s = self._accepts.wait_s('', now_s)
            if wait_s > 0.0:
                # The kernel keeps them until then.
                self._pause_accepting(max(wait_s, LEAST_WAIT_S))
                return
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error, now_s)
                return
            self._accepts.spend('', ACCEPT_S, now_s)
            self._take(accepted, str(peer[0]), now_s)

    def _accept_failed(self, error: OSError, now_s: float) -> None:
        if self._seldom.take('accept', now_s) is None:
            _log.error(
                'event=accept_failed error="%s" connections=%d hint="ulimit -n, caps.connections"',
                error.strerror,
                len(self._table),
            )
        if error.errno in OUT_OF_RESOURCES:
            expendable = self._table.expendable()
            if expendable is not None:
                expendable.drop()
        self._pause_accepting(ACCEPT_RETRY_S)

    def _pause_accepting(self, seconds: float) -> None:
        self._stop_accepting()
        self._loop.call_later(seconds, self._accept_again)

    def _take(self, accepted: socket.socket, peer: str, now_s: float) -> None:
        accepted.setblocking(False)
        connection = ClientConnection(self, accepted, peer, now_s)
        victim = self._table.opened(
            connection, network_of(peer), is_proxy=self._proxies.trust(peer)
        )
        if victim is not None:
            victim.drop()

    # --- what connections tell -----------------------------------------------------------------

    def head_came(self, connection: ClientConnection, head: RequestHead) -> None:
        kind, party, is_known = self._charged(connection.peer, head)
        connection.charged = (kind, party)
        if is_known:
            victim = self._table.identified(connection, party)
            if victim is connection:
                connection.refuse()
                return
            if victim is not None:
                victim.drop()
        self._table.now(connection, Activity.WAITING)
        self._queues[kind].enter(party, connection)
        self._go_on()

    def _charged(self, peer: str, head: RequestHead) -> tuple[RequestClass, str, bool]:
        """Return whose budget a request uses, and whether that is a known key or token."""
        for secret in head.secrets:
            if secret in self._known:
                self._known.move_to_end(secret)
                party, is_robot = self._known[secret]
                return _class_of(head, is_robot=is_robot), party, True
        kind = RequestClass.UNVERIFIED if head.secrets else RequestClass.ANONYMOUS
        return kind, network_of(self._proxies.caller(peer, head.forwarded)), False

    def make_transport(self, connection: ClientConnection, accepted: socket.socket) -> None:
        self._tasks.create_task(self._make_transport(connection, accepted))

    async def _make_transport(self, connection: ClientConnection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            accepted.close()
            connection.drop()

    def refused(self, connection: ClientConnection) -> None:
        self._count_refusal()
        kind, party = connection.charged
        if self._seldom.take('over budget', self._loop.time()) is None:
            _log.warning(
                'event=over_budget class=%s caller="%s" connections=%d',
                kind.value,
                party,
                len(self._table),
            )

    def make_handler(self) -> HttpHandler:
        return self._make_handler()

    def spent(self, connection: ClientConnection, seconds: float) -> float:
        kind, party = connection.charged
        now_s = self._loop.time()
        self._pace.spend('', seconds, now_s)
        self._queues[kind].spend(party, seconds, now_s)
        return self._queues[kind].debt_s(party, now_s)

    def begun(self, connection: ClientConnection) -> None:
        # Not earlier: what no route has got holds no place that others need.
        self._table.now(connection, Activity.BUSY)

    def idle(self, connection: ClientConnection) -> None:
        self._table.now(connection, Activity.IDLE)

    def closed(self, connection: ClientConnection) -> None:
        self._table.closed(connection)
        kind, party = connection.charged
        self._queues[kind].leave(party, connection)

    # --- what routes tell ----------------------------------------------------------------------

    def verified(self, caller: RobotCaller | OperatorCaller) -> None:
        """Note that the request that is being answered has a valid key or token."""
        connection = CONNECTION.get(None)
        if connection is None:
            return
        head = connection.head
        if isinstance(caller, RobotCaller):
            is_robot, party, secret = True, f'key {caller.key_id}', head.robot_secret
        else:
            is_robot, party, secret = False, f'token {caller.credential}', head.operator_secret
        if secret is None or secret in self._known:
            return
        self._known[secret] = (party, is_robot)
        if len(self._known) > MOST_KNOWN_SECRETS:
            self._known.popitem(last=False)
        connection.charged = (_class_of(head, is_robot=is_robot), party)
        victim = self._table.identified(connection, party)
        if victim is not None and victim is not connection:
            victim.drop()

    def unverified(self) -> None:
        """Note that the request that is being answered has no valid key or token."""
        connection = CONNECTION.get(None)
        for secret in connection.head.secrets if connection is not None else ():
            self._known.pop(secret, None)

    # --- time ----------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Admit what has budget, and come back when there is more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = self._loop.time()
        for queue in self._queues.values():
            while self._pace.wait_s('', now_s) == 0.0:
                connection = queue.take(now_s)
                if connection is None:
                    break
                self._pace.spend('', REQUEST_S, now_s)
                connection.admit()
        waits_s = [queue.ready_in_s(now_s) for queue in self._queues.values()]
        if any(wait_s is not None for wait_s in waits_s):
            ready_in_s = min(wait_s for wait_s in waits_s if wait_s is not None)
            wait_s = max(ready_in_s, self._pace.wait_s('', now_s), LEAST_WAIT_S)
            self._timer = self._loop.call_later(wait_s, self._go_on)


def _request_s(kind: RequestClass) -> float:
    return REQUEST_S + (SIGN_IN_S if kind is RequestClass.UNVERIFIED else 0.0)


def _class_of(head: RequestHead, *, is_robot: bool) -> RequestClass:
    if not head.is_urgent:
        return RequestClass.QUERY
    return RequestClass.ROBOT_CALL if is_robot else RequestClass.OPERATOR_CALL
