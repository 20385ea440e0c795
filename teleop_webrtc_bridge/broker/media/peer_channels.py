"""
The data channels of one peer connection of the SFU in this process.

A part of :mod:`~teleop_webrtc_bridge.broker.media.embedded`.
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

from collections import Counter
import time
from typing import Final

from aiortc import RTCDataChannel, RTCPeerConnection

from teleop_webrtc_bridge.broker.media.backend import DataChannelRequest, MediaSessionGone
from teleop_webrtc_bridge.broker.media.channel_relay import (
    ChannelEnd,
    EstopTap,
    Publication,
    shows_open_ends,
    Voice,
)
from teleop_webrtc_bridge.broker.media.flood_guard import FloodGuard
from teleop_webrtc_bridge.core.messages import CHANNELS, CMD_UNRELIABLE

__all__ = ['PeerChannels']

FIRST_STREAM_ID: Final = 2
"""0 is the robot's ``_sctp_init``, 1 a browser's throw-away channel."""
LAST_STREAM_ID: Final = 1022
"""Chromium refuses higher ones."""
MAX_OWN_CHANNELS: Final = 8
"""A page opens one channel of its own, which carries nothing; each costs memory."""
MAX_PONG_CHARS: Final = 200
OWN_CHANNELS: Final = 'channels of its own'


class PeerChannels:
    """
    Owns the channels of a peer connection, and who gets what arrives on them.

    :param pc: The connection, new.
    """

    def __init__(self, pc: RTCPeerConnection) -> None:
        self._pc = pc
        self._publications: dict[str, Publication] = {}
        """By label; the newest one, as a label may be published anew."""
        self._ends: dict[int, tuple[ChannelEnd, Publication | None]] = {}
        """By stream id: what this peer receives, and from whom."""
        self._channels: dict[int, RTCDataChannel] = {}
        self._followers: dict[str, dict[int, ChannelEnd]] = {}
        """By label: the viewers' ends, which also get what is published anew."""
        self._followed: PeerChannels | None = None
        """Whom this peer watches."""
        self._guards: dict[str, FloodGuard] = {}
        """By label: opening a channel anew does not fill its buckets again."""
        self.has_answered = self.has_spoken = False
        """Whether anything has come on what is published here; and anything but pongs."""
        self._is_ready = False
        """Whether the peer has opened the ends on which it listens."""
        self._next_stream_id = FIRST_STREAM_ID
        self._own_channels = 0
        pc.on('datachannel', self._on_own_channel)

    def open(
        self,
        request: DataChannelRequest,
        publisher: PeerChannels | None,
        voice: Voice | None = None,
    ) -> int:
        """
        Open this peer's end of a channel and return its stream id.

        :param voice: This peer, if that is a person who speaks to a robot.
        :raises MediaSessionGone: The publisher does not publish the label, or no id is left.
        """
        publication = publisher.publication(request.label) if publisher is not None else None
        stream_id, channel = self._create_channel(
            request.label, ordered=request.ordered, max_retransmits=request.max_retransmits
        )
        if publication is None:
            self._publish(request.label, channel, voice)
        else:
            publication.add(self._receive(stream_id, channel, publication))
        return stream_id

    def _create_channel(
        self, label: str, *, ordered: bool, max_retransmits: int | None
    ) -> tuple[int, RTCDataChannel]:
        stream_id = self._fresh_stream_id()
        channel = self._pc.createDataChannel(
            label,
            ordered=ordered,
            maxRetransmits=max_retransmits,
            negotiated=True,
            id=stream_id,
        )
        self._channels[stream_id] = channel
        return stream_id, channel

    def _publish(self, label: str, channel: RTCDataChannel, voice: Voice | None = None) -> None:
        publication = Publication(channel, self._guard(label), voice)
        self._publications[label] = publication
        if voice is None:
            channel.on('message', self._on_published)
        for end in self._followers.get(label, {}).values():
            publication.add(end)

    def _on_published(self, message: bytes | str) -> None:
        """
        Note that a robot talks, and what shows that it listens.

        Older channels are closed before new ones are opened: it speaks of those that there are.
        """
        if not self._is_ready and shows_open_ends(message):
            self.set_ready()
        if not self.has_spoken:
            self.has_answered = True
            self.has_spoken = not _is_pong(message)

    def _receive(
        self, stream_id: int, channel: RTCDataChannel, publication: Publication | None
    ) -> ChannelEnd:
        end = ChannelEnd(channel, self._is_stopped)
        self._is_ready = False
        self._ends[stream_id] = (end, publication)
        return end

    def _is_stopped(self) -> bool:
        return any(end.holds_stop for end, _ in self._ends.values())

    def _stop_receiving(self, end: ChannelEnd, publication: Publication | None) -> None:
        if publication is not None:
            publication.remove(end)
        if self._followed is not None:
            self._followed.remove_follower(end)

    # --- viewers ------------------------------------------------------------------------------

    def open_for_viewers(self) -> dict[str, int]:
        """Open the ends of a robot that nobody drives: no channel for commands."""
        ids = {}
        for spec in CHANNELS:
            if spec.label == CMD_UNRELIABLE:
                continue
            stream_id, channel = self._create_channel(
                spec.label, ordered=spec.ordered, max_retransmits=spec.max_retransmits
            )
            ids[spec.label] = stream_id
            if spec.to_robot:
                self._receive(stream_id, channel, None)
            else:
                self._publish(spec.label, channel)
        return ids

    def watch_channels(self, robot: PeerChannels, voice: Voice | None) -> dict[str, int]:
        """
        Open this peer's ends as a viewer of a robot.

        :param voice: This peer; ``None``: it may not stop the robot.
        """
        self._followed = robot
        ids = {}
        for spec in CHANNELS:
            stream_id, channel = self._create_channel(
                spec.label, ordered=spec.ordered, max_retransmits=spec.max_retransmits
            )
            ids[spec.label] = stream_id
            if spec.to_robot:
                EstopTap(channel, self._guard(spec.label), voice, robot.deliver)
            else:
                robot.add_follower(spec.label, self._receive(stream_id, channel, None))
        return ids

    @property
    def only_watches(self) -> bool:
        """Whether this peer is a viewer."""
        return self._followed is not None

    def add_follower(self, label: str, end: ChannelEnd) -> None:
        """Send a viewer what this peer publishes under a label, now and later."""
        self._followers.setdefault(label, {})[id(end)] = end
        if label in self._publications:
            self._publications[label].add(end)

    def remove_follower(self, end: ChannelEnd) -> None:
        for followers in self._followers.values():
            followers.pop(id(end), None)
        for publication in self._publications.values():
            publication.remove(end)

    def deliver(self, label: str, message: str) -> None:
        """Send something to this peer's peer on the newest channel with a label, if any."""
        for end, _ in reversed(self._ends.values()):
            if end.channel.label == label:
                end.deliver(message)
                return

    def _guard(self, label: str) -> FloodGuard:
        return self._guards.setdefault(label, FloodGuard(time.monotonic()))

    def _on_own_channel(self, channel: RTCDataChannel) -> None:
        """Count what the peer opens by itself, and what it sends there: nobody listens to it."""
        self._own_channels += 1
        guard = self._guard(OWN_CHANNELS)
        channel.on('message', lambda message: guard.take(len(message), time.monotonic()))

    def publication(self, label: str) -> Publication:
        """
        Return what this peer publishes under a label.

        :raises MediaSessionGone: Nothing.
        """
        try:
            return self._publications[label]
        except KeyError:
            raise MediaSessionGone(f'nothing is published as {label}') from None

    def _fresh_stream_id(self) -> int:
        """Return an id that was not used before, or the oldest that is free again."""
        for _ in range(LAST_STREAM_ID):
            stream_id = self._next_stream_id
            self._next_stream_id += 1
            if self._next_stream_id > LAST_STREAM_ID:
                self._next_stream_id = FIRST_STREAM_ID
            if stream_id not in self._channels:
                return stream_id
        raise MediaSessionGone('no stream id is left on this connection')

    def close(self, stream_id: int) -> None:
        channel = self._channels.pop(stream_id, None)
        if channel is None:
            return
        if stream_id in self._ends:
            self._stop_receiving(*self._ends.pop(stream_id))
        channel.remove_all_listeners()
        channel.close()

    def set_ready(self) -> None:
        """Deliver what was held: the peer has opened its channels."""
        self._is_ready = True
        for end, _ in self._ends.values():
            end.set_ready()

    def counters(self) -> Counter[str]:
        """Return what the channels have carried and lost."""
        total: Counter[str] = Counter()
        for guard in self._guards.values():
            total += guard.counters
        for end, _ in self._ends.values():
            total += end.counters
        return total

    def unsubscribe_from(self, publisher: PeerChannels) -> None:
        """Close what came from a session that ends."""
        published = set(map(id, publisher._publications.values()))
        for stream_id, (_, publication) in list(self._ends.items()):
            if publication is not None and id(publication) in published:
                self.close(stream_id)
        if self._followed is publisher:
            self._followed = None

    def abuse(self) -> str | None:
        """Return what the peer does on its channels that no peer of good will does."""
        if self._own_channels > MAX_OWN_CHANNELS:
            return 'too_many_channels'
        return 'flood' if any(guard.is_flooded() for guard in self._guards.values()) else None

    def release(self) -> None:
        """Receive from nobody any more: the connection is about to be closed."""
        for end, publication in self._ends.values():
            self._stop_receiving(end, publication)


def _is_pong(message: bytes | str) -> bool:
    """Return whether a message is most likely an answer to a ping: nothing else is so short."""
    if len(message) > MAX_PONG_CHARS:
        return False
    return b'"pong"' in message if isinstance(message, bytes) else '"pong"' in message
