"""Peers that send hostile media to the embedded SFU."""

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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import logging
import random
import socket
import struct
import time
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.rtp import RtpPacket
from descriptors import open_descriptors
from hostile_packets import ATTACKS, one_pli, send_srtp
import pytest
from waiting import until

from teleop_webrtc_bridge.aiortc_support.forwarding import VideoIngress
from teleop_webrtc_bridge.aiortc_support.internals import take_keyframe_requests
from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.media.backend import DataChannelRequest
from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.core.messages import CMD_UNRELIABLE

VIEWER = Identity(tenant='yard', sub='mallory', role=Role.VIEWER)
PATIENCE_S = 20.0
VIDEO_PERIOD_S = 0.02
COMMANDS = 100


class Peer:
    """One peer connection with the SFU: a robot with a camera, or a person."""

    def __init__(self, media: EmbeddedMedia, *, publishes: bool) -> None:
        self._media = media
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.video = self.pc.addTransceiver('video', 'sendonly' if publishes else 'recvonly')
        self.pc.createDataChannel('_sctp_init', negotiated=True, id=0)
        self.pc.on('track', self._watch)
        self.media_id = ''
        self.keyframes_asked_s: list[float] = []
        self.packets = 0

    async def connect(self) -> None:
        take_keyframe_requests(
            self.video.sender, lambda: self.keyframes_asked_s.append(time.monotonic())
        )
        await self.pc.setLocalDescription(await self.pc.createOffer())
        session = await self._media.new_session(self.pc.localDescription.sdp)
        self.media_id = session.media_id
        answer = RTCSessionDescription(sdp=session.sdp_answer, type='answer')
        await self.pc.setRemoteDescription(answer)
        await until(lambda: self.pc.connectionState == 'connected')
        await asyncio.wait_for(self._media.connected(self.media_id), PATIENCE_S)
        await until(lambda: self.pc.sctp.state == 'connected')

    def _watch(self, track: object) -> None:
        """Receive packets without decoding them: they contain no pictures."""

        async def ignore(packet: RtpPacket) -> None:
            return

        VideoIngress(self.video.receiver, ignore)

    async def watch(self, robot: Peer) -> None:
        offer = await self._media.pull_video(self.media_id, publisher=robot.media_id)
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type='offer'))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        await self._media.renegotiate(self.media_id, self.pc.localDescription.sdp)

    async def film(self) -> None:
        """Send video packets until cancelled."""
        ssrc = getattr(self.video.sender, '_ssrc')  # noqa: B009 - what the SFU expects
        payload_type = int(self.pc.remoteDescription.sdp.split('m=video ')[1].split()[2])
        while True:
            self.packets += 1
            packet = RtpPacket(
                payload_type=payload_type,
                sequence_number=self.packets & 0xFFFF,
                timestamp=self.packets * 1800,
                ssrc=ssrc,
                payload=b'\x65' * 200,
            )
            await send_srtp(self.pc, packet.serialize())
            await asyncio.sleep(VIDEO_PERIOD_S)

    async def open(self, publisher: Peer | None = None) -> RTCDataChannel:
        """Open both ends of the command channel."""
        request = DataChannelRequest(
            label=CMD_UNRELIABLE,
            ordered=False,
            max_retransmits=0,
            publisher=publisher.media_id if publisher else None,
        )
        ids = await self._media.new_data_channels(self.media_id, [request])
        channel = self.pc.createDataChannel(
            CMD_UNRELIABLE,
            ordered=False,
            maxRetransmits=0,
            negotiated=True,
            id=ids[CMD_UNRELIABLE],
        )
        self._media.subscriber_ready(self.media_id)
        await until(lambda: channel.readyState == 'open')
        return channel

    @property
    def is_served(self) -> bool:
        return self._media.last_heard_s(self.media_id) is not None


@asynccontextmanager
async def peer_of(media: EmbeddedMedia, *, publishes: bool = False) -> AsyncIterator[Peer]:
    peer = Peer(media, publishes=publishes)
    filming = None
    try:
        await peer.connect()
        if publishes:
            filming = asyncio.create_task(peer.film())
        yield peer
    finally:
        if filming is not None:
            filming.cancel()
            await asyncio.wait([filming])
        await peer.pc.close()


def others() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


class Tracebacks(logging.Handler):
    """Collects the tracebacks of the whole test."""

    def __init__(self, problems: list[object]) -> None:
        super().__init__(logging.WARNING)
        self._problems = problems

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or 'Traceback' in record.getMessage():
            self._problems.append(record.getMessage())


@pytest.fixture
async def media() -> AsyncIterator[EmbeddedMedia]:
    """Run the SFU; at the end check for leftovers and tracebacks."""
    problems: list[object] = []
    log = Tracebacks(problems)
    logging.getLogger().addHandler(log)
    asyncio.get_running_loop().set_exception_handler(lambda _, it: problems.append(it))
    tasks, descriptors = others(), open_descriptors()
    media = EmbeddedMedia(include_loopback=True)
    yield media
    await media.close()
    await until(lambda: others() <= tasks)
    logging.getLogger().removeHandler(log)
    assert open_descriptors() <= descriptors
    assert problems == []


class Drive:
    """Another robot on the same SFU, with its operator."""

    def __init__(self, sending: RTCDataChannel, receiving: RTCDataChannel) -> None:
        self.sent = 0
        self.received: list[bytes | str] = []
        self._sending = sending
        receiving.on('message', self.received.append)

    def command(self) -> None:
        self._sending.send(b'x' * 72)
        self.sent += 1

    async def is_fine(self) -> None:
        """Check that commands still arrive, whatever was lost before."""
        arrived = len(self.received)
        async with asyncio.timeout(PATIENCE_S):
            while len(self.received) < arrived + COMMANDS // 2:
                self.command()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def driven(media: EmbeddedMedia) -> AsyncIterator[tuple[Peer, Peer, Drive]]:
    """Connect an operator to a robot, with video and commands."""
    async with peer_of(media, publishes=True) as robot, peer_of(media) as person:
        await person.watch(robot)
        sending = await person.open()
        drive = Drive(sending, await robot.open(person))
        yield robot, person, drive
        await drive.is_fine()
        assert robot.is_served
        assert person.is_served


@pytest.mark.parametrize('role', ['viewer', 'robot'])
@pytest.mark.parametrize('name', ATTACKS)
async def test_what_a_hostile_peer_sends_stops_no_other_robot(
    media: EmbeddedMedia, name: str, role: str
) -> None:
    source = random.Random(name)
    async with (
        driven(media) as (robot, _, drive),
        peer_of(media, publishes=role == 'robot') as hostile,
    ):
        if role == 'viewer':
            await watch_channels(media, hostile, robot)
            await hostile.watch(robot)
        await hostile.open()
        for number in range(COMMANDS):
            if hostile.pc.connectionState != 'connected':
                break
            await ATTACKS[name](hostile.pc, source)
            if number % 4 == 0:
                drive.command()
                await asyncio.sleep(0.005)
        await drive.is_fine()


@pytest.mark.parametrize('name', ['nack_storm', 'pli_storm', 'report_storm', 'random_rtcp'])
async def test_who_goes_on_is_closed(media: EmbeddedMedia, name: str) -> None:
    source = random.Random(name)
    async with driven(media) as (robot, _, drive), peer_of(media) as hostile:
        await watch_channels(media, hostile, robot)
        await hostile.watch(robot)
        async with asyncio.timeout(PATIENCE_S):
            while hostile.is_served:
                for _ in range(5):
                    await ATTACKS[name](hostile.pc, source)
                drive.command()
                await asyncio.sleep(0.01)


async def watch_channels(media: EmbeddedMedia, viewer: Peer, robot: Peer) -> None:
    await media.watch_channels(viewer.media_id, publisher=robot.media_id, by=VIEWER, may_stop=True)


async def test_keyframes_that_are_asked_for_are_merged(media: EmbeddedMedia) -> None:
    async with driven(media) as (robot, person, _), peer_of(media) as hostile:
        await watch_channels(media, hostile, robot)
        await hostile.watch(robot)
        await until(lambda: bool(robot.keyframes_asked_s))
        began_s, before = time.monotonic(), len(robot.keyframes_asked_s)
        source = random.Random(1)
        for _ in range(300):
            await one_pli(hostile.pc, source)
            await one_pli(person.pc, source)
            await asyncio.sleep(0.01)
        lasted_s = time.monotonic() - began_s
        # One at the beginning and one at the end; each a second after the previous one.
        assert 2 <= len(robot.keyframes_asked_s) - before <= lasted_s + 2.0


async def test_who_has_lost_the_picture_gets_a_keyframe_at_once(media: EmbeddedMedia) -> None:
    async with driven(media) as (robot, person, _):
        await until(lambda: bool(robot.keyframes_asked_s))
        await asyncio.sleep(1.1)  # the keyframe of their arrival is a second old
        before = len(robot.keyframes_asked_s)
        await one_pli(person.pc, random.Random(1))
        await until(lambda: len(robot.keyframes_asked_s) > before)


async def test_streams_without_end_are_not_remembered(media: EmbeddedMedia) -> None:
    async with driven(media), peer_of(media, publishes=True) as hostile:
        await until(lambda: hostile.packets > 5)
        payload_type = int(hostile.pc.remoteDescription.sdp.split('m=video ')[1].split()[2])
        for ssrc in range(1, 200):
            packet = RtpPacket(
                payload_type=payload_type, sequence_number=1, ssrc=ssrc, payload=b'\x65' * 50
            )
            await send_srtp(hostile.pc, packet.serialize())
            if ssrc % 20 == 0:
                await asyncio.sleep(0.01)
        reported: set[int] = set()
        sender: Any = hostile.video.sender
        handle = sender._handle_rtcp_packet

        async def listen(packet: Any) -> None:
            reported.update(report.ssrc for report in getattr(packet, 'reports', ()))
            await handle(packet)

        vars(sender)['_handle_rtcp_packet'] = listen
        await until(lambda: bool(reported))
        assert len(reported) <= 16


# --- strangers -----------------------------------------------------------------------------------

FROM_STRANGERS = {
    'nothing': b'',
    'garbage': b'\x16\xfe\xfd' + bytes(40),
    'an alert': b'\x15\xfe\xfd' + bytes(8) + b'\0\2\2\x28',
    'media': b'\x80\x60' + bytes(100),
    'a check that is none': struct.pack('!HHI12s', 1, 8, 0x2112A442, bytes(12))
    + struct.pack('!HHB', 0x24, 1, 1)
    + bytes(3),
    'an answer to nothing': struct.pack('!HHI12s', 0x101, 0, 0x2112A442, bytes(12)),
    'an unsigned check': struct.pack('!HHI12s', 1, 0, 0x2112A442, bytes(12)),
}


@pytest.mark.parametrize('what', FROM_STRANGERS)
async def test_a_stranger_who_finds_the_port_stops_nobody(media: EmbeddedMedia, what: str) -> None:
    async with driven(media) as (robot, person, drive):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for peer in (robot, person):
                for line in peer.pc.remoteDescription.sdp.splitlines():
                    if line.startswith('a=candidate:') and '127.0.0.1' in line:
                        port = int(line.split()[5])
                        for _ in range(300):
                            stranger.sendto(FROM_STRANGERS[what], ('127.0.0.1', port))
        await drive.is_fine()
