"""Peers that attack the embedded SFU through their data channels."""

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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
import json
from typing import Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
import pytest
import pytest_asyncio

from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.media.backend import DataChannelRequest, StopSeen
from teleop_webrtc_bridge.broker.media.channels import EstopSigner
from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.core.codec import decode_command
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import CHANNELS

PATIENCE_S = 20.0
ANN = Identity(tenant='yard', sub='ann', role=Role.VIEWER)
BOB = Identity(tenant='yard', sub='bob', role=Role.OPERATOR)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - aiortc has no event for it
            await asyncio.sleep(0.01)


class Peer:
    """One peer connection with the SFU."""

    def __init__(self, media: EmbeddedMedia) -> None:
        self._media = media
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.pc.createDataChannel('_sctp_init', negotiated=True, id=0)
        self.media_id = ''

    async def connect(self) -> None:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        session = await self._media.new_session(self.pc.localDescription.sdp)
        self.media_id = session.media_id
        answer = RTCSessionDescription(sdp=session.sdp_answer, type='answer')
        await self.pc.setRemoteDescription(answer)
        await until(lambda: self.pc.connectionState == 'connected')

    async def open(
        self,
        label: str,
        *,
        reliable: bool,
        publisher: Peer | None = None,
        by: Identity | None = None,
    ) -> RTCDataChannel:
        """Open both ends of one channel between this peer and the SFU."""
        request = DataChannelRequest(
            label=label,
            ordered=reliable,
            max_retransmits=None if reliable else 0,
            publisher=publisher.media_id if publisher else None,
            by=by,
        )
        ids = await self._media.new_data_channels(self.media_id, [request])
        channel = self.pc.createDataChannel(
            label,
            ordered=reliable,
            maxRetransmits=None if reliable else 0,
            negotiated=True,
            id=ids[label],
        )
        self._media.subscriber_ready(self.media_id)
        await until(lambda: channel.readyState == 'open')
        return channel

    @property
    def is_served(self) -> bool:
        return self._media.last_heard_s(self.media_id) is not None


@asynccontextmanager
async def peer_of(media: EmbeddedMedia) -> AsyncIterator[Peer]:
    peer = Peer(media)
    try:
        await peer.connect()
        yield peer
    finally:
        await peer.pc.close()


@pytest_asyncio.fixture
async def media() -> AsyncIterator[EmbeddedMedia]:
    media = EmbeddedMedia(include_loopback=True)
    yield media
    await media.close()


async def test_a_flood_is_thinned_and_its_sender_disconnected(media: EmbeddedMedia) -> None:
    received: list[bytes | str] = []
    async with peer_of(media) as operator, peer_of(media) as robot:
        sending = await operator.open('cmd_unreliable', reliable=False)
        receiving = await robot.open('cmd_unreliable', reliable=False, publisher=operator)
        receiving.on('message', received.append)
        sent = 0
        async with asyncio.timeout(PATIENCE_S):
            while operator.is_served:
                for _ in range(20):
                    sending.send(b'x' * 64)
                sent += 20
                await asyncio.sleep(0.02)
        assert sent > 2000
        # The burst, and 200 messages a second while it lasted: 3 s to 4 s.
        assert 400 < len(received) < 2000
        assert robot.is_served


async def test_an_estop_is_not_thinned_out(media: EmbeddedMedia) -> None:
    received: list[bytes | str] = []
    async with peer_of(media) as operator, peer_of(media) as robot:
        sending = await operator.open('state_reliable', reliable=True)
        receiving = await robot.open('state_reliable', reliable=True, publisher=operator)
        receiving.on('message', received.append)
        for _ in range(600):
            sending.send('{"type":"ping"}')
        sending.send('{"type":"estop"}')
        await until(lambda: received[-1:] == ['{"type":"estop"}'])


async def test_a_message_without_an_end_ends_its_sender(media: EmbeddedMedia) -> None:
    async with peer_of(media) as operator, peer_of(media) as robot:
        sending = await operator.open('state_reliable', reliable=True)
        sctp: Any = operator.pc.sctp
        send_chunk = getattr(sctp, '_send_chunk')  # noqa: B009

        async def without_the_last_fragment(chunk: Any) -> None:
            if hasattr(chunk, 'user_data'):
                chunk.flags &= ~1
            await send_chunk(chunk)

        vars(sctp)['_send_chunk'] = without_the_last_fragment
        async with asyncio.timeout(PATIENCE_S):
            while operator.is_served:
                if sending.readyState == 'open' and sending.bufferedAmount < 200_000:
                    sending.send(b'x' * 50_000)
                await asyncio.sleep(0.005)
        assert robot.is_served


async def test_a_peer_may_not_open_channels_without_end(media: EmbeddedMedia) -> None:
    async with peer_of(media) as operator, peer_of(media) as robot:
        for number in range(9):
            operator.pc.createDataChannel(f'own {number}')
        await until(lambda: not operator.is_served)
        assert robot.is_served


# --- viewers -----------------------------------------------------------------------------------


class Viewer:
    """A viewer of a robot, with all four channels."""

    def __init__(self, peer: Peer, *, may_stop: bool = True) -> None:
        self.peer = peer
        self.may_stop = may_stop
        self.channels: dict[str, RTCDataChannel] = {}
        self.received: list[bytes | str] = []

    async def open(self, media: EmbeddedMedia, robot: Peer) -> None:
        ids = await media.watch_channels(
            self.peer.media_id, publisher=robot.media_id, by=ANN, may_stop=self.may_stop
        )
        for spec in CHANNELS:
            self.channels[spec.label] = channel = self.peer.pc.createDataChannel(
                spec.label,
                ordered=spec.ordered,
                maxRetransmits=spec.max_retransmits,
                negotiated=True,
                id=ids[spec.label],
            )
            channel.on('message', self.received.append)
        media.subscriber_ready(self.peer.media_id)
        for channel in self.channels.values():
            await until(lambda channel=channel: channel.readyState == 'open')


async def test_of_what_a_viewer_sends_the_robot_gets_the_estop_alone(media: EmbeddedMedia) -> None:
    received: list[bytes | str] = []
    async with peer_of(media) as operator, peer_of(media) as robot, peer_of(media) as third:
        for label, reliable in (('cmd_unreliable', False), ('state_reliable', True)):
            await operator.open(label, reliable=reliable)
            channel = await robot.open(label, reliable=reliable, publisher=operator)
            channel.on('message', received.append)
        viewer = Viewer(third)
        await viewer.open(media, robot)
        refused: list[str | bytes] = [
            b'\x9c\xd2\xbc\xbe\x6c\xb2\xa7\xc0' + bytes(72),
            '{"type":"estop_clear","nonce":1}',
            '{"type":"estop","type":"estop_clear"}',
            '{"type":"ping","client_ts":1}',
            '{"type":["estop"]}',
            '[{"type":"estop"}]',
            '{"a":' * 5000,
            'x' * 100_000,
            '',
        ]
        for label in ('cmd_unreliable', 'state_reliable'):
            for message in refused:
                viewer.channels[label].send(message)
            viewer.channels[label].send(
                '{"type":"estop","nonce":"n","type2":"estop_clear","x":[1]}'
            )
        await until(lambda: len(received) >= 2)
        viewer.channels['state_reliable'].send(b'{"type":"estop","nonce":true}')
        await until(lambda: len(received) >= 3)
    signed = {'by': {'sub': 'ann', 'role': 'viewer', 'tenant': 'yard'}}
    first = {'type': 'estop', 'nonce': 'n', **signed}
    assert [json.loads(message) for message in received] == [
        first,
        first,
        {'type': 'estop', **signed},
    ]


async def test_a_viewer_who_may_not_stop_does_not(media: EmbeddedMedia) -> None:
    received: list[bytes | str] = []
    async with peer_of(media) as operator, peer_of(media) as robot, peer_of(media) as third:
        sending = await operator.open('state_reliable', reliable=True)
        channel = await robot.open('state_reliable', reliable=True, publisher=operator)
        channel.on('message', received.append)
        viewer = Viewer(third, may_stop=False)
        await viewer.open(media, robot)
        for label in ('cmd_unreliable', 'state_reliable'):
            viewer.channels[label].send('{"type":"estop"}')
        # Once the viewer's connection answers again, all earlier messages were processed.
        own = third.pc.createDataChannel('own')
        await until(lambda: own.readyState == 'open')
        sending.send('last')
        await until(lambda: bool(received))
    assert received == ['last']


@pytest.mark.parametrize('label', ['cmd_unreliable', 'state_reliable'])
async def test_an_operators_estop_is_signed_by_the_broker_and_told_once(
    media: EmbeddedMedia, label: str
) -> None:
    stops: list[StopSeen] = []
    running = asyncio.create_task(media.run(stops.append))
    received: list[bytes | str] = []
    reliable = label == 'state_reliable'
    async with peer_of(media) as operator, peer_of(media) as robot:
        sending = await operator.open(label, reliable=reliable, by=BOB)
        channel = await robot.open(label, reliable=reliable, publisher=operator)
        channel.on('message', received.append)
        forged = '{"type":"estop","nonce":1,"by":{"sub":"ann","role":"admin","tenant":"x"}}'
        for message in (forged, forged.encode(), '{"type":"ping"}', '{"type":"est\\u006fp"}'):
            sending.send(message)
        sending.send('{"type":"estop_clear","nonce":2,"latch":7}')
        await until(lambda: len(received) == 5)
    running.cancel()
    by = {'sub': 'bob', 'role': 'operator', 'tenant': 'yard'}
    stop = {'type': 'estop', 'nonce': 1, 'by': by}
    assert sorted(received, key=str) == sorted(
        [
            *[json.dumps(stop)] * 2,
            '{"type":"ping"}',
            json.dumps({'type': 'estop', 'by': by}),
            json.dumps({'type': 'estop_clear', 'nonce': 2, 'latch': 7, 'by': by}),
        ],
        key=str,
    )
    assert {(stop.media_id, stop.by) for stop in stops} == {(operator.media_id, BOB)}
    # The first one and its copy, another one, and the release.
    assert [stop.is_release for stop in stops] == [False, False, True]


@pytest.mark.parametrize('label', ['cmd_unreliable', 'state_reliable'])
async def test_what_only_another_parser_takes_for_an_estop_is_not_forwarded(
    media: EmbeddedMedia, label: str
) -> None:
    stop = '{"type":"estop","nonce":1,"by":{"sub":"ann","role":"admin","tenant":"x"}}'
    deep = '{"type":"estop","x":' + '[' * 900 + ']' * 900 + '}'
    odd: list[str | bytes] = [
        stop.encode('utf-16-le'),
        stop.encode('utf-32-le'),
        stop.encode('utf-16-le').decode(),
        stop.encode('utf-32-le').decode(),
        deep,
        f'{stop} x',
        stop[:-1],
        stop.encode()[:-1] + b'\xff}',
    ]
    received: list[bytes | str] = []
    reliable = label == 'state_reliable'
    async with peer_of(media) as operator, peer_of(media) as robot:
        sending = await operator.open(label, reliable=reliable, by=BOB)
        channel = await robot.open(label, reliable=reliable, publisher=operator)
        channel.on('message', received.append)
        for message in odd:
            sending.send(message)
            with pytest.raises(ProtocolError):
                decode_command(message)
        sending.send('last')
        await until(lambda: bool(received))
    assert received == ['last']


async def test_many_stops_are_told_of_in_part_and_the_rest_is_counted() -> None:
    stops: list[StopSeen] = []
    voice = EstopSigner('m', BOB, stops.append)
    for nonce in range(100):
        voice.sign(json.dumps({'type': 'estop', 'nonce': nonce}))
    # A release is reported however many stops preceded it.
    voice.sign('{"type":"estop_clear","nonce":1}')
    assert [stop.is_release for stop in stops] == [False] * 10 + [True]
    assert stops[-1].left_out == 90


async def test_viewers_get_what_the_robot_sends_also_after_a_new_bridge(
    media: EmbeddedMedia,
) -> None:
    async with peer_of(media) as robot, peer_of(media) as first, peer_of(media) as second:
        viewers = [Viewer(first), Viewer(second)]
        await viewers[0].open(media, robot)
        await robot.open('state_reliable_back', reliable=True)
        await viewers[1].open(media, robot)
        for label, reliable in (('state_reliable_back', True), ('map_unreliable', False)):
            channel = await robot.open(label, reliable=reliable)
            channel.send(label)
            for viewer in viewers:
                await until(lambda viewer=viewer, label=label: viewer.received[-1:] == [label])
    assert viewers[0].received == viewers[1].received == ['state_reliable_back', 'map_unreliable']


async def test_a_robot_without_an_operator_can_be_stopped_by_a_viewer(
    media: EmbeddedMedia,
) -> None:
    received: list[bytes | str] = []
    async with peer_of(media) as robot, peer_of(media) as third:
        ids = await media.open_for_viewers(robot.media_id)
        assert set(ids) == {'state_reliable', 'state_reliable_back', 'map_unreliable'}
        viewer = Viewer(third)
        await viewer.open(media, robot)
        viewer.channels['state_reliable'].send('{"type":"estop"}')
        channel = robot.pc.createDataChannel(
            'state_reliable', negotiated=True, id=ids['state_reliable']
        )
        channel.on('message', received.append)
        await until(lambda: channel.readyState == 'open')
        media.subscriber_ready(robot.media_id)
        await until(lambda: bool(received))
        assert json.loads(received[0])['type'] == 'estop'
        assert json.loads(received[0])['by']['sub'] == 'ann'
