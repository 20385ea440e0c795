"""Unusable session descriptions, given to a real peer connection."""

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
import re

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.sdp import SessionDescription
from descriptors import open_descriptors
import pytest

from teleop_webrtc_bridge.aiortc_support.internals import configure_aiortc
from teleop_webrtc_bridge.broker.media.backend import UnusableSdp
from teleop_webrtc_bridge.broker.media.peer_session import PeerSession

PATIENCE_S = 20.0
#: A change to a valid description → a part of the error message.
CHANGES = {
    'no fingerprint': (r'a=fingerprint:.*\r\n', '', 'a=fingerprint is missing'),
    'another hash': (r'sha-\d+', 'sha-1', 'a=fingerprint is missing; allowed: sha-256'),
    'short fingerprint': (r'(sha-256 ..:..).*', r'\1', 'allowed: 32 bytes'),
    'no setup': (r'a=setup:.*\r\n', '', 'a=setup is missing'),
    'no user': (r'a=ice-ufrag:.*\r\n', '', 'a=ice-ufrag or a=ice-pwd is missing'),
    'no password': (r'a=ice-pwd:.*\r\n', '', 'a=ice-ufrag or a=ice-pwd is missing'),
    'no name': (r'a=mid:.*\r\n', '', 'a=mid is missing'),
    'one name': (r'a=mid:.*\r\n', 'a=mid:0\r\n', 'two sections have the same a=mid'),
    'no group': (r'a=group:BUNDLE.*\r\n', '', 'a=group:BUNDLE is missing'),
    'unknown name': (r'BUNDLE 0', 'BUNDLE nobody 0', 'a=group:BUNDLE must name all sections'),
    'other order': (r'BUNDLE 0 1', 'BUNDLE 1 0', 'a=group:BUNDLE must name all sections'),
    'two groups': (r'(a=group.*\r\n)', r'\1\1', 'more than one a=group:BUNDLE'),
    'no multiplexing': (r'a=rtcp-mux\r\n', '', 'a=rtcp-mux is missing'),
    'no direction': (r'a=(send|recv)only\r\n', '', 'the direction is missing'),
    'no codec': (r'a=(rtpmap|fmtp|rtcp-fb):.*\r\n', '', 'it has no codec that is supported here'),
    'no mode': (r'packetization-mode=1', 'packetization-mode', 'packetization-mode None'),
    'rejected': (r'm=video \d+', 'm=video 0', 'port 0 rejects it'),
    'small messages': (r'max-message-size:\d+', 'max-message-size:9', 'at least 32768'),
    'no port': (r'a=sctp-port:.*\r\n', '', 'no usable a=sctp-port'),
}


@pytest.fixture(autouse=True)
def configured(caplog: pytest.LogCaptureFixture) -> None:
    configure_aiortc(loopback=True)
    caplog.set_level(logging.WARNING)


@asynccontextmanager
async def clean(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Check that the block leaves no task, no socket and no traceback."""
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, it: problems.append(it))
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    yield
    async with asyncio.timeout(PATIENCE_S):
        while asyncio.all_tasks() != tasks:  # noqa: ASYNC110 - tasks of aiortc
            await asyncio.sleep(0.01)
    assert open_descriptors() <= descriptors
    assert problems == []
    assert [record for record in caplog.records if record.exc_info] == []


def connection() -> RTCPeerConnection:
    return RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )


async def robots_offer(pc: RTCPeerConnection) -> str:
    transceiver = pc.addTransceiver('video', direction='sendonly')
    codecs = RTCRtpSender.getCapabilities('video').codecs
    transceiver.setCodecPreferences(
        [it for it in codecs if it.mimeType in ('video/H264', 'video/VP8')]
    )
    pc.createDataChannel('_sctp_init', negotiated=True, id=0)
    await pc.setLocalDescription(await pc.createOffer())
    return str(pc.localDescription.sdp)


def session() -> PeerSession:
    return PeerSession(lambda media_id: None)


async def connected(pc: RTCPeerConnection, peer: PeerSession, offer: str) -> None:
    answer = await peer.answer(offer)
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type='answer'))
    async with asyncio.timeout(PATIENCE_S):
        while pc.connectionState != 'connected' or not peer.is_connected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize('change', CHANGES)
async def test_an_unusable_offer_is_refused_with_a_reason_and_leaves_nothing(
    change: str, caplog: pytest.LogCaptureFixture
) -> None:
    pattern, replacement, reason = CHANGES[change]
    async with clean(caplog):
        pc = connection()
        offer = await robots_offer(pc)
        with pytest.raises(UnusableSdp) as refusal:
            await session().answer(re.sub(pattern, replacement, offer))
        assert reason in str(refusal.value)
        await pc.close()


async def test_sections_that_do_not_agree_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with clean(caplog):
        pc = connection()
        offer = await robots_offer(pc)
        await pc.close()
        first, second = (
            offer[: offer.index('m=application')],
            offer[offer.index('m=application') :],
        )
        for other in (
            second.replace('setup:actpass', 'setup:active'),
            re.sub(r'(sha-256 )..:..', r'\g<1>00:00', second),
        ):
            with pytest.raises(UnusableSdp, match='different a=setup or a=fingerprint'):
                await session().answer(first + other)
        third = first.replace('BUNDLE 0 1', 'BUNDLE 0 1 2') + second
        with pytest.raises(UnusableSdp, match='more than one application section'):
            await session().answer(third + second.replace('mid:1', 'mid:2'))


async def test_a_bundled_section_may_have_no_port_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with clean(caplog):
        pc, peer = connection(), session()
        offer = await robots_offer(pc)
        await peer.answer(
            re.sub(r'm=application \d+(.*\r\n)', r'm=application 0\1a=bundle-only\r\n', offer)
        )
        await peer.close()
        await pc.close()


async def test_a_peer_that_names_no_address_connects(caplog: pytest.LogCaptureFixture) -> None:
    async with clean(caplog):
        pc, peer = connection(), session()
        offer = await robots_offer(pc)
        await connected(pc, peer, re.sub(r'a=candidate:.*\r\n', '', offer))
        await peer.close()
        await pc.close()


async def test_after_an_unusable_answer_a_good_one_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with clean(caplog):
        robots, robot, persons, person = connection(), session(), connection(), session()
        await connected(robots, robot, await robots_offer(robots))
        persons.addTransceiver('video', direction='recvonly')
        persons.createDataChannel('_sctp_init')
        await persons.setLocalDescription(await persons.createOffer())
        await connected(persons, person, persons.localDescription.sdp)
        offer = await person.pull_video(robot)
        await persons.setRemoteDescription(RTCSessionDescription(sdp=offer, type='offer'))
        await persons.setLocalDescription(await persons.createAnswer())
        good = persons.localDescription.sdp
        for change in ('no fingerprint', 'no codec', 'rejected', 'no name', 'no direction'):
            pattern, replacement, reason = CHANGES[change]
            with pytest.raises(UnusableSdp) as refusal:
                await person.take_answer(re.sub(pattern, replacement, good))
            assert reason in str(refusal.value)
        for bad, reason in (
            (good.replace('a=setup:active', 'a=setup:actpass'), 'active or passive'),
            (good.replace('a=setup:passive', 'a=setup:actpass'), 'active or passive'),
            (good.replace('a=recvonly', 'a=sendrecv'), 'allowed: recvonly or inactive'),
            (good.replace('mid:0', 'mid:9').replace('LE 0', 'LE 9'), 'those of the description'),
            (good[: good.index('m=application')].replace('E 0 1', 'E 0'), 'those of the descript'),
        ):
            if bad == good:
                continue
            with pytest.raises(UnusableSdp) as refusal:
                await person.take_answer(bad)
            assert reason in str(refusal.value)
        assert await person.pull_video(robot) == offer
        await person.take_answer(good)
        with pytest.raises(UnusableSdp, match='no answer is expected'):
            await person.take_answer(good)
        assert person.is_connected
        for end in (person, robot, persons, robots):
            await end.close()


# --- what is not the caller's fault --------------------------------------------------------------


async def test_a_bug_while_an_offer_is_answered_is_no_refusal_and_leaves_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def create_answer(self: RTCPeerConnection) -> None:
        raise AttributeError('ours')

    monkeypatch.setattr(RTCPeerConnection, 'createAnswer', create_answer)
    async with clean(caplog):
        pc = connection()
        with pytest.raises(AttributeError, match='ours'):
            await session().answer(await robots_offer(pc))
        await pc.close()


async def test_a_bug_while_an_answer_is_taken_is_no_refusal_and_ends_the_session(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []
    async with clean(caplog):
        robots, robot, persons = connection(), session(), connection()
        person = PeerSession(ended.append)
        await robot.answer(await robots_offer(robots))
        await person.answer(await robots_offer(persons))
        await person.pull_video(robot)

        async def set_remote(self: RTCPeerConnection, description: object) -> None:
            raise KeyError('ours')

        monkeypatch.setattr(RTCPeerConnection, 'setRemoteDescription', set_remote)
        with pytest.raises(KeyError, match='ours'):
            await person.take_answer(
                (await person.pull_video(robot))
                .replace('sendonly', 'recvonly')
                .replace('actpass', 'active')
            )
        assert ended == [person.media_id]
        for end in (person, robot, persons, robots):
            await end.close()


async def test_what_breaks_while_a_connection_is_made_is_logged_and_ends_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(self: object, parameters: object) -> None:
        raise LookupError('ours')

    monkeypatch.setattr(RTCIceTransport, 'start', start)
    ended: list[str] = []
    pc, peer = connection(), PeerSession(ended.append)
    await peer.answer(await robots_offer(pc))
    async with asyncio.timeout(PATIENCE_S):
        while not ended:  # noqa: ASYNC110 - the connection's own event
            await asyncio.sleep(0.01)
    assert ended == [peer.media_id]
    assert 'event=connecting_failed' in caplog.text
    assert 'LookupError: ours' in caplog.text
    await peer.close()
    await pc.close()


@pytest.mark.parametrize('kind', ['audio', 'video'])
@pytest.mark.parametrize('direction', ['recvonly', 'sendonly', 'sendrecv'])
async def test_a_section_of_unknown_codecs_is_inactive_and_the_channels_are_used(
    kind: str, direction: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with clean(caplog):
        pc, peer = connection(), session()
        pc.addTransceiver(kind, direction=direction)
        pc.createDataChannel('_sctp_init', negotiated=True, id=0)
        await pc.setLocalDescription(await pc.createOffer())
        offer = str(pc.localDescription.sdp)
        unknown = re.sub(r'(a=rtpmap:\d+ )(?!rtx)\w+', r'\1AV9', offer)
        answer = await peer.answer(unknown)
        section, _ = SessionDescription.parse(answer).media
        offered, _ = SessionDescription.parse(unknown).media
        assert section.direction == 'inactive'
        assert section.fmt
        assert set(section.fmt) <= set(offered.fmt)
        assert {codec.name for codec in section.rtp.codecs} <= {'AV9', 'rtx'}
        assert peer.video is None
        assert peer.video_codecs == (() if kind == 'video' else None)
        known = re.sub('AV9', 'opus' if kind == 'audio' else 'VP8', answer)
        await pc.setRemoteDescription(RTCSessionDescription(sdp=known, type='answer'))
        async with asyncio.timeout(PATIENCE_S):
            await peer.connected()
        await peer.close()
        await pc.close()
