"""
The interface of a media backend.

Its operations are those of the Cloudflare Realtime API (sessions/new, tracks/new, renegotiate,
datachannels/new, datachannels/close), so that our own SFU and a hosted one are interchangeable.
Our own (:mod:`~teleop_webrtc_bridge.broker.media.embedded`) runs in separate processes, which
:mod:`~teleop_webrtc_bridge.broker.media.processes` starts and calls.
A *media session* is one peer connection with a robot, an operator or a viewer.
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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.core.exceptions import TeleopError
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = [
    'Arrived',
    'CountsArrivals',
    'DataChannelRequest',
    'Media',
    'MediaBug',
    'MediaError',
    'MediaFull',
    'MediaSession',
    'MediaSessionGone',
    'NoCommonCodec',
    'NoPublishedTrack',
    'StopSeen',
    'UnusableSdp',
]


class MediaError(TeleopError):
    """The media backend could not carry out a request."""


class UnusableSdp(MediaError):
    """A peer's SDP is malformed or does not fit the session."""


class MediaSessionGone(MediaError):
    """The media session was closed, failed, or never existed."""


class MediaFull(MediaError):
    """No UDP port is free for another peer connection; the text names the range."""


class MediaBug(MediaError):
    """The backend has a bug; its traceback is in the log."""


class NoPublishedTrack(MediaError):
    """There is no video to pull: the robot offered none, or no packet has arrived yet."""


class NoCommonCodec(MediaError):
    """The receiver supports no codec that the robot may send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSession:
    """The answer to a new session."""

    media_id: str
    sdp_answer: str
    video_codecs: tuple[VideoCodec, ...] | None = None
    """The codecs that a robot may send, in order of preference, or that a receiver supports;
    ``None``: not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannelRequest:
    """
    One end of a named one-way channel.

    Without ``publisher``, the requesting session publishes under ``label``. With it, the session
    subscribes to what the other one publishes.
    """

    label: str
    ordered: bool
    max_retransmits: int | None
    publisher: str | None = None
    """The publishing media session's id."""
    by: Identity | None = None
    """The person who publishes to a robot; each E-STOP names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSeen:
    """An E-STOP, or the release of one, that a person sent to a robot."""

    media_id: str
    """The person's media session."""
    by: Identity
    is_release: bool
    left_out: int = 0
    """How many earlier ones were not reported, because there were too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The kinds of traffic that a robot has sent since it connected."""

    video: bool = False
    answers: bool = False
    """Anything on its channels to operators and viewers."""
    messages: bool = False
    """The same except pongs, which some robots send before anything else."""


@runtime_checkable
class CountsArrivals(Protocol):
    """An optional ability of a media backend, which a hosted one lacks."""

    def arrived(self, media_id: str) -> Arrived | None:
        """Return what a robot has sent; ``None``: there is no such robot session."""


class Media(Protocol):
    """A media backend; every method may raise :class:`MediaError`."""

    async def run(self, on_stop: Callable[[StopSeen], None]) -> None:
        """
        Run the backend; ends only by cancellation.

        :param on_stop: Called once for each E-STOP and release that passes, not for its copies.
        """

    async def new_session(
        self,
        sdp_offer: str,
        *,
        beside: str | None = None,
        video_codecs: Sequence[VideoCodec] = (),
    ) -> MediaSession:
        """
        Answer a peer's offer with a new peer connection.

        :param beside: For an operator or viewer: the media session of their robot.
        :param video_codecs: For a robot: the codecs between which it can switch while it sends.
        :raises UnusableSdp: The offer cannot be used.
        :raises MediaSessionGone: The robot's session is gone.
        """

    async def close_session(self, media_id: str) -> None:
        """Close a peer connection with its tracks and channels; unknown ids are ignored."""

    async def pull_video(self, media_id: str, *, publisher: str) -> str:
        """
        Let a session receive the video that another one publishes.

        :returns: The SDP offer, which the receiving peer answers through :meth:`renegotiate`.
        :raises NoPublishedTrack: There is nothing to pull.
        :raises MediaSessionGone: Either session is gone.
        """

    async def renegotiate(self, media_id: str, sdp_answer: str) -> tuple[VideoCodec, ...] | None:
        """
        Apply the answer to the offer that :meth:`pull_video` returned.

        :returns: The codecs that the receiver supports; ``None``: not known.
        :raises UnusableSdp: The answer cannot be used.
        :raises MediaSessionGone: The session is gone.
        """

    async def new_data_channels(
        self, media_id: str, requests: Sequence[DataChannelRequest]
    ) -> dict[str, int]:
        """
        Open one end of each requested channel.

        :returns: Label → SCTP stream id on this session's peer connection; fresh, never 0 or 1.
        :raises MediaSessionGone: The session or a publisher is gone.
        """

    async def open_for_viewers(self, media_id: str) -> dict[str, int]:
        """
        Open a robot's ends while nobody drives it: all channels but the one for commands.

        :returns: Label → stream id, as for :meth:`new_data_channels`.
        :raises MediaSessionGone: The session is gone.
        """

    async def watch_channels(
        self, media_id: str, *, publisher: str, by: Identity, may_stop: bool
    ) -> dict[str, int]:
        """
        Open a viewer's ends of all four channels.

        The viewer receives what the robot sends, also on channels that it opens later. Of what
        the viewer sends, only E-STOPs reach the robot.

        :param publisher: The robot's media session.
        :param by: The viewer; each E-STOP names them.
        :param may_stop: Whether the viewer's E-STOPs reach the robot.
        :returns: Label → stream id on the viewer's connection, as for :meth:`new_data_channels`.
        :raises MediaSessionGone: Either session is gone.
        """

    async def close_data_channels(self, media_id: str, stream_ids: Sequence[int]) -> None:
        """Close channel ends; unknown sessions and ids are ignored."""

    def subscriber_ready(self, media_id: str) -> None:
        """
        Note that the session's peer has opened the channels to which it subscribes.

        Messages on reliable channels are held until then, because data that arrives on a stream
        before its channel exists is lost (docs/protocol.md §5).
        """

    async def connected(self, media_id: str) -> None:
        """
        Wait until a session's peer connection is connected.

        A browser may consider itself connected a moment earlier than the backend does.

        :raises MediaSessionGone: The session is gone.
        """

    def last_heard_s(self, media_id: str) -> float | None:
        """
        Return when the last authenticated packet (RTP, RTCP, SCTP) from a peer arrived.

        :returns: Seconds of ``time.monotonic``, at most half a second out of date; before the
            first packet, the time of creation; ``None``: the session is gone.
        """

    async def close(self) -> None:
        """Close every session."""
