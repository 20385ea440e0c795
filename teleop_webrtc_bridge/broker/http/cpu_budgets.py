"""
Budgets of processor time, and the order in which requests that exceed them go on.

Pure: time is an argument.
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

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
import enum
import heapq
import itertools
from typing import Final, Generic, TypeVar

from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = ['SHARES', 'FairQueue', 'RequestClass', 'Share']

_TOTAL: Final = 'total'
_T = TypeVar('_T', bound=Hashable)


class RequestClass(enum.Enum):
    """Requests that share a budget; no class takes anything from another one's."""

    ROBOT_CALL = 'robot_call'
    """Of a known API key: heartbeats, dialling in, answers."""
    OPERATOR_CALL = 'operator_call'
    """Of a known token: heartbeats, joins, control."""
    QUERY = 'query'
    """Of a known key or token: lists, keys, tokens."""
    UNVERIFIED = 'unverified'
    """With a key or token that has not been seen to be valid; by address."""
    ANONYMOUS = 'anonymous'
    """Without any; by address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of one core a class may use, in seconds a second; bursts in seconds."""

    total: float
    total_burst_s: float
    each: float
    """For one address, or for one key or token."""
    each_burst_s: float


#: A request takes about 0.7 ms on a small machine that is busy. 128 robots of one key at 1 Hz take
#: 9 % of a core there, a page load 2 %, a page that shows the list of robots 0.1 %.
SHARES: Final = {
    RequestClass.ROBOT_CALL: Share(total=0.5, total_burst_s=0.2, each=0.2, each_burst_s=0.2),
    RequestClass.OPERATOR_CALL: Share(total=0.3, total_burst_s=0.05, each=0.05, each_burst_s=0.1),
    RequestClass.QUERY: Share(total=0.3, total_burst_s=0.05, each=0.1, each_burst_s=0.2),
    RequestClass.UNVERIFIED: Share(total=0.1, total_burst_s=0.05, each=0.05, each_burst_s=0.1),
    RequestClass.ANONYMOUS: Share(total=0.1, total_burst_s=0.05, each=0.05, each_burst_s=0.1),
}


class FairQueue(Generic[_T]):
    """
    Lets one class of requests go on within its budgets, one party after the other.

    A party is an address, or a key or token. One that has many requests waiting has them answered
    no sooner than another one its only one.

    :param share: The budgets.
    :param request_s: What each request costs beside what is measured, in seconds.
    """

    def __init__(self, share: Share, request_s: float) -> None:
        self._request_s = request_s
        self._total = RateLimit(per_minute=60.0 * share.total, burst=share.total_burst_s)
        self._each = RateLimit(per_minute=60.0 * share.each, burst=share.each_burst_s)
        self._waiting: dict[Hashable, OrderedDict[_T, None]] = {}
        self._next: OrderedDict[Hashable, None] = OrderedDict()
        """Parties that may have budget, in turn; each known party is here or in debt."""
        self._in_debt: list[tuple[float, int, Hashable]] = []
        """A heap of when their debt is paid, and parties."""
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def enter(self, party: Hashable, request: _T) -> None:
        """Let a request wait for :meth:`take`."""
        waiting = self._waiting.get(party)
        if waiting is None:
            waiting = self._waiting[party] = OrderedDict()
            self._next[party] = None
        waiting[request] = None

    def leave(self, party: Hashable, request: _T) -> None:
        """Forget a request that waits."""
        self._waiting.get(party, OrderedDict()).pop(request, None)

    def take(self, now_s: float) -> _T | None:
        """Return the request that goes on now, if there is budget for one."""
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
        """Return in how many seconds :meth:`take` may have something; ``None``: never."""
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
        """Return in how many seconds a party has budget again; 0: it has some."""
        total_s = self._total.wait_s(_TOTAL, now_s)
        return max(total_s, self._each.wait_s(party, now_s))
