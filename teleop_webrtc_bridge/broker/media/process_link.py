"""
The link between the broker and its media processes: one JSON object per line, both ways.

The broker sends calls, ``{"call": n, "method": ..., "arguments": {...}}``, without ``call`` if no
result is needed; and ``{"cancel": n}`` when a result is no longer needed. A media process
sends ``{"call": n, "result": ...}`` or ``{"call": n, "error": kind, "text": ...}``; ``{"heard":
{media id: seconds}}`` four times a second, for the first time when it is ready; ``{"connected":
media id}`` once per session; and ``{"stop": {...}}`` for each E-STOP that passes.
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

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
import json
import logging
from typing import Any, Final, Self

from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.media.backend import (
    Arrived,
    DataChannelRequest,
    MediaBug,
    MediaError,
    MediaFull,
    MediaSession,
    MediaSessionGone,
    NoCommonCodec,
    NoPublishedTrack,
    StopSeen,
    UnusableSdp,
)
from teleop_webrtc_bridge.core.ice import stun_servers_of
from teleop_webrtc_bridge.core.messages import IceServer, VideoCodec

__all__ = [
    'MAX_LINE_BYTES',
    'NetworkSettings',
    'as_codecs',
    'as_identity',
    'as_request',
    'as_session',
    'as_stop',
    'error_kind',
    'read_line',
    'refusal',
    'write_line',
]

MAX_LINE_BYTES: Final = 2**20
"""An SDP has at most 64 KiB, a report of 1,000 sessions 60 KB."""

_log = logging.getLogger(__name__)

_KINDS: Final[dict[str, type[MediaError]]] = {
    kind.__name__: kind
    for kind in (
        *(MediaBug, MediaError, MediaFull, MediaSessionGone),
        *(NoCommonCodec, NoPublishedTrack, UnusableSdp),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The network between media processes and peers, as a media process needs it."""

    public_addresses: tuple[str, ...] = ()
    """Addresses of a NAT that maps each port to the same port of this machine."""
    udp_ports: tuple[int, int] | None = None
    """First and last port; ``None``: any."""
    stun_urls: tuple[str, ...] = ()
    """Servers that report this machine's public address, if none is configured."""

    @classmethod
    def of(
        cls,
        public_addresses: tuple[str, ...],
        udp_ports: tuple[int, int] | None,
        ice_servers: Sequence[IceServer],
    ) -> Self:
        """Derive the settings from the broker's configuration, without secrets."""
        stun = () if public_addresses else tuple(u for s in ice_servers for u in s.urls)
        usable = (url for url in stun if stun_servers_of([IceServer(urls=(url,))]))
        return cls(public_addresses=public_addresses, udp_ports=udp_ports, stun_urls=tuple(usable))

    def as_argument(self) -> str:
        """Return the settings as one command line argument."""
        return json.dumps([self.public_addresses, self.udp_ports, self.stun_urls])

    @classmethod
    def from_argument(cls, text: str) -> Self:
        addresses, ports, urls = json.loads(text)
        return cls(
            public_addresses=tuple(addresses),
            udp_ports=None if ports is None else (ports[0], ports[1]),
            stun_urls=tuple(urls),
        )


async def read_line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next object; ``None``: the other side is gone or has sent nonsense."""
    try:
        return dict(json.loads(await reader.readuntil(b'\n')))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (asyncio.LimitOverrunError, ValueError, TypeError) as error:
        _log.error('event=media_link_broken error=%r', error)
        return None


def write_line(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    """Send an object; has no effect if the other side is gone."""
    if not writer.is_closing():
        writer.write(json.dumps(message, default=_plain).encode() + b'\n')


def _plain(value: object) -> Any:
    """Return a value of the interface in a form that JSON can represent."""
    if isinstance(value, Role | VideoCodec):
        return value.value
    if isinstance(value, Arrived | DataChannelRequest | Identity | MediaSession | StopSeen):
        return asdict(value)
    raise TypeError(f'{type(value).__name__} is not sent')


def as_codecs(names: Iterable[str] | None) -> tuple[VideoCodec, ...] | None:
    return None if names is None else tuple(map(VideoCodec, names))


def as_session(fields: Mapping[str, Any]) -> MediaSession:
    return MediaSession(**{**fields, 'video_codecs': as_codecs(fields['video_codecs'])})


def as_identity(fields: Mapping[str, Any]) -> Identity:
    return Identity(tenant=fields['tenant'], sub=fields['sub'], role=Role(fields['role']))


def as_request(fields: Mapping[str, Any]) -> DataChannelRequest:
    by = fields['by']
    return DataChannelRequest(**{**fields, 'by': None if by is None else as_identity(by)})


def as_stop(fields: Mapping[str, Any]) -> StopSeen:
    return StopSeen(**{**fields, 'by': as_identity(fields['by'])})


def error_kind(error: MediaError) -> str:
    """Return the name of the most specific kind of an error that the broker knows."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS)


def refusal(kind: str, text: str) -> MediaError:
    """Return the error of a kind."""
    return _KINDS[kind](text)
