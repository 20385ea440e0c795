"""
Whether to listen for the parameter sets of a camera that encodes by itself; pure.

Some encoders send them once, when they start. Who subscribes only while somebody watches never
hears them, and without them no picture can be decoded.
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

from typing import Final

__all__ = ['SetsWatch']

MARGIN_S: Final = 0.5
"""So long a publisher may have been heard before the graph shows it."""


class SetsWatch:
    """Compares who publishes with whose sets are known; every ``now`` of one steady clock."""

    def __init__(self) -> None:
        self._publishers: frozenset[bytes] = frozenset()
        """The last ones that were there: who is back after an interruption is the same."""
        self._is_there = False
        self._asked_s = float('-inf')
        """When the newest publisher was seen for the first time."""
        self._looked_s = float('-inf')

    def look(self, publishers: frozenset[bytes], now: float) -> float | None:
        """
        Note who publishes.

        :param publishers: An identity for each, another one after a restart.
        :returns: The time before which all that was heard is of publishers that are gone; ``None``
            unless others have taken their place.
        """
        new = publishers - self._publishers
        is_replaced = bool(self._publishers and new) and not publishers & self._publishers
        gone_s = self._looked_s - MARGIN_S if is_replaced else None
        self._looked_s, self._is_there = now, bool(publishers)
        if new:
            self._asked_s = now
        if publishers:
            self._publishers = publishers
        return gone_s

    def needs(self, known_s: float) -> bool:
        """
        Return whether to be subscribed though nobody watches.

        It is so too while there is no publisher: one that starts then is heard from the start.

        :param known_s: When the last picture came whose parameter sets are known.
        """
        return not self._is_there or known_s < self._asked_s
