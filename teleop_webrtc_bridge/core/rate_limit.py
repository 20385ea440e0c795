"""Token buckets and the limits that are built on them; pure: time is an argument."""

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

from collections.abc import Hashable
from typing import Final

__all__ = ['FloodDetector', 'MessageBudget', 'RateLimit', 'TokenBucket']

FLOOD_S: Final = 3.0
"""A peer that exceeds its limit for this long is flooding and is to be disconnected."""
CALM_S: Final = 0.5
"""A pause of this length without excess ends a flood."""

_PRUNE_ABOVE: Final = 1024
"""With at least this many callers, those whose bucket is full again are forgotten."""
_MOST_CALLERS: Final = 8192
"""Bounds memory: further callers share one bucket."""
_PRUNE_PERIOD_S: Final = 1.0
"""Going through that many buckets takes a millisecond or two."""
_OTHERS: Final = object()


class TokenBucket:
    """
    A token bucket, full at first.

    :param rate: Tokens gained per second.
    :param burst: Tokens in a full bucket.
    :param now_s: Monotonic time in seconds, as in all methods.
    """

    __slots__ = ('_burst', '_filled_at_s', '_level', '_rate')

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._filled_at_s = now_s

    def level(self, now_s: float) -> float:
        """Return the number of tokens; negative is a debt."""
        elapsed_s = now_s - self._filled_at_s
        if elapsed_s <= 0.0:
            return self._level
        return min(self._burst, self._level + elapsed_s * self._rate)

    def take(self, tokens: float, now_s: float) -> bool:
        """Take tokens if there are enough, and return whether there were."""
        level = self.level(now_s)
        self._filled_at_s = now_s
        if level < tokens:
            self._level = level
            return False
        self._level = level - tokens
        return True

    def spend(self, tokens: float, now_s: float) -> None:
        """Take tokens even if there are too few; the debt is at most one full bucket."""
        self._level = max(-self._burst, self.level(now_s) - tokens)
        self._filled_at_s = now_s

    def wait_s(self, tokens: float, now_s: float) -> float:
        """Return how many seconds it takes until there are enough tokens."""
        return max(0.0, tokens - self.level(now_s)) / self._rate

    def is_full(self, now_s: float) -> bool:
        """Return whether the bucket is full, and so equal to a new one."""
        return self.level(now_s) >= self._burst


class MessageBudget:
    """
    A limit on messages and on their bytes.

    :param messages: Messages per second, and in a burst.
    :param size: Bytes per second, and in a burst.
    :param now_s: Monotonic time in seconds.
    """

    def __init__(
        self, messages: tuple[float, float], size: tuple[float, float], now_s: float
    ) -> None:
        self._messages = TokenBucket(*messages, now_s)
        self._bytes = TokenBucket(*size, now_s)

    def take(self, size: int, now_s: float) -> bool:
        """
        Return whether a message is within both limits, and count it if so.

        :param size: In bytes.
        """
        if not self._messages.take(1.0, now_s):
            return False
        if self._bytes.take(size, now_s):
            return True
        self._messages.spend(-1.0, now_s)
        return False


class FloodDetector:
    """Detects that a peer exceeds its limit for 3 s without a pause."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._newest_s = 0.0

    def note_excess(self, now_s: float) -> None:
        """Note that the peer exceeds its limit now; monotonic seconds."""
        if self._since_s is None or now_s - self._newest_s > CALM_S:
            self._since_s = now_s
        self._newest_s = now_s

    def is_flooded(self) -> bool:
        """Return whether the newest excess belongs to a flood."""
        return self._since_s is not None and self._newest_s - self._since_s >= FLOOD_S


class RateLimit:
    """
    A token bucket for each caller.

    Each caller may act ``burst`` times at once and ``per_minute`` times a minute. :meth:`spend`
    and :meth:`wait_s` are for actions whose cost is known only afterwards.

    :param per_minute: Tokens gained in 60 s.
    :param burst: Tokens in a full bucket.
    """

    def __init__(self, *, per_minute: float, burst: float) -> None:
        self._rate = per_minute / 60.0
        self._burst = float(burst)
        self._buckets: dict[Hashable, TokenBucket] = {}
        self._prune_above = _PRUNE_ABOVE
        self._pruned_at_s = -_PRUNE_PERIOD_S

    def take(self, caller: Hashable, now_s: float) -> float | None:
        """
        Take one token.

        :param now_s: Monotonic time in seconds.
        :returns: ``None`` if the caller may proceed, else how many seconds it has to wait.
        """
        bucket = self._bucket(caller, now_s)
        return None if bucket.take(1.0, now_s) else bucket.wait_s(1.0, now_s)

    def spend(self, caller: Hashable, tokens: float, now_s: float) -> None:
        """
        Take tokens even if there are too few.

        The debt is at most one full bucket: one request locks nobody out for long.
        """
        self._bucket(caller, now_s).spend(tokens, now_s)

    def wait_s(self, caller: Hashable, now_s: float) -> float:
        """Return how many seconds a caller has to wait until it has no debt."""
        bucket = self._buckets.get(caller)
        if bucket is None and len(self._buckets) >= _MOST_CALLERS:
            bucket = self._buckets.get(_OTHERS)
        return 0.0 if bucket is None else bucket.wait_s(0.0, now_s)

    def _bucket(self, caller: Hashable, now_s: float) -> TokenBucket:
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._prune(now_s)
            if len(self._buckets) >= _MOST_CALLERS:
                caller = _OTHERS
            new = TokenBucket(self._rate, self._burst, now_s)
            bucket = self._buckets.setdefault(caller, new)
        return bucket

    def _prune(self, now_s: float) -> None:
        if len(self._buckets) < self._prune_above:
            return
        if now_s - self._pruned_at_s < _PRUNE_PERIOD_S:
            return
        self._pruned_at_s = now_s
        self._buckets = {
            caller: bucket for caller, bucket in self._buckets.items() if not bucket.is_full(now_s)
        }
        # The threshold grows with the number of callers that stay; otherwise each newcomer would
        # cause a pruning, whose cost grows with that number.
        self._prune_above = min(_MOST_CALLERS, max(_PRUNE_ABOVE, 2 * len(self._buckets)))
