"""
What the broker and its media processes say to each other: one JSON object a line, both ways.

The broker sends calls: ``{"call": n, "method": ..., "arguments": {...}}``, without ``call`` what
wants no answer, and ``{"cancel": n}`` when nobody waits for a call any more. A media process sends
``{"call": n, "result": ...}`` or ``{"call": n, "error": kind, "text": ...}``; ``{"heard": {media
id: seconds}}`` four times a second, whose first one says that it is ready; ``{"connected": media
id}`` once a session; and ``{"stop": {...}}`` for each E-STOP that passes.
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
from collections.abc import Iterable, Mapping
from dataclasses import asdict
import json
import logging
from typing import Any, Final

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
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = [
    'MAX_LINE_BYTES',
    'as_codecs',
    'as_identity',
    'as_request',
    'as_session',
    'as_stop',
    'error_kind',
    'plain',
    'read_line',
    'refusal',
    'write_line',
]

MAX_LINE_BYTES: Final = 2**20
"""An SDP has 64 KiB at most; a report of 1,000 sessions has 60 KB."""

_log = logging.getLogger(__name__)

_KINDS: Final[dict[str, type[MediaError]]] = {
    kind.__name__: kind
    for kind in (
        *(MediaBug, MediaError, MediaFull, MediaSessionGone),
        *(NoCommonCodec, NoPublishedTrack, UnusableSdp),
    )
}


async def read_line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next object, or ``None`` when the other side is gone or talks nonsense."""
    try:
        return dict(json.loads(await reader.readuntil(b'\n')))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (asyncio.LimitOverrunError, ValueError, TypeError) as error:
        _log.error('event=media_link_broken error=%r', error)
        return None


def write_line(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    """Send one object; without effect when the other side is gone."""
    if not writer.is_closing():
        writer.write(json.dumps(message, default=plain).encode() + b'\n')


def plain(value: object) -> Any:
    """Return a value of the interface as JSON has it."""
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
    """Return the name of an error for the line; the nearest kind that the broker knows."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS)


def refusal(kind: str, text: str) -> MediaError:
    """Return the error that a line names."""
    return _KINDS[kind](text)
