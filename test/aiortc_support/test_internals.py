"""
What aiortc does not promise and we rely on: when it moves, the name of a failing test says what.

The first half looks at names and signatures; the second sends real packets over loopback.
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

import ast
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from importlib import metadata
import inspect
from pathlib import Path
import struct
from types import ModuleType
from typing import Any, Final

import aioice.ice
import aioice.turn
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    rtcsctptransport,
    VideoStreamTrack,
)
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket
import pytest
import pytest_asyncio

from teleop_webrtc_bridge.aiortc_support import (
    codec_choice,
    forwarding,
    gathering,
    ice_servers,
    internals,
)
from teleop_webrtc_bridge.aiortc_support.codec_choice import (
    keep_codecs,
    negotiated_codecs,
    prefer_codecs,
)
from teleop_webrtc_bridge.aiortc_support.forwarding import VideoEgress, VideoIngress
from teleop_webrtc_bridge.aiortc_support.internals import (
    configure_aiortc,
    FrameExtensions,
    packets_received,
    prepare_receiving,
    tag_frames,
    take_keyframe_requests,
    TESTED_AIORTC,
)
from teleop_webrtc_bridge.core.messages import VideoCodec

PATIENCE_S: Final = 30.0
APART: Final = 150
"""Packets between two that get lost: more than aiortc remembers."""

#: Name → its parameters; ``None`` where it is no method.
METHODS: dict[type, dict[str, list[str]]] = {
    RTCPeerConnection: {'_RTCPeerConnection__connect': []},
    RTCRtpSender: {
        '_handle_rtcp_packet': ['packet'],
        '_next_encoded_frame': ['codec'],
        '_retransmit': ['sequence_number'],
        '_run_rtp': ['codec'],
        '_send_keyframe': [],
    },
    RTCRtpReceiver: {
        '_handle_rtp_packet': ['packet', 'arrival_time_ms'],
        '_send_rtcp_nack': ['media_ssrc', 'lost'],
        '_send_rtcp_pli': ['media_ssrc'],
    },
    RTCDtlsTransport: {'_get_stats': [], '_send_rtp': ['data']},
    HeaderExtensionsMap: {
        'configure': ['parameters'],
        'get': ['extension_profile', 'extension_value'],
        'set': ['values'],
    },
    aioice.ice.Connection: {
        'get_component_candidates': ['component', 'addresses', 'timeout'],
    },
    aioice.turn.TurnTransport: {'_connect': ['protocol']},
}
ATTRIBUTES = {
    'sender': {
        '_RTCRtpSender__encoder',
        '_RTCRtpSender__ntp_timestamp',
        '_RTCRtpSender__octet_count',
        '_RTCRtpSender__packet_count',
        '_RTCRtpSender__rtp_header_extensions_map',
        '_RTCRtpSender__rtp_history',
        '_RTCRtpSender__rtp_timestamp',
        '_RTCRtpSender__rtx_payload_type',
        '_ssrc',
    },
    'receiver': {
        '_RTCRtpReceiver__codecs',
        '_RTCRtpReceiver__decoder_queue',
        '_RTCRtpReceiver__jitter_buffer',
        '_RTCRtpReceiver__rtx_ssrc',
    },
    'transceiver': {'_codecs', '_headerExtensions'},
    'transport': {'_rtp_header_extensions_map'},
    'sctp': {'_advertised_rwnd'},
    'gatherer': {'_connection'},
    'ice': {'_connection'},
    'ice connection': {'_nominated', '_protocols'},
}


# --- names -----------------------------------------------------------------------------------


def test_the_installed_aiortc_is_the_one_that_was_tested() -> None:
    installed = '.'.join(metadata.version('aiortc').split('.')[:2])
    assert installed == TESTED_AIORTC, (
        'run all tests with this aiortc, then change TESTED_AIORTC and requirements.txt'
    )


@pytest.mark.parametrize(
    ('owner', 'name'),
    [(owner, name) for owner, names in METHODS.items() for name in names],
    ids=lambda value: getattr(value, '__name__', value),
)
def test_a_private_method_has_the_signature_that_we_replace_or_call(
    owner: type, name: str
) -> None:
    parameters = list(inspect.signature(getattr(owner, name)).parameters)
    assert parameters == ['self', *METHODS[owner][name]]


@pytest.mark.parametrize(
    'method',
    [
        (RTCPeerConnection, '_RTCPeerConnection__connect'),
        (RTCRtpSender, '_handle_rtcp_packet'),
        (RTCRtpSender, '_next_encoded_frame'),
        (RTCRtpSender, '_retransmit'),
        (RTCRtpSender, '_run_rtp'),
        (RTCRtpReceiver, '_handle_rtp_packet'),
        (RTCRtpReceiver, '_send_rtcp_pli'),
        (RTCDtlsTransport, '_send_rtp'),
        (aioice.ice.Connection, 'get_component_candidates'),
        (aioice.turn.TurnTransport, '_connect'),
    ],
    ids=lambda method: method[1],
)
def test_what_we_await_is_a_coroutine(method: tuple[type, str]) -> None:
    assert inspect.iscoroutinefunction(getattr(*method))


@pytest_asyncio.fixture
async def video() -> AsyncIterator[RTCRtpTransceiver]:
    pc = RTCPeerConnection()
    yield pc.addTransceiver('video')
    await pc.close()


@pytest.mark.parametrize(
    ('owner', 'name'),
    [(owner, name) for owner in ATTRIBUTES for name in sorted(ATTRIBUTES[owner])],
)
async def test_a_private_attribute_is_there(
    video: RTCRtpTransceiver, owner: str, name: str
) -> None:
    owners = {
        'sender': video.sender,
        'receiver': video.receiver,
        'transceiver': video,
        'transport': video.receiver.transport,
        'sctp': rtcsctptransport.RTCSctpTransport(video.receiver.transport),
        'gatherer': video.receiver.transport.transport.iceGatherer,
        'ice': video.receiver.transport.transport,
        'ice connection': video.receiver.transport.transport._connection,
    }
    assert hasattr(owners[owner], name)


async def test_the_senders_header_extensions_are_a_map_that_ours_can_stand_in_for(
    video: RTCRtpTransceiver,
) -> None:
    name = '_RTCRtpSender__rtp_header_extensions_map'
    assert type(getattr(video.sender, name)) is HeaderExtensionsMap
    tag_frames(video.sender, lambda: FrameExtensions())
    assert isinstance(getattr(video.sender, name), HeaderExtensionsMap)
    assert type(getattr(video.sender, name)) is not HeaderExtensionsMap


def test_the_sctp_time_outs_are_module_constants() -> None:
    assert isinstance(rtcsctptransport.SCTP_RTO_MIN, int | float)
    assert isinstance(rtcsctptransport.SCTP_RTO_INITIAL, int | float)
    source = inspect.getsource(rtcsctptransport.RTCSctpTransport)
    assert 'SCTP_RTO_MIN' in source
    assert 'SCTP_RTO_INITIAL' in source


def test_the_questions_for_consent_are_counted_by_module_constants() -> None:
    assert isinstance(aioice.ice.CONSENT_INTERVAL, int | float)
    assert isinstance(aioice.ice.CONSENT_FAILURES, int)
    source = inspect.getsource(aioice.ice.Connection)
    assert 'CONSENT_INTERVAL *' in source
    assert '>= CONSENT_FAILURES' in source


def test_host_addresses_come_from_a_function_that_ice_looks_up_when_it_gathers() -> None:
    assert list(inspect.signature(aioice.ice.get_host_addresses).parameters) == [
        'use_ipv4',
        'use_ipv6',
    ]
    source = inspect.getsource(aioice.ice.Connection)
    assert 'get_host_addresses(' in source
    # Each one is replaced by ours, which has no third parameter.
    assert 'self.get_component_candidates(component=component, addresses=addresses)' in source


@pytest.mark.parametrize('module', [codec_choice, forwarding, gathering, ice_servers, internals])
def test_every_private_name_that_a_module_uses_is_listed_here(module: ModuleType) -> None:
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text('utf-8'))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith('_')
        and not node.attr.startswith('__')
        and not (isinstance(node.value, ast.Name) and node.value.id == 'self')
    }
    listed = set().union(*METHODS.values(), *ATTRIBUTES.values())
    assert used - listed == set()


# --- what it does ----------------------------------------------------------------------------


async def test_a_connection_that_ends_while_it_is_made_leaves_no_traceback() -> None:
    configure_aiortc(loopback=True)
    left_behind: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: left_behind.append(what))
    near, far = RTCPeerConnection(), RTCPeerConnection()
    near.addTransceiver('video')
    near.addTransceiver('audio')
    await near.setLocalDescription(await near.createOffer())
    await far.setRemoteDescription(near.localDescription)
    await far.setLocalDescription(await far.createAnswer())
    # What comes of a peer that leaves during the handshake.
    await far.getTransceivers()[0].receiver.transport.transport.stop()
    await asyncio.gather(near.close(), far.close())
    assert left_behind == []


def test_configuring_twice_changes_nothing() -> None:
    configure_aiortc(loopback=True)
    extensions = list(HEADER_EXTENSIONS['video'])
    addresses = aioice.ice.get_host_addresses
    configure_aiortc(loopback=True)
    assert HEADER_EXTENSIONS['video'] == extensions
    assert aioice.ice.get_host_addresses is addresses
    assert addresses(True, False)[0] == '127.0.0.1'
    assert len({extension.id for extension in extensions}) == len(extensions)
    minimum_s = rtcsctptransport.SCTP_RTO_MIN
    assert minimum_s == pytest.approx(0.2)


def test_the_capture_time_is_ntps_fixed_point() -> None:
    extensions = FrameExtensions.of(1_700_000_000.5)
    assert extensions.playout_delay == b'\0\0\0'
    assert extensions.capture_time == struct.pack('!II', 1_700_000_000 + 2_208_988_800, 2**31)


def peer() -> RTCPeerConnection:
    configure_aiortc(loopback=True)
    # No STUN: nothing of this test leaves the machine.
    return RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )


async def until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - packets of another library tell nobody
            await asyncio.sleep(0.01)


def private(owner: object, name: str) -> Any:
    """Return what aiortc keeps to itself: looking at it is what this module is for."""
    return getattr(owner, name)


class Rig:
    """A robot that sends tagged video, and a forwarder that receives it."""

    def __init__(self) -> None:
        self.robot, self.forwarder = peer(), peer()
        self.capture_s = 1_700_000_000.0
        self.keyframe_requests = 0
        self.packets: list[RtpPacket] = []
        self.ingress: VideoIngress | None = None
        self.egress: VideoEgress | None = None

    async def connect(self) -> None:
        sender = self.robot.addTrack(VideoStreamTrack())
        tag_frames(sender, lambda: FrameExtensions.of(self.capture_s))
        self._make_keyframe = private(sender, '_send_keyframe')
        take_keyframe_requests(sender, self._on_keyframe_request)
        self.forwarder.on('track', self._on_track)
        await self.robot.setLocalDescription(await self.robot.createOffer())
        await self.forwarder.setRemoteDescription(self.robot.localDescription)
        self.video = self.forwarder.getTransceivers()[0]
        prepare_receiving(self.video)
        keep_codecs(self.video, ())
        await self.forwarder.setLocalDescription(await self.forwarder.createAnswer())
        await self.robot.setRemoteDescription(self.forwarder.localDescription)

    def _on_track(self, track: Any) -> None:
        self.ingress = VideoIngress(self.forwarder.getTransceivers()[0].receiver, self._forward)

    def _on_keyframe_request(self) -> None:
        self.keyframe_requests += 1
        self._make_keyframe()

    async def _forward(self, packet: RtpPacket) -> None:
        self.packets.append(packet)
        if self.egress is not None:
            await self.egress.forward(packet)

    async def request_keyframe(self) -> None:
        assert self.ingress is not None
        await self.ingress.request_keyframe()


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.connect()
    yield rig
    await asyncio.gather(rig.robot.close(), rig.forwarder.close())


def frame_of(packet: RtpPacket) -> FrameExtensions:
    extensions: HeaderExtensions = packet.extensions
    return vars(extensions)['frame'] if hasattr(extensions, '__dict__') else extensions.frame


async def test_playout_delay_and_capture_time_arrive_with_every_packet(rig: Rig) -> None:
    await until(lambda: len(rig.packets) > 5)
    assert all(frame_of(packet) == FrameExtensions.of(rig.capture_s) for packet in rig.packets)
    count, rig.capture_s = len(rig.packets), rig.capture_s + 7.25
    later = FrameExtensions.of(rig.capture_s)
    await until(lambda: any(frame_of(packet) == later for packet in rig.packets[count:]))


async def test_a_keyframe_request_reaches_the_callback(rig: Rig) -> None:
    await until(lambda: bool(rig.packets))
    await rig.request_keyframe()
    await until(lambda: rig.keyframe_requests == 1)


async def test_one_codec_is_answered_and_can_be_promised_to_viewers(rig: Rig) -> None:
    await until(lambda: bool(rig.packets))
    assert negotiated_codecs(rig.video) == (VideoCodec.VP8,)
    answer = rig.forwarder.localDescription.sdp
    assert answer.count('a=rtpmap:') == 2, 'the codec and its retransmissions'


async def test_recent_packets_can_be_sent_again_and_others_not(rig: Rig) -> None:
    await until(lambda: len(rig.packets) > 5)
    assert rig.ingress is not None
    last = rig.packets[-1]
    assert rig.ingress.sent(last.sequence_number) is last
    assert rig.ingress.sent((last.sequence_number + 1000) & 0xFFFF) is None
    assert rig.ingress.packets >= len(rig.packets) > 0


async def test_a_lost_packet_is_asked_for_until_it_comes(rig: Rig) -> None:
    await until(lambda: len(rig.packets) > 5)
    receiver = rig.video.receiver
    deliver = vars(receiver)['_handle_rtp_packet']
    original_of = private(rig.ingress, '_original')
    dropped: Counter[int] = Counter()

    async def lose(packet: RtpPacket, arrival_time_ms: int) -> None:
        original = original_of(packet)
        number = 1 if original is None else original.sequence_number
        # The packet itself and its first repetition. aiortc asks again only when it notices
        # another loss, and these are too far apart for that.
        if number % APART == 0 and dropped[number] < 2:
            dropped[number] += 1
            return
        await deliver(packet, arrival_time_ms=arrival_time_ms)

    vars(receiver)['_handle_rtp_packet'] = lose
    # A machine that stands still may let one of them become too old.
    await until(
        lambda: any(dropped[packet.sequence_number] == 2 for packet in list(rig.packets)),
        within_s=3 * PATIENCE_S,
    )


async def test_packets_of_the_transport_are_counted(rig: Rig) -> None:
    await until(lambda: len(rig.packets) > 5)
    before = packets_received(rig.video.receiver)
    assert before > 5
    await until(lambda: packets_received(rig.video.receiver) > before)


async def test_forwarded_video_is_decoded_by_a_viewer_with_its_extensions(rig: Rig) -> None:
    await until(lambda: bool(rig.packets))
    out, viewer = peer(), peer()
    transceiver = out.addTransceiver('video', direction='sendonly')
    assert rig.ingress is not None
    tracks: list[Any] = []
    seen: list[RtpPacket] = []
    viewer.on('track', tracks.append)
    prefer_codecs(transceiver, (VideoCodec.VP8,), ())
    await out.setLocalDescription(await out.createOffer())
    await viewer.setRemoteDescription(out.localDescription)
    prepare_receiving(viewer.getTransceivers()[0])
    receiver = viewer.getTransceivers()[0].receiver
    handle = private(receiver, '_handle_rtp_packet')

    async def look(packet: RtpPacket, arrival_time_ms: int) -> None:
        seen.append(packet)
        await handle(packet, arrival_time_ms=arrival_time_ms)

    vars(receiver)['_handle_rtp_packet'] = look
    await viewer.setLocalDescription(await viewer.createAnswer())
    await out.setRemoteDescription(viewer.localDescription)
    rig.egress = VideoEgress(transceiver, rig.ingress, rig.request_keyframe)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: bool(seen))
            # On a busy machine, the viewer may have missed packets and asked by itself.
            asked = rig.keyframe_requests
            await private(receiver, '_send_rtcp_pli')(seen[-1].ssrc)
            await until(lambda: rig.keyframe_requests > asked)
            picture = await tracks[0].recv()
        assert (picture.width, picture.height) == (640, 480)
        assert frame_of(seen[-1]) == FrameExtensions.of(rig.capture_s)
    finally:
        await asyncio.gather(out.close(), viewer.close())
