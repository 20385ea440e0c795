"""
The open HTTP connections: who holds them, and which one is closed when there are too many.

Pure: nothing here closes anything. Each step takes constant time, however many there are.
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
from typing import Generic, TypeVar

__all__ = ['Activity', 'ConnectionTable']

_T = TypeVar('_T', bound=Hashable)


class Activity(enum.Enum):
    """What happens on a connection."""

    IDLE = 'idle'
    """Nothing: no whole head of a request has come since the last answer."""
    WAITING = 'waiting'
    """A request waits for processor time, or no route has got it yet."""
    BUSY = 'busy'
    """A route answers a request."""


class _Holders(Generic[_T]):
    """Connections by holder, with the holder that has most of them at hand."""

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
        # One step at a time: what was the largest before is not far away.
        self._largest = max(self._largest, after)
        while self._largest and self._largest not in self._by_size:
            self._largest -= 1


@dataclass(slots=True)
class _Entry:
    holder: str
    is_known: bool
    """The holder is a key, a token or a trusted proxy, and not an address."""
    is_proxy: bool
    activity: Activity = Activity.IDLE


class ConnectionTable(Generic[_T]):
    """
    Counts connections and chooses which one gives way.

    Strangers, who have shown no valid key or token, go first. Their idle connections and those
    whose request waits are counted for each address; the highest of these counts loses its oldest
    connection, an idle one if both are equal. So a newcomer outlasts strangers who hold all places
    from a few addresses; from as many addresses as there are places, strangers can push them out.
    Then the key or token with the most idle connections loses its oldest. A connection that is
    being answered is never chosen.

    :param total: How many there may be.
    :param per_address: How many of one address, without a valid key or token.
    :param per_token: How many on which one key or token has been shown.
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
        :param is_proxy: Many callers come from there: only the total limit applies.
        :returns: Which one has to be dropped for it, and is forgotten already; it may be the new
            one itself.
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
        """Return which connection to close first when one more is needed."""
        strangers = [self._idle_strangers, self._waiting_strangers]
        strangers.sort(key=lambda holders: holders.most, reverse=True)
        for holders in (*strangers, self._idle_known):
            connection = holders.oldest_of_largest()
            if connection is not None:
                return connection
        return None

    def identified(self, connection: _T, party: str) -> _T | None:
        """
        Note that a valid key or token came over a connection.

        :returns: Which one has to be dropped for it, and is forgotten already; it may be the same
            one, which is not forgotten.
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
        """Note what happens on a connection from now on."""
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
