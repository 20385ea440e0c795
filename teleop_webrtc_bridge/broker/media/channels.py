"""
Data channels: each message goes from the peer that publishes it to those that subscribe.

Belongs to the SFU in :mod:`~teleop_webrtc_bridge.broker.media.embedded`.
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

from collections import deque
from collections.abc import Callable
import json
import logging
import time
from typing import Any, Final, Self

from aiortc import RTCDataChannel, RTCPeerConnection

from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.broker.media.backend import (
    DataChannelRequest,
    MediaSessionGone,
    StopSeen,
)
from teleop_webrtc_bridge.core.codec import (
    begins_json,
    MAX_COMMAND_BYTES,
    MAX_MESSAGE_BYTES,
    parse_json_object,
)
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import CHANNELS, ChannelSpec, CMD_UNRELIABLE
from teleop_webrtc_bridge.core.rate_limit import FloodDetector, MessageBudget, RateLimit

__all__ = ['ChannelEnd', 'EstopSigner', 'EstopTap', 'FloodGuard', 'PeerChannels', 'StopText']

MESSAGE_LIMIT: Final = (200.0, 400.0)
"""Messages of one peer with one label, per second and in a burst. An operator drives at 50 to
80 Hz; a reliable channel delivers two seconds at once after the network was interrupted."""
BYTE_LIMIT: Final = (512.0 * 1024, 1024.0 * 1024)
"""The same for their bytes."""
MAX_HELD_MESSAGES: Final = 64
MAX_HELD_BYTES: Final = 128 * 1024
MAX_BUFFERED_BYTES: Final = 64 * 1024
"""Limit on ``bufferedAmount``, which grows without bound on a dead link; the excess is lost."""
MAX_UNRELIABLE_BYTES: Final = 1024
"""The same where late is worse than lost: a quarter of a second of commands."""
COPIES_S: Final = 2.0
"""Equal E-STOPs within this time are copies: one is repeated until it is acknowledged."""
STOPS_PER_MINUTE: Final = 60.0
"""Reported E-STOPs, and releases, of one peer: bounds the audit trail."""
STOPS_AT_ONCE: Final = 10
ESTOP: Final = 'estop'
ESTOP_CLEAR: Final = 'estop_clear'

PROOFS_OF_OPEN_ENDS: Final = ('lease', 'cmd_ack', 'pong')
"""Robots that open all ends in one step send the first; the others are answers."""

FIRST_STREAM_ID: Final = 2
"""0 is the robot's ``_sctp_init``, 1 a browser's throw-away channel."""
LAST_STREAM_ID: Final = 1022
"""Chromium refuses higher ones."""
MAX_PEER_OPENED: Final = 8
"""Each channel costs memory. A page opens one, on which it sends nothing."""
MAX_PONG_CHARS: Final = 200
PEER_OPENED: Final = '(opened by the peer)'

_logger = logging.getLogger(__name__)


class FloodGuard:
    """
    Limits how much one peer may send on its channels with one label.

    :param now_s: Monotonic seconds, as in all methods.
    """

    def __init__(self, now_s: float) -> None:
        self._budget = MessageBudget(MESSAGE_LIMIT, BYTE_LIMIT, now_s)
        self._flood = FloodDetector()

    def take(self, size: int, now_s: float) -> bool:
        """
        Count a message, and return whether it is within the limit.

        :param size: In bytes.
        """
        is_within = self._budget.take(size, now_s)
        if not is_within:
            self._flood.note_excess(now_s)
        return is_within

    def is_flooded(self) -> bool:
        """Return whether the peer exceeded the limit for 3 s without a pause."""
        return self._flood.is_flooded()


class StopText(str):
    """A signed E-STOP, or its release, as it is forwarded."""

    is_release: bool

    def __new__(cls, text: str, *, is_release: bool) -> Self:
        stop = super().__new__(cls, text)
        stop.is_release = is_release
        return stop


class EstopSigner:
    """
    Adds the sender's identity to each E-STOP and release that a person sends.

    :param media_id: The person's media session.
    :param on_stop: Called once for each E-STOP and release, not for its copies.
    """

    def __init__(self, media_id: str, by: Identity, on_stop: Callable[[StopSeen], None]) -> None:
        self._media_id = media_id
        self._by = by
        self._on_stop = on_stop
        self._last: tuple[object, object] | None = None
        self._seen_s = float('-inf')
        """When a copy of it last arrived."""
        self._reports = RateLimit(per_minute=STOPS_PER_MINUTE, burst=STOPS_AT_ONCE)
        self._left_out = 0

    def sign(self, message: bytes | str) -> bytes | str | None:
        """
        Return an operator's message in the form to forward; ``None``: it is dropped.

        Malformed JSON is dropped: another parser might find an unsigned E-STOP in it. The robot's
        would not, because it is the same as ours.
        """
        if not begins_json(message):
            return message
        fields = _fields(message, MAX_MESSAGE_BYTES)
        if fields is None or fields.get('type') not in (ESTOP, ESTOP_CLEAR):
            return None if fields is None else message
        return self._signed(fields, ('type', 'nonce', 'latch'))

    def estop(self, message: bytes | str) -> str | None:
        """
        Return a viewer's E-STOP in the form to forward; ``None``: the message is not an E-STOP.

        It is serialized anew, so that no other parser can read the same bytes differently.
        """
        fields = _fields(message, MAX_COMMAND_BYTES)
        if fields is None or fields.get('type') != ESTOP:
            return None
        return self._signed(fields, ('type', 'nonce'))

    def _signed(self, fields: dict[str, Any], names: tuple[str, ...]) -> StopText:
        self._report(fields)
        by = {'sub': self._by.sub, 'role': self._by.role.value, 'tenant': self._by.tenant}
        kept = {name: fields[name] for name in names if _is_plain(fields.get(name))}
        text = json.dumps({**kept, 'by': by}, ensure_ascii=False)
        return StopText(text, is_release=fields['type'] == ESTOP_CLEAR)

    def _report(self, fields: dict[str, Any]) -> None:
        """Report an E-STOP or release, unless it is a copy or there are too many."""
        now_s = time.monotonic()
        stop = (fields['type'], repr(fields.get('nonce')))
        is_copy = stop == self._last and now_s - self._seen_s < COPIES_S
        self._last, self._seen_s = stop, now_s
        if is_copy:
            return
        if self._reports.take(fields['type'], now_s) is not None:
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        self._on_stop(
            StopSeen(
                media_id=self._media_id,
                by=self._by,
                is_release=fields['type'] == ESTOP_CLEAR,
                left_out=left_out,
            )
        )


class ChannelEnd:
    """
    A subscription: the channel on which a peer receives what another one publishes.

    :param channel: A negotiated channel of the receiving peer.
    :param is_stopped: Whether an E-STOP waits for that peer: commands are then dropped.
    """

    def __init__(
        self, channel: RTCDataChannel, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self.channel = channel
        self._is_stopped = is_stopped
        self._reliable = channel.maxRetransmits is None
        self._ready = False
        self._held: deque[bytes | str] = deque()
        self._held_bytes = 0
        channel.on('open', self._flush)

    def set_ready(self) -> None:
        """Deliver the held messages: the peer has opened its end."""
        self._ready = True
        self._flush()

    def deliver(self, message: bytes | str) -> None:
        """
        Send a message; a reliable one is held until the peer is ready.

        Unreliable messages are never held: the peer drops those that arrive before its end is
        open, and a late command is useless. A robot that polls once a second reports a second late
        that it is ready, and must not stand still until then. A held E-STOP stops the commands,
        but not its own unreliable copies, which are JSON.

        A held E-STOP is also sent at once: the robot may have opened its end long ago, while the
        heartbeats that say so were lost. A release is sent only once: a late copy would release a
        newer stop.
        """
        if not self._reliable and not begins_json(message) and self._is_stopped():
            return
        if self.channel.readyState == 'open' and (self._ready or not self._reliable):
            self._send(message)
        elif self._reliable and self.channel.readyState in ('connecting', 'open'):
            is_stop = isinstance(message, StopText) and not message.is_release
            if is_stop and self.channel.readyState == 'open':
                self._send(message)
            self._hold(message)

    @property
    def holds_stop(self) -> bool:
        """Whether an E-STOP or its release waits for the peer."""
        return any(isinstance(it, StopText) for it in self._held)

    def _hold(self, message: bytes | str) -> None:
        """Keep a message. If there are too many, drop the oldest; E-STOPs are dropped last."""
        self._held.append(message)
        self._held_bytes += len(message)
        while len(self._held) > MAX_HELD_MESSAGES or self._held_bytes > MAX_HELD_BYTES:
            others = (it for it, held in enumerate(self._held) if not isinstance(held, StopText))
            index = next(others, 0)
            self._held_bytes -= len(self._held[index])
            del self._held[index]

    def _flush(self) -> None:
        while self._ready and self._held and self.channel.readyState == 'open':
            message = self._held.popleft()
            self._held_bytes -= len(message)
            self._send(message)

    def _send(self, message: bytes | str) -> None:
        limit = MAX_BUFFERED_BYTES if self._reliable else MAX_UNRELIABLE_BYTES
        if isinstance(message, StopText):
            limit *= 2  # this half is reserved for E-STOPs
        if self.channel.bufferedAmount <= limit:
            self.channel.send(message)


class Publication:
    """
    A channel that a peer publishes, and its subscribers.

    :param channel: The negotiated channel on which the publisher sends.
    :param guard: Limits the publisher's channels with this label.
    :param signer: Signs the E-STOPs of a person who publishes to a robot.
    """

    def __init__(
        self, channel: RTCDataChannel, guard: FloodGuard, signer: EstopSigner | None = None
    ) -> None:
        self.channel = channel
        self._guard = guard
        self._signer = signer
        self._may_be_lost = channel.maxRetransmits is not None
        self.subscribers: dict[int, ChannelEnd] = {}
        """By ``id()`` of the subscriber's channel."""
        channel.on('message', self._on_message)

    def add(self, end: ChannelEnd) -> None:
        self.subscribers[id(end.channel)] = end

    def remove(self, end: ChannelEnd) -> None:
        self.subscribers.pop(id(end.channel), None)

    def _on_message(self, message: bytes | str) -> None:
        is_within_limit = self._guard.take(len(message), time.monotonic())
        if len(message) > MAX_MESSAGE_BYTES:
            return
        if not is_within_limit and self._may_be_lost:
            # A reliable message is never dropped here: it may be an E-STOP. A peer that keeps
            # flooding is disconnected; until then the subscriber's send buffer is the limit.
            return
        signed = message if self._signer is None else self._signer.sign(message)
        if signed is None:
            return
        for end in list(self.subscribers.values()):
            try:
                end.deliver(signed)
            except Exception:
                # An exception in this handler would close the publisher's connection.
                _logger.exception('event=forward_failed label=%s', self.channel.label)
                self.remove(end)


class EstopTap:
    """
    Forwards a viewer's E-STOPs to the robot, and nothing else that the viewer sends.

    :param channel: The negotiated channel on which the viewer sends.
    :param guard: Limits the viewer's channels with this label.
    :param signer: Signs the E-STOPs; ``None``: they are not forwarded either.
    :param forward: Called with the label and the signed E-STOP.
    """

    def __init__(
        self,
        channel: RTCDataChannel,
        guard: FloodGuard,
        signer: EstopSigner | None,
        forward: Callable[[str, str], None],
    ) -> None:
        self._label = channel.label
        self._guard = guard
        self._signer = signer
        self._forward = forward
        channel.on('message', self._on_message)

    def _on_message(self, message: bytes | str) -> None:
        if not self._guard.take(len(message), time.monotonic()):
            return
        estop = self._signer.estop(message) if self._signer is not None else None
        if estop is None:
            return
        try:
            self._forward(self._label, estop)
        except Exception:
            # An exception in this handler would close the viewer's connection.
            _logger.exception('event=estop_forward_failed label=%s', self._label)


class PeerChannels:
    """
    The data channels of one peer connection, and their subscribers.

    :param pc: A new connection.
    """

    def __init__(self, pc: RTCPeerConnection) -> None:
        self._pc = pc
        self._publications: dict[str, Publication] = {}
        """By label; the newest one, because a label may be published again."""
        self._ends: dict[int, tuple[ChannelEnd, Publication | None]] = {}
        """By stream id: the subscriptions of this peer."""
        self._channels: dict[int, RTCDataChannel] = {}
        self._viewer_ends: dict[str, dict[int, ChannelEnd]] = {}
        """By label: the ends of viewers, which also subscribe to later publications."""
        self._watched: PeerChannels | None = None
        """The robot that this peer watches."""
        self._guards: dict[str, FloodGuard] = {}
        """By label: opening a channel again does not refill its buckets."""
        self.has_answered = self.has_spoken = False
        """Whether a robot has sent anything, and anything but pongs."""
        self._is_ready = False
        """Whether the peer has opened the ends on which it receives."""
        self._next_stream_id = FIRST_STREAM_ID
        self._peer_opened = 0
        pc.on('datachannel', self._on_peer_opened)

    def open(
        self,
        request: DataChannelRequest,
        publisher: PeerChannels | None,
        signer: EstopSigner | None = None,
    ) -> int:
        """
        Open this peer's end of a channel and return its stream id.

        :param signer: Signs the E-STOPs of a person who publishes to a robot.
        :raises MediaSessionGone: The publisher does not publish the label, or no id is left.
        """
        publication = publisher.publication(request.label) if publisher is not None else None
        stream_id, channel = self._create_channel(request)
        if publication is None:
            self._publish(request.label, channel, signer)
        else:
            publication.add(self._receive(stream_id, channel, publication))
        return stream_id

    def _create_channel(
        self, wanted: DataChannelRequest | ChannelSpec
    ) -> tuple[int, RTCDataChannel]:
        stream_id = self._fresh_stream_id()
        channel = self._pc.createDataChannel(
            wanted.label,
            ordered=wanted.ordered,
            maxRetransmits=wanted.max_retransmits,
            negotiated=True,
            id=stream_id,
        )
        self._channels[stream_id] = channel
        return stream_id, channel

    def _publish(
        self, label: str, channel: RTCDataChannel, signer: EstopSigner | None = None
    ) -> None:
        publication = Publication(channel, self._guard(label), signer)
        self._publications[label] = publication
        if signer is None:
            channel.on('message', self._on_published)
        for end in self._viewer_ends.get(label, {}).values():
            publication.add(end)

    def _on_published(self, message: bytes | str) -> None:
        """
        Note that a robot sends, and whether that proves that it receives.

        Old channels are closed before new ones are opened, so a proof is about the current ones.
        """
        if not self._is_ready and _proves_open_ends(message):
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
        if self._watched is not None:
            self._watched.remove_viewer_end(end)

    # --- viewers ------------------------------------------------------------------------------

    def open_for_viewers(self) -> dict[str, int]:
        """Open a robot's ends while nobody drives it: all channels but the one for commands."""
        ids = {}
        for spec in CHANNELS:
            if spec.label == CMD_UNRELIABLE:
                continue
            stream_id, channel = self._create_channel(spec)
            ids[spec.label] = stream_id
            if spec.to_robot:
                self._receive(stream_id, channel, None)
            else:
                self._publish(spec.label, channel)
        return ids

    def watch_channels(self, robot: PeerChannels, signer: EstopSigner | None) -> dict[str, int]:
        """
        Open this peer's ends as a viewer of a robot.

        :param signer: Signs the viewer's E-STOPs; ``None``: they may not stop the robot.
        """
        self._watched = robot
        ids = {}
        for spec in CHANNELS:
            stream_id, channel = self._create_channel(spec)
            ids[spec.label] = stream_id
            if spec.to_robot:
                EstopTap(channel, self._guard(spec.label), signer, robot.deliver)
            else:
                robot.add_viewer_end(spec.label, self._receive(stream_id, channel, None))
        return ids

    @property
    def only_watches(self) -> bool:
        """Whether this peer is a viewer."""
        return self._watched is not None

    def add_viewer_end(self, label: str, end: ChannelEnd) -> None:
        """Subscribe a viewer to a label of this peer, also when it is published again."""
        self._viewer_ends.setdefault(label, {})[id(end)] = end
        if label in self._publications:
            self._publications[label].add(end)

    def remove_viewer_end(self, end: ChannelEnd) -> None:
        for ends in self._viewer_ends.values():
            ends.pop(id(end), None)
        for publication in self._publications.values():
            publication.remove(end)

    def deliver(self, label: str, message: str) -> None:
        """Send a message to this peer on its newest channel with a label, if there is one."""
        for end, _ in reversed(self._ends.values()):
            if end.channel.label == label:
                end.deliver(message)
                return

    def _guard(self, label: str) -> FloodGuard:
        return self._guards.setdefault(label, FloodGuard(time.monotonic()))

    def _on_peer_opened(self, channel: RTCDataChannel) -> None:
        """Count a channel that the peer opens by itself; its messages are ignored."""
        self._peer_opened += 1
        guard = self._guard(PEER_OPENED)
        channel.on('message', lambda message: guard.take(len(message), time.monotonic()))

    def publication(self, label: str) -> Publication:
        """
        Return this peer's publication with a label.

        :raises MediaSessionGone: There is none.
        """
        try:
            return self._publications[label]
        except KeyError:
            raise MediaSessionGone(f'nothing is published as {label}') from None

    def _fresh_stream_id(self) -> int:
        """Return an unused id, or the free one that was used longest ago."""
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
        """Deliver the held messages: the peer has opened its channels."""
        self._is_ready = True
        for end, _ in self._ends.values():
            end.set_ready()

    def unsubscribe_from(self, publisher: PeerChannels) -> None:
        """Close the channels from a publisher whose session ends."""
        published = set(map(id, publisher._publications.values()))
        for stream_id, (_, publication) in list(self._ends.items()):
            if publication is not None and id(publication) in published:
                self.close(stream_id)
        if self._watched is publisher:
            self._watched = None

    def abuse(self) -> str | None:
        """Return how the peer abuses its channels; ``None``: it does not."""
        if self._peer_opened > MAX_PEER_OPENED:
            return 'too_many_channels'
        return 'flood' if any(guard.is_flooded() for guard in self._guards.values()) else None

    def release(self) -> None:
        """Unsubscribe from all publishers: the connection is about to be closed."""
        for end, publication in self._ends.values():
            self._stop_receiving(end, publication)


def _proves_open_ends(message: bytes | str) -> bool:
    """
    Return whether a robot's message proves that it has opened its reliable receiving end.

    Other messages do not prove it: a robot opens its sending ends first.
    """
    fields = _fields(message, MAX_COMMAND_BYTES)
    return fields is not None and fields.get('type') in PROOFS_OF_OPEN_ENDS


def _is_plain(value: object) -> bool:
    """Return whether the value of a field is forwarded: a string or an integer."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def _fields(message: bytes | str, max_bytes: int) -> dict[str, Any] | None:
    """
    Return a message as a JSON object; ``None``: it is not one.

    The robot uses the same parser, so both agree on which messages are E-STOPs.
    """
    if not begins_json(message):
        return None
    try:
        return parse_json_object(message, max_bytes=max_bytes)
    except ProtocolError:
        return None


def _is_pong(message: bytes | str) -> bool:
    """Return whether a message is most likely a pong: nothing else is so short."""
    if len(message) > MAX_PONG_CHARS:
        return False
    return b'"pong"' in message if isinstance(message, bytes) else '"pong"' in message
