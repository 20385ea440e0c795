"""
Admission control: bounds connections and shares processor time between callers.

No I/O and no clock: time is an argument, and callers close the connections that are chosen here.
A step of the connection table takes constant time, however many connections there are.
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

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
import enum
from hashlib import blake2b
import heapq
import itertools
import os
import re
from typing import Final, Generic, TypeVar

from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = [
    'END_OF_HEAD',
    'SHARES',
    'Activity',
    'ConnectionTable',
    'FairQueue',
    'HeadFault',
    'RequestClass',
    'RequestHead',
    'Share',
    'fault_of',
    'read_head',
]

_TOTAL: Final = 'total'
_T = TypeVar('_T', bound=Hashable)

# --- the head of a request ---------------------------------------------------------------------

END_OF_HEAD: Final = b'\r\n\r\n'
_FIELDS: Final = re.compile(
    rb'\r\n(x-robot-api-key|authorization|content-length|transfer-encoding|upgrade|'
    rb'x-forwarded-for):[ \t]*([^\r\n]*)',
    re.IGNORECASE,
)
#: Calls that robots and operators make about a session; listing the sessions is not urgent.
_URGENT: Final = re.compile(
    rb'(?:(?:POST|DELETE) /api/v1/sessions[/ ]|GET /api/v1/sessions/turn-credentials )'
)
_DIGEST_KEY: Final = os.urandom(16)
_REQUEST_LINE: Final = re.compile(rb'[A-Z]+ [!-~]+ HTTP/(\d\.\d)\r\n')
_VERSIONS: Final = (b'1.0', b'1.1')
_EXPECT: Final = re.compile(rb'\r\nexpect[ \t]*:[ \t]*([^\r\n]*)', re.IGNORECASE)
_LENGTH: Final = re.compile(rb'\r\ncontent-length:[ \t]*([^\r\n]*)', re.IGNORECASE)
_LENGTH_ALLOWED: Final = re.compile(rb'\d{1,15}[ \t]*')
#: A line end that is not CR LF, or a line that continues in the next one.
_ODD_LINES: Final = re.compile(rb'\r(?!\n)|(?<!\r)\n|\n[ \t]')


class HeadFault(enum.Enum):
    """
    Why a request is refused before aiohttp sees it.

    No route would ever receive such a request, or aiohttp might read its head differently.
    """

    NO_REQUEST = 'no_request'
    VERSION = 'version'
    EXPECTATION = 'expectation'


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """The fields of a head that choose a budget; aiohttp and the routes make the final checks."""

    robot_secret: bytes | None = None
    """Digest of its API key."""
    operator_secret: bytes | None = None
    """Digest of its token."""
    is_urgent: bool = False
    body_bytes: int = 0
    is_last: bool = False
    """Its body has no known end: it is chunked, or another protocol than HTTP follows."""
    forwarded: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[bytes, ...]:
        return tuple(it for it in (self.robot_secret, self.operator_secret) if it is not None)


def read_head(head: bytes) -> RequestHead:
    """
    Read a head; malformed fields count as missing.

    :param head: With the empty line at its end.
    """
    robot_secret = operator_secret = None
    body_bytes, is_last, forwarded = 0, head.startswith(b'CONNECT '), []
    for name, value in _FIELDS.findall(head):
        match name.lower():
            case b'x-robot-api-key':
                robot_secret = robot_secret or _digest(value)
            case b'authorization':
                operator_secret = operator_secret or _digest(value)
            case b'content-length':
                body_bytes = int(value) if _LENGTH_ALLOWED.fullmatch(value) else 0
            case b'transfer-encoding' | b'upgrade':
                is_last = True
            case _:
                forwarded.append(value.decode('latin-1'))
    return RequestHead(
        robot_secret=robot_secret,
        operator_secret=operator_secret,
        is_urgent=_URGENT.match(head) is not None,
        body_bytes=body_bytes,
        is_last=is_last,
        forwarded=tuple(forwarded),
    )


def fault_of(head: bytes) -> HeadFault | None:
    """
    Return the fault of a head that no route would receive, or whose line ends are ambiguous.

    :param head: With the empty line at its end.
    """
    line = _REQUEST_LINE.match(head)
    if line is None or _ODD_LINES.search(head):
        return HeadFault.NO_REQUEST
    if line[1] not in _VERSIONS:
        return HeadFault.VERSION
    if not all(map(_LENGTH_ALLOWED.fullmatch, _LENGTH.findall(head))):
        return HeadFault.NO_REQUEST
    if any(it.strip().lower() != b'100-continue' for it in _EXPECT.findall(head)):
        return HeadFault.EXPECTATION
    return None


def _digest(value: bytes) -> bytes:
    """Return a keyed digest, so that no secret is kept in memory."""
    return blake2b(value.strip(), digest_size=16, key=_DIGEST_KEY).digest()


# --- the number of connections -----------------------------------------------------------------


class Activity(enum.Enum):
    """The activity of a connection."""

    IDLE = 'idle'
    """Idle: no complete head of a request has arrived since the last answer."""
    WAITING = 'waiting'
    """A request waits for processor time or for its route."""
    BUSY = 'busy'
    """A route is answering a request."""


class _Holders(Generic[_T]):
    """Connections by holder; finds the holder that has the most in constant time."""

    def __init__(self) -> None:
        self._of: dict[str, OrderedDict[_T, None]] = {}
        self._by_size: dict[int, OrderedDict[str, None]] = {}
        self._largest = 0

    def add(self, holder: str, connection: _T) -> None:
        held = self._of.setdefault(holder, OrderedDict())
        held[connection] = None
        self._resized(holder, len(held) - 1, len(held))

    def remove(self, holder: str, connection: _T) -> None:
        held = self._of[holder]
        del held[connection]
        self._resized(holder, len(held) + 1, len(held))
        if not held:
            del self._of[holder]

    def oldest_of(self, holder: str) -> _T | None:
        return next(iter(self._of.get(holder, ())), None)

    def oldest_of_largest(self) -> _T | None:
        if not self._largest:
            return None
        return self.oldest_of(next(iter(self._by_size[self._largest])))

    @property
    def most(self) -> int:
        """Number of connections of the largest holder."""
        return self._largest

    def _resized(self, holder: str, before: int, after: int) -> None:
        if before:
            del self._by_size[before][holder]
            if not self._by_size[before]:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, OrderedDict())[holder] = None
        # Sizes change by one, so the next largest is at most one step away.
        self._largest = max(self._largest, after)
        while self._largest and self._largest not in self._by_size:
            self._largest -= 1


@dataclass(slots=True)
class _Entry:
    holder: str
    is_known: bool
    """The holder is a key, a token or a trusted proxy rather than an address."""
    is_proxy: bool
    activity: Activity = Activity.IDLE


class ConnectionTable(Generic[_T]):
    """
    Counts connections, and chooses the one to close when there are too many.

    Connections of strangers, who have shown no valid key or token, are closed first. Idle and
    waiting connections are counted separately for each address; the address with the highest count
    loses its oldest connection, an idle one if both counts are equal. So strangers who hold all
    places from a few addresses cannot push out a newcomer; strangers with as many addresses as
    there are places can. After the strangers, the key or token with the most idle connections
    loses its oldest. A connection on which a route is answering is never chosen.

    :param total: Maximum number of connections.
    :param per_address: Maximum of one address, without a valid key or token.
    :param per_token: Maximum of one key or token.
    """

    def __init__(self, *, total: int, per_address: int, per_token: int) -> None:
        self.total = total
        self._per_address = per_address
        self._per_token = per_token
        self._entries: dict[_T, _Entry] = {}
        self._counts: Counter[tuple[bool, str]] = Counter()
        self._idle_strangers: _Holders[_T] = _Holders()
        self._waiting_strangers: _Holders[_T] = _Holders()
        self._idle_known: _Holders[_T] = _Holders()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[_T]:
        return iter(tuple(self._entries))

    def opened(self, connection: _T, address: str, *, is_proxy: bool = False) -> _T | None:
        """
        Note a new connection.

        :param address: Its holder until it shows a key or token.
        :param is_proxy: Many clients share this address, so only the total limit applies.
        :returns: The connection to drop in its place, which is already forgotten; it may be the
            new one itself.
        """
        victim: _T | None = None
        if not is_proxy and self._counts[False, address] >= self._per_address:
            victim = self._idle_strangers.oldest_of(address)
            victim = victim or self._waiting_strangers.oldest_of(address) or connection
        elif len(self._entries) >= self.total:
            victim = self.expendable() or connection
        if victim is connection:
            return connection
        if victim is not None:
            self.closed(victim)
        entry = _Entry(holder=address, is_known=is_proxy, is_proxy=is_proxy)
        self._entries[connection] = entry
        self._counts[entry.is_known, address] += 1
        self._place(connection, entry)
        return victim

    def expendable(self) -> _T | None:
        """Return the connection to close first when a place is needed."""
        strangers = [self._idle_strangers, self._waiting_strangers]
        strangers.sort(key=lambda holders: holders.most, reverse=True)
        for holders in (*strangers, self._idle_known):
            connection = holders.oldest_of_largest()
            if connection is not None:
                return connection
        return None

    def identified(self, connection: _T, party: str) -> _T | None:
        """
        Note that a valid key or token was presented on a connection.

        :returns: The connection to drop in its place, which is already forgotten; it may be the
            same connection, which is not forgotten.
        """
        entry = self._entries.get(connection)
        if entry is None or entry.is_proxy or (entry.is_known and entry.holder == party):
            return None
        victim: _T | None = None
        if self._counts[True, party] >= self._per_token:
            victim = self._idle_known.oldest_of(party)
            if victim is None:
                return connection
            self.closed(victim)
        self._unplace(connection, entry)
        self._forget_holder(entry)
        entry.holder, entry.is_known = party, True
        self._counts[True, party] += 1
        self._place(connection, entry)
        return victim

    def now(self, connection: _T, activity: Activity) -> None:
        """Set the activity of a connection."""
        entry = self._entries.get(connection)
        if entry is not None:
            self._unplace(connection, entry)
            entry.activity = activity
            self._place(connection, entry)

    def closed(self, connection: _T) -> None:
        """Forget a connection."""
        entry = self._entries.pop(connection, None)
        if entry is not None:
            self._unplace(connection, entry)
            self._forget_holder(entry)

    def _forget_holder(self, entry: _Entry) -> None:
        key = (entry.is_known, entry.holder)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    def _holders(self, entry: _Entry) -> _Holders[_T] | None:
        if entry.activity is Activity.BUSY:
            return None
        if entry.is_known:
            return self._idle_known
        if entry.activity is Activity.IDLE:
            return self._idle_strangers
        return self._waiting_strangers

    def _place(self, connection: _T, entry: _Entry) -> None:
        holders = self._holders(entry)
        if holders is not None:
            holders.add(entry.holder, connection)

    def _unplace(self, connection: _T, entry: _Entry) -> None:
        holders = self._holders(entry)
        if holders is not None:
            holders.remove(entry.holder, connection)


# --- budgets of processor time -----------------------------------------------------------------


class RequestClass(enum.Enum):
    """Requests that share a budget; no class uses up the budget of another."""

    ROBOT_CALL = 'robot_call'
    """Calls with a known API key: heartbeats, dialling in, answers."""
    OPERATOR_CALL = 'operator_call'
    """Calls with a known token: heartbeats, joins, control."""
    QUERY = 'query'
    """Calls with a known key or token about lists, keys and tokens."""
    UNVERIFIED = 'unverified'
    """Requests with a key or token that is not known to be valid yet; by address."""
    ANONYMOUS = 'anonymous'
    """Requests without a key or token; by address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The share of one core that a class may use, in seconds per second; bursts in seconds."""

    total: float
    total_burst_s: float
    each: float
    """For one address, or for one key or token."""
    each_burst_s: float


#: A request takes about 0.7 ms on a small, busy machine. There, 128 robots of one key at 1 Hz take
#: 9 % of a core, a page load 2 %, and a page that shows the list of robots 0.1 %.
SHARES: Final = {
    RequestClass.ROBOT_CALL: Share(total=0.5, total_burst_s=0.2, each=0.2, each_burst_s=0.2),
    RequestClass.OPERATOR_CALL: Share(total=0.3, total_burst_s=0.05, each=0.05, each_burst_s=0.1),
    RequestClass.QUERY: Share(total=0.3, total_burst_s=0.05, each=0.1, each_burst_s=0.2),
    RequestClass.UNVERIFIED: Share(total=0.1, total_burst_s=0.05, each=0.05, each_burst_s=0.1),
    RequestClass.ANONYMOUS: Share(total=0.1, total_burst_s=0.05, each=0.05, each_burst_s=0.1),
}


class FairQueue(Generic[_T]):
    """
    Admits the requests of one class within its budgets; the parties take turns.

    A party is an address, a key or a token. A party with many waiting requests does not delay a
    party with one.

    :param share: The budgets.
    :param request_s: Unmeasured cost of each request, in seconds.
    """

    def __init__(self, share: Share, request_s: float) -> None:
        self._request_s = request_s
        self._total = RateLimit(per_minute=60.0 * share.total, burst=share.total_burst_s)
        self._each = RateLimit(per_minute=60.0 * share.each, burst=share.each_burst_s)
        self._waiting: dict[Hashable, OrderedDict[_T, None]] = {}
        self._next: OrderedDict[Hashable, None] = OrderedDict()
        """Parties that may have budget, in order; each known party is here or in debt."""
        self._in_debt: list[tuple[float, int, Hashable]] = []
        """A heap of the times at which debts are paid, and the parties."""
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def enter(self, party: Hashable, request: _T) -> None:
        """Queue a request for :meth:`take`."""
        waiting = self._waiting.get(party)
        if waiting is None:
            waiting = self._waiting[party] = OrderedDict()
            self._next[party] = None
        waiting[request] = None

    def leave(self, party: Hashable, request: _T) -> None:
        """Remove a waiting request."""
        self._waiting.get(party, OrderedDict()).pop(request, None)

    def take(self, now_s: float) -> _T | None:
        """Return the next request, if there is budget for one."""
        if self._total.wait_s(_TOTAL, now_s) > 0.0:
            return None
        while self._in_debt and self._in_debt[0][0] <= now_s:
            self._next[heapq.heappop(self._in_debt)[2]] = None
        while self._next:
            party, _ = self._next.popitem(last=False)
            waiting = self._waiting[party]
            if not waiting:
                del self._waiting[party]
                continue
            wait_s = self._each.wait_s(party, now_s)
            if wait_s > 0.0:
                heapq.heappush(self._in_debt, (now_s + wait_s, next(self._numbers), party))
                continue
            request, _ = waiting.popitem(last=False)
            self._next[party] = None
            self.spend(party, self._request_s, now_s)
            return request
        return None

    def ready_in_s(self, now_s: float) -> float | None:
        """Return in how many seconds :meth:`take` may return a request; ``None``: never."""
        if self._next:
            due_s = now_s
        elif self._in_debt:
            due_s = self._in_debt[0][0]
        else:
            return None
        return max(due_s - now_s, self._total.wait_s(_TOTAL, now_s))

    def spend(self, party: Hashable, seconds: float, now_s: float) -> None:
        """Charge processor time to a party."""
        self._total.spend(_TOTAL, seconds, now_s)
        self._each.spend(party, seconds, now_s)

    def debt_s(self, party: Hashable, now_s: float) -> float:
        """Return in how many seconds a party has budget again; 0: it has some now."""
        total_s = self._total.wait_s(_TOTAL, now_s)
        return max(total_s, self._each.wait_s(party, now_s))
