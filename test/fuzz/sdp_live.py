"""
The path of a session description from the bytes of a request to the end of its connection.

Everything except the network is real: connectivity checks are built but not sent, and encryption
is up at once. Therefore, failures that a description causes after its answer occur here as well.
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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
import enum
import ipaddress
import logging
from typing import Any, Final

import aioice.ice
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpSender,
)
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcdtlstransport import State
from descriptors import open_descriptors
from sdp_mutants import ANSWERS, text_of

from teleop_webrtc_bridge.aiortc_support.codec_choice import negotiated_codecs
from teleop_webrtc_bridge.aiortc_support.descriptions import take_description
from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http.schema import ForeignSdp, SDP
from teleop_webrtc_bridge.broker.media.backend import UnusableSdp
from teleop_webrtc_bridge.broker.media.peer_session import PeerSession
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.sdp import check_sdp

__all__ = ['LivePath', 'Outcome', 'live_path']

TURNS: Final = 8
"""Turns of the event loop after which everything that needs no peer has been done."""
LEAST_REASON: Final = 20
"""Minimum number of characters of a reason, which is a sentence."""


class Outcome(enum.Enum):
    """Outcome of a description."""

    ANSWERED = 'answered'
    BAD_REQUEST = 'refused as text'
    UNUSABLE = 'refused as a description'


class LivePath:
    """Processes offers and answers, one after the other."""

    def __init__(self, robot: PeerSession) -> None:
        self.problems: list[str] = []
        """Tracebacks from the log, and from tasks that were never awaited."""
        self._robot = robot
        self._tasks = asyncio.all_tasks()
        self._descriptors = open_descriptors()

    async def offer(self, sdp: str) -> Outcome:
        """Join with an offer."""
        try:
            usable = _usable(sdp, 'sdp_offer')
        except ApiError as error:
            return _refused(error)
        session = PeerSession(lambda media_id: None)
        try:
            await session.answer(usable)
        except UnusableSdp as error:
            return _unusable(error)
        try:
            await _turns()
        finally:
            await session.close()
        return Outcome.ANSWERED

    async def answer(self, name: str, sdp: str) -> Outcome:
        """Join with a valid offer, and answer the broker's offer."""
        session = PeerSession(lambda media_id: None)
        try:
            await session.answer(_usable(text_of(ANSWERS[name]), 'sdp_offer'))
            await session.pull_video(self._robot)
            await _turns()
            try:
                await session.take_answer(_usable(sdp, 'sdp_answer'))
            except (ApiError, UnusableSdp) as error:
                # After a refusal, a valid answer is accepted.
                await session.take_answer(_usable(text_of(name), 'sdp_answer'))
                return _refused(error) if isinstance(error, ApiError) else _unusable(error)
            await _turns()
        finally:
            await session.close()
        return Outcome.ANSWERED

    async def answer_of_a_broker(self, sdp: str) -> Outcome:
        """Dial in as a robot, to which a broker gives this answer."""
        pc, video = _robots_connection()
        try:
            await pc.setLocalDescription(await pc.createOffer())
            await _turns()
            try:
                check_sdp(sdp)
            except ProtocolError:
                return Outcome.BAD_REQUEST
            try:
                await take_description(pc, sdp, 'answer')
            except ProtocolError:
                await take_description(pc, text_of('answer_to_robot'), 'answer')
                return Outcome.UNUSABLE
            negotiated_codecs(video)
            await _turns()
        finally:
            await pc.close()
        return Outcome.ANSWERED

    async def leftovers(self) -> list[str]:
        """Return the tasks and descriptors that did not exist at the start."""
        await _turns()
        found = [repr(task) for task in asyncio.all_tasks() - self._tasks]
        descriptors = open_descriptors() - self._descriptors
        return [*found, f'{descriptors} descriptors'] if descriptors > 0 else found


@asynccontextmanager
async def live_path() -> AsyncIterator[LivePath]:
    """Yield a path on which a robot already publishes video."""
    configure_aiortc(loopback=True)
    with _without_network():
        robot = PeerSession(lambda media_id: None)
        await robot.answer(_usable(text_of('offer_robot'), 'sdp_offer'))
        await _turns()
        path = LivePath(robot)
        log = _Tracebacks(path.problems)
        logging.getLogger().addHandler(log)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: path.problems.append(repr(context)))
        try:
            yield path
        finally:
            await robot.close()
            logging.getLogger().removeHandler(log)
            loop.set_exception_handler(None)


class _Tracebacks(logging.Handler):
    def __init__(self, problems: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or 'Traceback' in record.getMessage():
            self._problems.append(self.format(record))


def _usable(sdp: str, field: str) -> str:
    received: ForeignSdp = SDP.read(field, sdp)
    return received.usable(field, allow_local=True)


def _refused(error: ApiError) -> Outcome:
    if sdp_is_missing(error):
        return Outcome.BAD_REQUEST
    assert error.status == 400, error
    assert len(error.detail) >= LEAST_REASON, error
    return Outcome.BAD_REQUEST


def sdp_is_missing(error: ApiError) -> bool:
    """Return whether nothing at all was sent."""
    return error.status == 422


def _unusable(error: UnusableSdp) -> Outcome:
    assert len(str(error)) >= LEAST_REASON, error
    return Outcome.UNUSABLE


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


class _Silence(MediaStreamTrack):
    """A camera that never has a picture."""

    kind = 'video'

    async def recv(self) -> Any:
        await asyncio.Future()


def _robots_connection() -> tuple[RTCPeerConnection, Any]:
    pc = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    pc.addTrack(_Silence())
    video = pc.getTransceivers()[0]
    codecs = RTCRtpSender.getCapabilities('video').codecs
    video.setCodecPreferences(sorted(codecs, key=lambda it: it.mimeType.lower() != 'video/h264'))
    pc.addTransceiver('audio', direction='recvonly')
    pc.createDataChannel('_sctp_init', negotiated=True, id=0)
    return pc, video


@contextmanager
def _without_network() -> Iterator[None]:
    """Replace the functions that wait for a peer."""
    ice: Any = aioice.ice.Connection
    dtls: Any = RTCDtlsTransport
    replaced = [
        (ice, 'connect', _check),
        (dtls, 'start', _encrypt),
        (dtls, '_send_data', _drop),
        (dtls, '_send_rtp', _drop),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, replacement in replaced:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


async def _check(connection: Any) -> None:
    """Build each connectivity check, and assume that it was answered."""
    for pair in connection._check_list:
        request = connection.build_request(pair, nominate=False)
        request.add_message_integrity(connection.remote_password.encode('utf8'))
        bytes(request)
        host, port = pair.remote_addr
        ipaddress.ip_address(host)
        assert 0 < port < 65536, 'no port that can be sent to'
        assert pair.component == 1, 'a candidate of another component'


async def _encrypt(transport: Any, parameters: Any) -> None:
    assert transport._state == State.NEW
    assert parameters.fingerprints
    transport._set_state(State.CONNECTED)


async def _drop(transport: Any, data: bytes) -> None:
    assert isinstance(data, bytes)
