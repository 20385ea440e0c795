"""
Split sessions: pairs that belong to one robot, with video in one and data in the other.

Robots of other makes choose a robot_id for each of their peer connections. If one robot sends two
ids, or none, it looks like two healthy robots: one without a picture, and one that ignores
commands. Pure. Two sessions count as one robot if all of this holds:

- Both have dialled with one API key from one address, and neither sends an instance_id. (Our
  robots send one, and have one session each.)
- One has no picture: it offers no video, or has sent none although a viewer had time to see some.
- The other has a picture and no data: it offers no channels, or has sent nothing on them although
  they were open long enough. If it has only answered pings, or if its channels were never opened,
  it counts only if the first one offers video; in the second case also only if both have the same
  local addresses.
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

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from teleop_webrtc_bridge.broker.media.backend import Arrived
from teleop_webrtc_bridge.broker.registry.sessions import NewSession, Session

__all__ = ['ADVICE', 'Split', 'SplitSessions']

ADVICE: Final = (
    'If both are one robot, give both the same robot_id,'
    ' and send video and data from one process over one peer connection.'
)
WAIT_S: Final = 5.0
"""Robots need much less to open their channels and to send their state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Two sessions that are probably one robot; if their addresses are hidden, perhaps."""

    video: NewSession
    """The session that has the picture."""
    data: NewSession
    """The session that uses its data channels."""

    def as_fields(self, session_id: str) -> dict[str, Any]:
        """Return what the HTTP API says about one of the two sessions."""
        has_video = session_id == self.video.session_id
        other = self.data if has_video else self.video
        what = 'uses no data channels' if has_video else 'sends no video'
        others = 'data channels' if has_video else 'video'
        return {
            'session_id': other.session_id,
            'robot_id': other.robot_id,
            'lacks': 'channels' if has_video else 'video',
            'hint': f'This robot {what}; {_name(other)} has {others}. They may be one. {ADVICE}',
        }


def _name(robot: NewSession) -> str:
    return f'robot_id {robot.robot_id!r}' if robot.robot_id else 'a session without robot_id'


class SplitSessions:
    """Owns the observations of all sessions without an instance_id."""

    def __init__(self) -> None:
        self._without_video: set[str] = set()
        self._without_answers: set[str] = set()
        self._without_messages: set[str] = set()
        self._splits: dict[str, Split] = {}
        self._told: set[tuple[str, str]] = set()

    def of(self, session_id: str) -> Split | None:
        """Return the robot that a session is one half of, if any."""
        return self._splits.get(session_id)

    def look(
        self,
        sessions: Iterable[Session],
        arrived: Callable[[str], Arrived | None],
        now_s: float,
    ) -> list[Split]:
        """
        Compare all sessions.

        :param arrived: Returns what has arrived through a media session; ``None``: unknown.
        :returns: The splits that are new.
        """
        foreign = [it for it in sessions if it.identity.instance_id is None]
        seen = {it.session_id: arrived(it.identity.media_id) for it in foreign}
        for session in foreign:
            self._note(session, seen[session.session_id], now_s)
        groups: defaultdict[tuple[str, str, str], list[Session]] = defaultdict(list)
        for session in foreign:
            robot = session.identity
            groups[robot.owner, robot.key_id, robot.network].append(session)
        pairs = [pair for group in groups.values() for pair in self._pairs(group, seen)]
        self._splits = {
            it.session_id: split for split in pairs for it in (split.video, split.data)
        }
        self._forget({session.session_id for session in foreign})
        return [split for split in pairs if self._is_news(split)]

    def _note(self, session: Session, arrived: Arrived | None, now_s: float) -> None:
        """Note what has not arrived although there was time for it."""
        if arrived is None:
            return
        bridge = session.bridge
        had_time = bridge is not None and bridge.robot_ready and now_s - bridge.since_s >= WAIT_S
        for has_come, without in (
            (arrived.video, self._without_video),
            (arrived.answers, self._without_answers),
            (arrived.messages, self._without_messages),
        ):
            if has_come:
                without.discard(session.session_id)
            elif had_time:
                without.add(session.session_id)

    def _pairs(self, group: list[Session], arrived: dict[str, Arrived | None]) -> list[Split]:
        without = [it.identity for it in group if self._lacks_video(it)]
        pairs = []
        for session in group:
            video = session.identity
            seen = arrived[video.session_id]
            if not video.offers_video or (seen is not None and not seen.video):
                continue
            if seen is not None and seen.messages:
                continue
            data = next((it for it in without if self._is_half(it, video)), None)
            if data is not None:
                without.remove(data)
                pairs.append(Split(video=video, data=data))
        return pairs

    def _lacks_video(self, session: Session) -> bool:
        robot = session.identity
        if not robot.offers_channels:
            return False
        return not robot.offers_video or robot.session_id in self._without_video

    def _is_half(self, data: NewSession, video: NewSession) -> bool:
        """Return whether a session with a picture has the other one's data channels."""
        if not video.offers_channels or video.session_id in self._without_answers:
            return not _are_apart(data, video)
        if not data.offers_video:
            return False  # a robot without a camera, beside another one
        if video.session_id in self._without_messages:
            return not _are_apart(data, video)
        return bool(video.hosts) and data.hosts == video.hosts

    def _is_news(self, split: Split) -> bool:
        pair = (split.video.session_id, split.data.session_id)
        is_news = pair not in self._told
        self._told.add(pair)
        return is_news

    def _forget(self, present: set[str]) -> None:
        self._without_video &= present
        self._without_answers &= present
        self._without_messages &= present
        self._told = {pair for pair in self._told if present.issuperset(pair)}


def _are_apart(one: NewSession, other: NewSession) -> bool:
    """Return whether two robots are known to be different machines behind one address."""
    return bool(one.hosts and other.hosts) and one.hosts.isdisjoint(other.hosts)
