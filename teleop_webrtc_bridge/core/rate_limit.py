"""Token buckets, one per caller; time is an argument."""

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
from dataclasses import dataclass
from typing import Final

__all__ = ['RateLimit']

#: Beyond this many callers at least, those whose bucket is full again are forgotten.
_PRUNE_ABOVE: Final = 1024
_MOST_CALLERS: Final = 8192
"""Memory is bounded: callers beyond these share one bucket."""
_PRUNE_PERIOD_S: Final = 1.0
"""Looking through that many buckets takes a millisecond or two."""
_OTHERS: Final = object()


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at_s: float


class RateLimit:
    """
    Let each caller do something ``burst`` times at once and ``per_minute`` times a minute.

    What costs are known only afterwards is for :meth:`spend` and :meth:`wait_s`.

    :param per_minute: Tokens that come back in 60 s.
    :param burst: Tokens in a full bucket.
    """

    def __init__(self, *, per_minute: float, burst: float) -> None:
        self._per_second = per_minute / 60.0
        self._burst = float(burst)
        self._buckets: dict[Hashable, _Bucket] = {}
        self._prune_above = _PRUNE_ABOVE
        self._pruned_at_s = -_PRUNE_PERIOD_S

    def take(self, caller: Hashable, now_s: float) -> float | None:
        """
        Take one token.

        :param now_s: Monotonic time in seconds.
        :returns: ``None`` when the caller may go on, else how many seconds it has to wait.
        """
        bucket = self._filled(caller, now_s)
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return None
        return (1.0 - bucket.tokens) / self._per_second

    def spend(self, caller: Hashable, tokens: float, now_s: float) -> None:
        """
        Take tokens, whether they are there or not.

        The debt is at most one full bucket: nobody is locked out for one request.
        """
        bucket = self._filled(caller, now_s)
        bucket.tokens = max(-self._burst, bucket.tokens - tokens)

    def wait_s(self, caller: Hashable, now_s: float) -> float:
        """Return how many seconds a caller has to wait until it has no debt."""
        bucket = self._buckets.get(caller)
        if bucket is None and len(self._buckets) >= _MOST_CALLERS:
            bucket = self._buckets.get(_OTHERS)
        if bucket is None:
            return 0.0
        return max(0.0, -self._tokens_at(bucket, now_s)) / self._per_second

    def _filled(self, caller: Hashable, now_s: float) -> _Bucket:
        """Return the bucket of a caller with the tokens that it has gained."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._prune(now_s)
            if len(self._buckets) >= _MOST_CALLERS:
                caller = _OTHERS
            new = _Bucket(tokens=self._burst, filled_at_s=now_s)
            bucket = self._buckets.setdefault(caller, new)
        bucket.tokens = self._tokens_at(bucket, now_s)
        bucket.filled_at_s = now_s
        return bucket

    def _tokens_at(self, bucket: _Bucket, now_s: float) -> float:
        gained = max(0.0, now_s - bucket.filled_at_s) * self._per_second
        return min(self._burst, bucket.tokens + gained)

    def _prune(self, now_s: float) -> None:
        if len(self._buckets) < self._prune_above:
            return
        if now_s - self._pruned_at_s < _PRUNE_PERIOD_S:
            return
        self._pruned_at_s = now_s
        # A full bucket says no more than no bucket.
        self._buckets = {
            caller: bucket
            for caller, bucket in self._buckets.items()
            if self._tokens_at(bucket, now_s) < self._burst
        }
        # Looking through all of them for each new caller would cost more the more of them come.
        self._prune_above = min(_MOST_CALLERS, max(_PRUNE_ABOVE, 2 * len(self._buckets)))
