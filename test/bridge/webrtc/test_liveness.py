"""Tests of when a link is given up, and of the probe on a plain aiortc peer."""

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
from collections.abc import Callable

from aiortc import RTCPeerConnection, RTCSessionDescription
from hypothesis import given
from hypothesis import strategies as st

from teleop_webrtc_bridge.aiortc_support.sctp import SctpProbe
from teleop_webrtc_bridge.bridge.webrtc.liveness import LinkLiveness, LOST_AFTER_S, ProbeDecision


def run(
    liveness: LinkLiveness, now: float, until_s: float, late_s: float = 0.0
) -> tuple[float, list[float]]:
    """Take turns in silence; return the times of its end and of its probes."""
    probes = []
    while now < until_s:
        verdict = liveness.turn(now)
        if verdict is ProbeDecision.LOST:
            break
        if verdict is ProbeDecision.PROBE:
            probes.append(now)
        now += liveness.delay_s + late_s
    return now, probes


def test_it_probes_at_once() -> None:
    assert LinkLiveness(7.0).turn(7.0) is ProbeDecision.PROBE


def test_silence_ends_it_within_three_seconds_but_not_before_many_probes() -> None:
    liveness = LinkLiveness(0.0)
    liveness.turn(0.0)
    liveness.answered()
    ended_s, probes = run(liveness, 0.0, 60.0)
    assert LOST_AFTER_S < ended_s < 3.0
    assert len(probes) >= 15


def test_answers_keep_it_alive_for_a_probe_a_second() -> None:
    liveness = LinkLiveness(0.0)
    now, probes = 0.0, 0
    while now < 1000.0:
        verdict = liveness.turn(now)
        assert verdict is not ProbeDecision.LOST
        if verdict is ProbeDecision.PROBE:
            probes += 1
            now += 0.05
            liveness.answered()
        now += liveness.delay_s
    assert 800 <= probes <= 1001


def test_a_peer_that_never_answers_is_left_to_ice() -> None:
    ended_s, probes = run(LinkLiveness(0.0), 0.0, 600.0)
    assert ended_s >= 600.0
    assert len(probes) <= 620


def test_the_first_answer_is_sought_urgently() -> None:
    """A probe before the association is lost, and the link may fail right then."""
    _, probes = run(LinkLiveness(0.0), 0.0, 1.0)
    assert len(probes) >= 9


@given(st.floats(0.0, 1e6), st.integers(0, 10))
def test_a_process_that_stood_still_blames_nobody(pause_s: float, turns_before: int) -> None:
    liveness = LinkLiveness(0.0)
    liveness.turn(0.0)
    liveness.answered()
    now = 0.0
    for turn in range(turns_before + 1):
        now += liveness.delay_s + (pause_s if turn == turns_before else 0.0)
        assert liveness.turn(now) is not ProbeDecision.LOST


def test_a_clock_that_steps_back_changes_nothing() -> None:
    liveness = LinkLiveness(100.0)
    liveness.turn(100.0)
    liveness.answered()
    assert liveness.turn(50.0) is ProbeDecision.WAIT
    ended_s, _ = run(liveness, 50.0, 60.0)
    assert LOST_AFTER_S < ended_s - 50.0 < 3.0


# --- the probe -------------------------------------------------------------------------------


async def connect(one: RTCPeerConnection, other: RTCPeerConnection) -> None:
    one.createDataChannel('_sctp_init', negotiated=True, id=0)
    await one.setLocalDescription(await one.createOffer())
    offer = one.localDescription
    await other.setRemoteDescription(RTCSessionDescription(sdp=offer.sdp, type='offer'))
    await other.setLocalDescription(await other.createAnswer())
    answer = other.localDescription
    await one.setRemoteDescription(RTCSessionDescription(sdp=answer.sdp, type='answer'))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110 - aiortc has no event for it
            await asyncio.sleep(0.005)


async def test_a_plain_aiortc_peer_answers_and_its_channels_notice_nothing() -> None:
    robot, peer = RTCPeerConnection(), RTCPeerConnection()
    channels: list[object] = []
    peer.on('datachannel', channels.append)
    try:
        await connect(robot, peer)
        assert robot.sctp is not None
        answers: list[float] = []
        probe = SctpProbe(robot.sctp, answers.append)
        await probe.send(1.0)  # there is no association yet
        await until(lambda: robot.sctp is not None and robot.sctp.state == 'connected')
        for number in range(5):
            await probe.send(float(number))
        await until(lambda: len(answers) == 5)
        assert answers == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert channels == []
        assert robot.connectionState == peer.connectionState == 'connected'
    finally:
        await robot.close()
        await peer.close()
    await probe.send(6.0)  # and none any more
    assert len(answers) == 5
