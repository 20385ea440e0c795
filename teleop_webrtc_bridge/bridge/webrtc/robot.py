"""The robot's session with its broker: dial, serve, and dial again."""

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
from contextlib import AsyncExitStack, suppress
import logging
import random
import time
from typing import Final

from teleop_webrtc_bridge.bridge.link.packets import Received, Send, Status
from teleop_webrtc_bridge.bridge.webrtc.broker_client import BrokerClient, GOODBYE_S
from teleop_webrtc_bridge.bridge.webrtc.network import RobotNetwork
from teleop_webrtc_bridge.bridge.webrtc.operator_inbox import OperatorInbox
from teleop_webrtc_bridge.bridge.webrtc.peer import RobotPeer
from teleop_webrtc_bridge.bridge.webrtc.ros_link import Newest, RosLink
from teleop_webrtc_bridge.bridge.webrtc.video.camera_feeds import CameraFeeds
from teleop_webrtc_bridge.core.codec import encode_pong
from teleop_webrtc_bridge.core.configuration import BridgeConfiguration, is_loopback_url
from teleop_webrtc_bridge.core.exceptions import (
    BrokerError,
    BrokerRefused,
    PeerConnectionLost,
    ProtocolError,
    SessionGone,
    SessionSuperseded,
    TeleopError,
)
from teleop_webrtc_bridge.core.messages import (
    HeartbeatAnswer,
    IceServer,
    SessionAnswer,
    STATE_RELIABLE_BACK,
)
from teleop_webrtc_bridge.core.motion.command_frames import CommandFrames
from teleop_webrtc_bridge.core.session import (
    BridgeSession,
    HeartbeatSilence,
    Transition,
)
from teleop_webrtc_bridge.core.texts import shown

__all__ = ['Robot']

HEARTBEAT_PERIOD_S: Final = 1.0
SHORTEST_PERIOD_S: Final = 0.1
"""Between heartbeats, whatever the broker answers."""
LONGEST_PAUSE_S: Final = 10.0
"""Between heartbeats, whatever the broker asks for: it reaps robots after 30 s of silence."""
STATUS_PERIOD_S: Final = 1.0
MAX_REASON_CHARS: Final = 1000
"""Limit for the reason of a failure, which may contain a proxy's or server's own text."""
DEFAULT_STUN: Final = IceServer(urls=('stun:stun.cloudflare.com:3478',))
"""Used if the broker names no ICE servers."""

_logger = logging.getLogger(__name__)


class Robot:
    """
    Keeps one robot connected to its broker.

    :param configuration: The robot.
    :param link: To the ROS half.
    :param cameras: Its cameras.
    """

    def __init__(
        self, configuration: BridgeConfiguration, *, link: RosLink, cameras: CameraFeeds
    ) -> None:
        self._configuration = configuration
        self._link = link
        self._inbox = OperatorInbox(link, CommandFrames(configuration.command_frames_refused))
        self._network = RobotNetwork(configuration.broker_url)
        self._cameras = cameras
        self._peer: RobotPeer | None = None
        self._session = BridgeSession(random=random.random, on_transition=self._on_transition)
        self._missed = 0

    # --- the session --------------------------------------------------------------------------

    async def run(self) -> None:
        """Dial again and again; when cancelled, say goodbye to the broker."""
        async with BrokerClient(self._configuration) as broker:
            while True:
                await asyncio.sleep(max(0.0, self._session.dial_at_s - time.monotonic()))
                self._session.begin_dial()
                async with AsyncExitStack() as cleanup:
                    try:
                        await self._one_session(broker, cleanup)
                    except TeleopError as error:
                        # Before the goodbye, which takes long if the network is down.
                        self._end(error)

    def _end(self, error: TeleopError) -> None:
        self._peer = None
        self._session.ended(time.monotonic(), error)

    async def _one_session(self, broker: BrokerClient, cleanup: AsyncExitStack) -> None:
        """
        Dial once and serve until the session ends.

        :param cleanup: Receives the clean-up steps.
        :raises TeleopError: Why the session ended.
        """
        gathering = await self._network.plan(await self._ice_servers(broker))
        peer = RobotPeer(
            self._configuration,
            cameras=self._cameras,
            on_message=self._on_message,
            gathering=gathering,
        )
        cleanup.push_async_callback(peer.close)
        sdp_offer = await peer.offer()
        self._network.gathered(gathering)
        creating = asyncio.create_task(self._create(broker, sdp_offer))
        cleanup.push_async_callback(self._say_goodbye, broker, creating)
        # Shielded: once the broker has the request, it creates the session.
        answer = await asyncio.shield(creating)
        silence = HeartbeatSilence(_awake_or_not_s())
        try:
            await peer.connect(answer.sdp_answer)
        except PeerConnectionLost as error:
            raise self._network.failed(gathering, error) from error
        self._network.connected(gathering)
        self._peer = peer
        self._session.connected()
        await self._serve(broker, peer, answer.session_id, silence)

    async def _create(self, broker: BrokerClient, sdp_offer: str) -> SessionAnswer:
        answer = await broker.create_session(sdp_offer)
        self._session.created(answer.session_id)
        return answer

    async def _say_goodbye(
        self, broker: BrokerClient, creating: asyncio.Task[SessionAnswer]
    ) -> None:
        """Delete the session, even if the broker is still creating it; bounded."""
        self._peer = None
        # A slower broker reaps the session later.
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                with suppress(TeleopError):
                    await creating
                session_id = self._session.farewell()
                if session_id is not None:
                    await self._delete(broker, session_id)

    async def _delete(self, broker: BrokerClient, session_id: str) -> None:
        try:
            await broker.delete_session(session_id)
        except SessionSuperseded as error:
            # The broker had closed the connection because another robot took the session over. If
            # this one dialled again at once, the two would alternate.
            self._end(error)

    async def _ice_servers(self, broker: BrokerClient) -> tuple[IceServer, ...]:
        servers = await broker.ice_servers()
        if servers is not None:
            return servers
        # An unreachable STUN server would delay the offer by five seconds.
        return () if is_loopback_url(self._configuration.broker_url) else (DEFAULT_STUN,)

    async def _serve(
        self, broker: BrokerClient, peer: RobotPeer, session_id: str, silence: HeartbeatSilence
    ) -> None:
        """
        Exchange heartbeats until the broker or the connection ends the session.

        :raises TeleopError: Why it ended.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._heartbeats(broker, peer, session_id, silence))
                tasks.create_task(peer.watch())
        except* TeleopError as group:
            reason = group.exceptions[0]
        raise reason

    async def _heartbeats(
        self, broker: BrokerClient, peer: RobotPeer, session_id: str, silence: HeartbeatSilence
    ) -> None:
        previous: HeartbeatAnswer | None = None
        while True:
            sent_s, beat_s = time.monotonic(), _awake_or_not_s()
            pause_s = HEARTBEAT_PERIOD_S
            answer: HeartbeatAnswer | None = previous
            try:
                answer = await broker.heartbeat(
                    session_id, _report(peer), wait_s=HEARTBEAT_PERIOD_S
                )
            except (SessionGone, SessionSuperseded, BrokerRefused):
                raise
            except (BrokerError, ProtocolError) as error:
                # The media session lasts as long as its own connection.
                self._missed += 1
                _logger.info('event=heartbeat_missed reason=%r', str(error))
                asked_s = error.retry_after_s if isinstance(error, BrokerError) else None
                pause_s = max(pause_s, min(asked_s or 0.0, LONGEST_PAUSE_S))
            else:
                silence.answered(beat_s, _awake_or_not_s(), answer)
                await self._follow(answer, broker, peer, session_id)
                if answer != previous:
                    # The next heartbeat confirms that this answer was obeyed.
                    pause_s = SHORTEST_PERIOD_S
            await asyncio.sleep(max(0.0, sent_s + pause_s - time.monotonic()))
            previous = answer

    async def _follow(
        self, answer: HeartbeatAnswer, broker: BrokerClient, peer: RobotPeer, session_id: str
    ) -> None:
        """Obey the broker's answer."""
        peer.reconcile(answer.channels)
        if answer.video_codec is not None:
            peer.send_codec(answer.video_codec)
        self._session.heartbeat(answer)
        if answer.renegotiate_offer is not None:
            sdp = await peer.answer(answer.renegotiate_offer)
            try:
                await broker.answer_renegotiation(session_id, sdp)
            except (SessionGone, BrokerRefused):
                raise
            except (BrokerError, ProtocolError) as error:
                _logger.warning('event=renegotiation_failed reason=%r', str(error))

    # --- between the operator and the ROS half ------------------------------------------------

    def _on_message(self, label: str, message: bytes | str, arrival_s: float) -> None:
        """Answer clock probes at once; pass on everything else, for the ROS half to judge."""
        payload = message.encode() if isinstance(message, str) else message
        received = Received(label=label, payload=payload, arrival_s=arrival_s)
        probe = self._inbox.take(received)
        if probe is not None and self._peer is not None:
            pong = encode_pong(probe.client_ts_s, arrival_s + self._configuration.clock_ahead_s)
            self._peer.send(STATE_RELIABLE_BACK, pong, urgent=True)

    def forward(self, packet: Send) -> None:
        """Send a message of the ROS half to the operator."""
        if self._peer is not None:
            payload = packet.payload.decode() if packet.text else packet.payload
            self._peer.send(packet.label, payload, urgent=packet.urgent)

    # --- status -------------------------------------------------------------------------------

    async def report_status(self) -> None:
        """Send the status to the ROS half once a second."""
        while True:
            self.send_status()
            await asyncio.sleep(STATUS_PERIOD_S)

    def _on_transition(self, transition: Transition) -> None:
        _logger.debug(
            'event=session state=%s reason=%r', transition.state.value, transition.reason
        )
        # The ROS half is about to hear of a change that makes older commands void.
        self._inbox.forget_motion()
        self.send_status()

    def send_status(self) -> None:
        state = self._session.state
        status = Status(
            state=state,
            reason=shown(self._session.reason, MAX_REASON_CHARS),
            control_epoch=self._session.control_epoch,
            path='' if self._peer is None else self._peer.path,
            counters=self._counters(),
        )
        self._link.send_newest(Newest.STATUS, status)

    def _counters(self) -> dict[str, float]:
        counters = {
            'heartbeats_missed': float(self._missed),
            'tasks': float(len(asyncio.all_tasks())),
        }
        sources = [self._link.counters, self._inbox.counters]
        if self._peer is not None:
            counters |= _report(self._peer) | self._peer.track.figures()
            sources += [self._peer.counters, self._peer.track.counters]
        return counters | {name: float(n) for source in sources for name, n in source.items()}


def _awake_or_not_s() -> float:
    """Return the time of a clock that keeps running while the computer is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _report(peer: RobotPeer) -> dict[str, float]:
    return {} if peer.round_trip_ms is None else {'rtt_ms': peer.round_trip_ms}
