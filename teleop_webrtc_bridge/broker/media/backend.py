"""
What the broker asks of whatever carries its media.

The operations are those of the Cloudflare Realtime API (sessions/new, tracks/new, renegotiate,
datachannels/new, datachannels/close), so that our own SFU and a hosted one are interchangeable.
Ours (:mod:`~teleop_webrtc_bridge.broker.media.embedded`) runs in processes of its own, which
:mod:`~teleop_webrtc_bridge.broker.media.processes` starts and asks.
A *media session* is one peer connection with one robot or one operator.
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
    """The media backend could not do what it was asked."""


class UnusableSdp(MediaError):
    """An SDP from outside is malformed or does not fit the session: the caller's fault."""


class MediaSessionGone(MediaError):
    """The media session was closed, failed, or never existed."""


class MediaFull(MediaError):
    """There is no UDP port for another peer connection; the text says of which."""


class MediaBug(MediaError):
    """The backend met an error of ours; its traceback is in the log."""


class NoPublishedTrack(MediaError):
    """The robot's video cannot be pulled: its offer had none, or no packet of it arrived yet."""


class NoCommonCodec(MediaError):
    """The receiver takes none of the codecs that the robot may send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSession:
    """The answer to a new session."""

    media_id: str
    sdp_answer: str
    video_codecs: tuple[VideoCodec, ...] | None = None
    """A robot's: those it may send, the favourite first. A receiver's: those it takes; ``None``:
    that is not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannelRequest:
    """
    One end of a named one-way channel.

    Without ``publisher`` the media session that asks publishes under ``label``; with it, the
    session subscribes to what that other session publishes.
    """

    label: str
    ordered: bool
    max_retransmits: int | None
    publisher: str | None = None
    """The publishing media session's id."""
    by: Identity | None = None
    """Who publishes to a robot: the robot is told with each E-STOP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSeen:
    """An E-STOP, or the release of one, that a person sent to a robot."""

    media_id: str
    """The person's media session."""
    by: Identity
    is_release: bool
    left_out: int = 0
    """How many that came before were not told of, because they were too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What a robot has sent since it dialled."""

    video: bool = False
    answers: bool = False
    """Anything on its channels to operators and viewers."""
    messages: bool = False
    """The same, but for answers to pings: some robots give them before they do anything else."""


@runtime_checkable
class CountsArrivals(Protocol):
    """What a media backend may be able to tell besides; a hosted one is not."""

    def arrived(self, media_id: str) -> Arrived | None:
        """Return what a robot has sent; ``None``: the session is gone, or is no robot's."""


class Media(Protocol):
    """A media backend; every method may raise :class:`MediaError`."""

    async def run(self, on_stop: Callable[[StopSeen], None]) -> None:
        """
        Do the backend's own work for as long as the broker runs; ends only by cancellation.

        :param on_stop: Told of each E-STOP and release that passes; their repetitions count once.
        """

    async def new_session(
        self,
        sdp_offer: str,
        *,
        beside: str | None = None,
        video_codecs: Sequence[VideoCodec] = (),
    ) -> MediaSession:
        """
        Answer a robot's or an operator's offer with a new peer connection.

        :param beside: An operator's or viewer's: the media session of their robot.
        :param video_codecs: A robot's: those it can change between while it sends.
        :raises UnusableSdp: The offer cannot be used.
        :raises MediaSessionGone: The robot's session is gone.
        """

    async def close_session(self, media_id: str) -> None:
        """Close the peer connection and all that hangs on it; unknown ids are ignored."""

    async def pull_video(self, media_id: str, *, publisher: str) -> str:
        """
        Let a session receive the video that another one publishes.

        :returns: The SDP offer that the receiving peer has to answer through :meth:`renegotiate`.
        :raises NoPublishedTrack: There is nothing to pull.
        :raises MediaSessionGone: Either session is gone.
        """

    async def renegotiate(self, media_id: str, sdp_answer: str) -> tuple[VideoCodec, ...] | None:
        """
        Take the answer to the offer that :meth:`pull_video` returned.

        :returns: The codecs that the receiver takes; ``None``: that is not known.
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

        :returns: Label → stream id, as :meth:`new_data_channels`.
        :raises MediaSessionGone: The session is gone.
        """

    async def watch_channels(
        self, media_id: str, *, publisher: str, by: Identity, may_stop: bool
    ) -> dict[str, int]:
        """
        Open a viewer's ends of all four channels.

        The viewer receives copies of what the robot sends, also from channels that it opens later.
        Of what they send nothing reaches the robot but an E-STOP.

        :param publisher: The robot's media session.
        :param by: The viewer: the robot is told with each E-STOP.
        :param may_stop: Whether their E-STOP reaches the robot at all.
        :returns: Label → stream id on the viewer's connection, as :meth:`new_data_channels`.
        :raises MediaSessionGone: Either session is gone.
        """

    async def close_data_channels(self, media_id: str, stream_ids: Sequence[int]) -> None:
        """Close channel ends; unknown sessions and ids are ignored."""

    def subscriber_ready(self, media_id: str) -> None:
        """
        Say that the session's peer has opened the channels that it subscribes to.

        What was published on reliable channels before is held until then and delivered now:
        data that reaches a stream before its channel exists is lost (docs/protocol.md §5).
        """

    async def connected(self, media_id: str) -> None:
        """
        Wait until a session's peer connection is connected.

        A browser may see itself connected a moment before the backend does.

        :raises MediaSessionGone: The session is gone.
        """

    def last_heard_s(self, media_id: str) -> float | None:
        """
        Return when the session's peer was last heard.

        :returns: Seconds of ``time.monotonic``, at most half a second out of date, from any
            authenticated packet (RTP, RTCP, SCTP); the time of creation before the first one;
            ``None`` when the session is gone.
        """

    async def close(self) -> None:
        """Close every session."""
