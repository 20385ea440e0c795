"""Data channel messages, forwarded from the end that publishes to the ends that subscribe."""

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

from collections import Counter, deque
from collections.abc import Callable
import json
import logging
import time
from typing import Any, Final, Self

from aiortc import RTCDataChannel

from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.broker.media.backend import StopSeen
from teleop_webrtc_bridge.broker.media.flood_guard import FloodGuard, Flow
from teleop_webrtc_bridge.core.codec import (
    begins_json,
    MAX_COMMAND_BYTES,
    MAX_MESSAGE_BYTES,
    parse_json_object,
)
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.rate_limit import RateLimit

__all__ = ['ChannelEnd', 'EstopTap', 'Publication', 'StopText', 'Voice', 'shows_open_ends']

MAX_HELD_MESSAGES: Final = 64
MAX_HELD_BYTES: Final = 128 * 1024
MAX_BUFFERED_BYTES: Final = 64 * 1024
"""``bufferedAmount`` grows without bound on a dead link; what does not fit below this is lost."""
MAX_UNRELIABLE_BYTES: Final = 1024
"""The same where being late is worse than being lost: a quarter of a second of commands."""
COPIES_S: Final = 2.0
"""An E-STOP is repeated ten times a second until it is acknowledged."""
STOPS_PER_MINUTE: Final = 60.0
"""Of each kind that one peer sends: the audit trail is bounded."""
STOPS_AT_ONCE: Final = 10
ESTOP: Final = 'estop'
ESTOP_CLEAR: Final = 'estop_clear'

SHOWING_OPEN_ENDS: Final = ('lease', 'cmd_ack', 'pong')
"""The first one is of robots that open all ends in one step; the others are answers."""

_logger = logging.getLogger(__name__)


class StopText(str):
    """What is forwarded of an E-STOP, or of its release."""

    is_release: bool

    def __new__(cls, text: str, *, is_release: bool) -> Self:
        stop = super().__new__(cls, text)
        stop.is_release = is_release
        return stop


class ChannelEnd:
    """
    The end at which a media session receives what another one publishes.

    :param channel: A negotiated channel of this session.
    :param is_stopped: Whether an E-STOP is on its way to the session: commands are dropped then.
    """

    def __init__(
        self, channel: RTCDataChannel, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self.channel = channel
        self._is_stopped = is_stopped
        self.counters: Counter[str] = Counter()
        self._reliable = channel.maxRetransmits is None
        self._ready = False
        self._held: deque[bytes | str] = deque()
        self._held_bytes = 0
        channel.on('open', self._flush)

    def set_ready(self) -> None:
        """Deliver what was held: the peer has opened its end."""
        self._ready = True
        self._flush()

    def deliver(self, message: bytes | str) -> None:
        """
        Send a message, its type kept; reliable ones are held until the peer is ready.

        An unreliable one is never held: the peer drops what comes before its end is open, and a
        command that has waited is of no use. A robot that asks once a second says a second late
        that it is ready, and must not stand still for so long. An E-STOP that is held meanwhile
        holds up the commands, though not its own copies, which are JSON.

        What is held of an E-STOP is a second copy: the first one is sent at once. The robot may
        have opened its end long ago, and its heartbeats, which say so, may be lost. A release is
        sent once: a copy that comes late would release whatever stops the robot by then.
        """
        if not self._reliable and not begins_json(message) and self._is_stopped():
            self.counters['stopped'] += 1
        elif self.channel.readyState == 'open' and (self._ready or not self._reliable):
            self._send(message)
        elif self._reliable and self.channel.readyState in ('connecting', 'open'):
            is_stop = isinstance(message, StopText) and not message.is_release
            if is_stop and self.channel.readyState == 'open':
                self._send(message)
            self._hold(message)

    @property
    def holds_stop(self) -> bool:
        """Whether an E-STOP, or its release, waits for the peer to be ready."""
        return any(isinstance(it, StopText) for it in self._held)

    def _hold(self, message: bytes | str) -> None:
        """Keep a message; the oldest one is lost if they are too many, E-STOPs last of all."""
        self._held.append(message)
        self._held_bytes += len(message)
        while len(self._held) > MAX_HELD_MESSAGES or self._held_bytes > MAX_HELD_BYTES:
            others = (it for it, held in enumerate(self._held) if not isinstance(held, StopText))
            index = next(others, 0)
            self._held_bytes -= len(self._held[index])
            del self._held[index]
            self.counters['lost'] += 1

    def _flush(self) -> None:
        while self._ready and self._held and self.channel.readyState == 'open':
            message = self._held.popleft()
            self._held_bytes -= len(message)
            self._send(message)

    def _send(self, message: bytes | str) -> None:
        limit = MAX_BUFFERED_BYTES if self._reliable else MAX_UNRELIABLE_BYTES
        if isinstance(message, StopText):
            limit *= 2  # nothing else can take that half
        if self.channel.bufferedAmount > limit:
            self.counters['lost'] += 1
            return
        self.channel.send(message)
        self.counters['sent'] += 1


class Voice:
    """
    Who speaks on the channels to a robot: signs each E-STOP and release that they send.

    :param media_id: Their media session.
    :param on_stop: Told of each E-STOP and release; repetitions of one count once.
    """

    def __init__(self, media_id: str, by: Identity, on_stop: Callable[[StopSeen], None]) -> None:
        self._media_id = media_id
        self._by = by
        self._on_stop = on_stop
        self._last: tuple[object, object] | None = None
        self._seen_s = float('-inf')
        """When a copy of it was last seen."""
        self._telling = RateLimit(per_minute=STOPS_PER_MINUTE, burst=STOPS_AT_ONCE)
        self._left_out = 0

    def sign(self, message: bytes | str) -> bytes | str | None:
        """
        Return an operator's message as it is forwarded: signed, if it stops or releases.

        What begins like JSON and is none is not forwarded: some other parser might find an E-STOP
        in it that nobody has signed. The robot's would not, it is the same.
        """
        if not begins_json(message):
            return message
        fields = _fields(message, MAX_MESSAGE_BYTES)
        if fields is None or fields.get('type') not in (ESTOP, ESTOP_CLEAR):
            return None if fields is None else message
        return self._signed(fields, ('type', 'nonce', 'latch'))

    def estop(self, message: bytes | str) -> str | None:
        """
        Return what is forwarded of a viewer's message: an E-STOP, or ``None``.

        It is written anew, so that no second parser can take the same bytes for something else.
        """
        fields = _fields(message, MAX_COMMAND_BYTES)
        if fields is None or fields.get('type') != ESTOP:
            return None
        return self._signed(fields, ('type', 'nonce'))

    def _signed(self, fields: dict[str, Any], names: tuple[str, ...]) -> StopText:
        self._tell(fields)
        by = {'sub': self._by.sub, 'role': self._by.role.value, 'tenant': self._by.tenant}
        kept = {name: fields[name] for name in names if _is_plain(fields.get(name))}
        text = json.dumps({**kept, 'by': by}, ensure_ascii=False)
        return StopText(text, is_release=fields['type'] == ESTOP_CLEAR)

    def _tell(self, fields: dict[str, Any]) -> None:
        """Tell of an E-STOP or release once, not of its copies; of very many, only of some."""
        now_s = time.monotonic()
        stop = (fields['type'], repr(fields.get('nonce')))
        is_copy = stop == self._last and now_s - self._seen_s < COPIES_S
        self._last, self._seen_s = stop, now_s
        if is_copy:
            return
        if self._telling.take(fields['type'], now_s) is not None:
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


class Publication:
    """
    A label that a media session publishes, and who subscribes to it.

    :param channel: The negotiated channel on which the publisher sends.
    :param guard: Of the publisher's channels with this label.
    :param voice: The publisher, if that is a person who speaks to a robot.
    """

    def __init__(
        self, channel: RTCDataChannel, guard: FloodGuard, voice: Voice | None = None
    ) -> None:
        self.channel = channel
        self._guard = guard
        self._voice = voice
        self._may_be_lost = channel.maxRetransmits is not None
        self.subscribers: dict[int, ChannelEnd] = {}
        """By the identity of the subscriber's channel."""
        channel.on('message', self._on_message)

    def add(self, end: ChannelEnd) -> None:
        self.subscribers[id(end.channel)] = end

    def remove(self, end: ChannelEnd) -> None:
        self.subscribers.pop(id(end.channel), None)

    def _on_message(self, message: bytes | str) -> None:
        flow = self._guard.take(len(message), time.monotonic())
        if len(message) > MAX_MESSAGE_BYTES:
            self._guard.counters['oversized'] += 1
            return
        if flow is Flow.EXCESS and self._may_be_lost:
            # Never a reliable one, it may be an E-STOP: whoever goes on flooding is disconnected,
            # and until then the subscriber's send buffer is the bound.
            return
        signed = message if self._voice is None else self._voice.sign(message)
        if signed is None:
            self._guard.counters['malformed'] += 1
            return
        for end in list(self.subscribers.values()):
            try:
                end.deliver(signed)
            except Exception:
                # An exception that leaves this handler would close the publisher's connection.
                _logger.exception('event=forward_failed label=%s', self.channel.label)
                self.remove(end)


class EstopTap:
    """
    What a viewer says to the robot: of all that they send, the E-STOP alone is passed on.

    :param channel: The negotiated channel on which the viewer sends.
    :param guard: Of the viewer's channels with this label.
    :param voice: The viewer; ``None``: nothing of them is passed on.
    :param forward: Gets the E-STOP, written anew.
    """

    def __init__(
        self,
        channel: RTCDataChannel,
        guard: FloodGuard,
        voice: Voice | None,
        forward: Callable[[str, str], None],
    ) -> None:
        self._label = channel.label
        self._guard = guard
        self._voice = voice
        self._forward = forward
        channel.on('message', self._on_message)

    def _on_message(self, message: bytes | str) -> None:
        if self._guard.take(len(message), time.monotonic()) is Flow.EXCESS:
            return
        estop = self._voice.estop(message) if self._voice is not None else None
        if estop is None:
            self._guard.counters['not_allowed'] += 1
            return
        try:
            self._forward(self._label, estop)
        except Exception:
            # An exception that leaves this handler would close the viewer's connection.
            _logger.exception('event=estop_forward_failed label=%s', self._label)


def shows_open_ends(message: bytes | str) -> bool:
    """
    Return whether a robot that says this has opened its end for what must arrive.

    Not anything that it says shows it: it opens the ends on which it speaks first.
    """
    fields = _fields(message, MAX_COMMAND_BYTES)
    return fields is not None and fields.get('type') in SHOWING_OPEN_ENDS


def _is_plain(value: object) -> bool:
    """Return whether a field is one that is passed on: a name or a number."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def _fields(message: bytes | str, max_bytes: int) -> dict[str, Any] | None:
    """
    Return the JSON object that a message is, or ``None``.

    The robot uses the same parser, so that what is no E-STOP here is none there.
    """
    if not begins_json(message):
        return None
    try:
        return parse_json_object(message, max_bytes=max_bytes)
    except ProtocolError:
        return None
