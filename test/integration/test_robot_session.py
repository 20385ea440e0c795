"""The robot's session on a broker that is old, hostile or failing: a real WebRTC half."""

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
import itertools
import json
from pathlib import Path
from typing import Any

from old_broker import answering, hanging, KEY, NOBODY, old_broker, OldBroker, trickling
import pytest
from turn_server import RELAYED, turn_server
from webrtc_half import configuration, webrtc_half, WebrtcHalf

from teleop_webrtc_bridge.core.codec import MAX_HTTP_BODY_BYTES
from teleop_webrtc_bridge.core.messages import STATE_RELIABLE_BACK, Velocity
from teleop_webrtc_bridge.core.session import BridgeState

pytestmark = pytest.mark.real_programs

BACK_WITHIN_S = 4.0
"""Time for the first back-off and a dial, on a busy test machine."""
CAPTIVE_PORTAL = b'<!DOCTYPE html><html><body>Please log in</body></html>'


@pytest.fixture
async def broker() -> AsyncIterator[OldBroker]:
    async with old_broker() as running:
        yield running


@pytest.fixture
async def robot(broker: OldBroker, tmp_path: Path) -> AsyncIterator[WebrtcHalf]:
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
        await half.connected()
        yield half


async def operate(broker: OldBroker, robot: WebrtcHalf) -> None:
    """Let an operator join, and return when the operator's commands arrive."""
    broker.newest.bridge()
    await robot.until(lambda: robot.state is BridgeState.OPERATED, 'operated')
    await drive(broker, robot, 1)


async def drive(broker: OldBroker, robot: WebrtcHalf, count: int) -> None:
    """Drive until this many more commands have arrived."""
    wanted = len(robot.commands) + count
    async with asyncio.timeout(10.0):
        while len(robot.commands) < wanted:
            broker.newest.drive(Velocity(linear_x=0.25))
            await asyncio.sleep(0.02)


async def test_an_old_broker_is_served_as_ever(broker: OldBroker, robot: WebrtcHalf) -> None:
    session = broker.newest
    assert session.body['robot_id'] == 'go2-a'
    await operate(broker, robot)
    assert {command.velocity.linear_x for command in robot.commands} == {0.25}
    probe = json.dumps({'type': 'ping', 'client_ts': 12.5})
    session.channels['state_reliable'].send(probe)
    beats = len(session.beats_s)
    await robot.until(lambda: len(session.beats_s) >= beats + 4, 'heartbeats')
    label, pong = next(heard for heard in session.heard)
    assert label == 'state_reliable_back'
    assert json.loads(pong)['client_ts'] == 12.5
    gaps = [b - a for a, b in zip(session.beats_s[-4:], session.beats_s[-3:], strict=False)]
    assert min(gaps) > 0.8
    assert max(gaps) < 2.0
    session.ids.clear()
    await robot.until(lambda: robot.state is BridgeState.CONNECTED, 'the operator left')
    session.bridge(first_id=12)
    await robot.until(lambda: robot.state is BridgeState.OPERATED, 'operated again')
    await drive(broker, robot, 5)


async def test_an_offer_that_comes_with_a_heartbeat_is_answered_and_all_goes_on(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    session = broker.newest
    await operate(broker, robot)
    await session.renegotiate()
    async with asyncio.timeout(20.0):
        while not session.answers:  # noqa: ASYNC110 - a stand-in has no event for it
            await asyncio.sleep(0.02)
    assert session.pc.signalingState == 'stable'
    directions = [item.currentDirection for item in session.pc.getTransceivers()]
    assert directions == ['recvonly', 'sendonly']
    frames, heard = session.frames, len(session.heard)
    async with asyncio.timeout(20.0):
        for picture in itertools.count():
            if session.frames > frames + 5 and len(session.heard) > heard:
                break
            robot.show(picture)
            robot.say(STATE_RELIABLE_BACK, b'{"type":"robot_telemetry"}')
            await asyncio.sleep(0.05)
    await drive(broker, robot, 10)
    beats = len(session.beats_s)
    await robot.until(lambda: len(session.beats_s) >= beats + 3, 'heartbeats')
    assert len(session.answers) == 1
    assert robot.state is BridgeState.OPERATED
    assert len(broker.tries_s) == 1


@pytest.mark.parametrize('status', [409, 502])
async def test_a_broker_that_does_not_want_the_answer_any_more_keeps_its_robot(
    broker: OldBroker, robot: WebrtcHalf, status: int
) -> None:
    await operate(broker, robot)
    broker.instead['renegotiate'] = answering({'detail': 'too late'}, status=status)
    await broker.newest.renegotiate()
    beats = len(broker.newest.beats_s)
    await robot.until(lambda: len(broker.newest.beats_s) >= beats + 3, 'heartbeats')
    assert broker.newest.offer is None
    await drive(broker, robot, 10)
    assert robot.state is BridgeState.OPERATED
    assert len(broker.tries_s) == 1


async def test_a_message_that_is_too_large_is_dropped_and_the_next_is_obeyed(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    await operate(broker, robot)
    # Larger than the link between the halves allows, which would be an error there.
    broker.newest.channels['state_reliable'].send('{' + 200_000 * ' ' + '}')
    await robot.until(lambda: robot.counter('oversized') == 1.0, 'the counter')
    assert robot.counter('handler_failures') == 0.0
    await drive(broker, robot, 5)


async def test_a_broker_that_changes_its_mind_all_the_time_is_not_flooded(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    answers = 0

    async def other(request: Any) -> Any:
        nonlocal answers
        answers += 1
        return await answering(NOBODY | {'map_channel_publisher_id': 2 + answers % 100})(request)

    broker.instead['heartbeat'] = other
    beats = len(robot.statuses)
    await robot.until(lambda: len(robot.statuses) >= beats + 3, 'a status a second')
    assert answers < 50


# --- ends -------------------------------------------------------------------------------------


async def test_a_connection_that_the_other_end_closes_is_made_anew(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    assert robot.status is not None
    epoch = robot.status.control_epoch
    _, status = await asyncio.gather(
        broker.newest.pc.close(), robot.in_state(BridgeState.BACKING_OFF)
    )
    assert status.reason == 'the peer connection is closed', 'not found by its silence'
    await robot.connected()
    assert robot.status.control_epoch > epoch
    assert len(broker.sessions) == 2
    assert broker.sessions[0].body['instance_id'] == broker.sessions[1].body['instance_id']


async def test_an_exception_inside_the_connection_is_survived(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    """An in-band channel on a negotiated id raises AssertionError in aiortc and ends it."""
    ended = asyncio.create_task(robot.in_state(BridgeState.BACKING_OFF))
    broker.newest.pc.createDataChannel('trouble', id=0)
    await ended
    await robot.connected()
    assert robot.process.poll() is None
    await operate(broker, robot)


async def test_a_webrtc_process_that_dies_is_followed_by_one_of_the_same_robot(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    robot.statuses.clear()
    robot.kill()
    await robot.connected()
    first, second = (session.body for session in broker.sessions)
    assert first['instance_id'] == second['instance_id']
    assert first['robot_id'] == second['robot_id']


async def test_a_session_that_is_unknown_is_dialled_at_once_but_not_in_a_loop(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    broker.instead['heartbeat'] = answering({'detail': 'Session not found'}, status=404)
    await robot.until(lambda: len(broker.tries_s) >= 2, 'dialled')
    gone_s = broker.newest.created_s
    beats = len(robot.statuses)
    await robot.until(
        lambda: robot.statuses[-1][0] - gone_s > 2.0 and len(robot.statuses) > beats, 'two seconds'
    )
    assert len(broker.tries_s) < 12
    del broker.instead['heartbeat']
    await robot.until(lambda: len(broker.newest.beats_s) >= 2, 'served')
    assert robot.state is BridgeState.CONNECTED
    assert broker.deleted == []


async def test_a_refused_key_ends_the_session_and_is_said(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    await operate(broker, robot)
    broker.instead['heartbeat'] = answering({'detail': 'revoked'}, status=401)
    status = await robot.in_state(BridgeState.REFUSED)
    assert 'API key refused' in status.reason
    assert '127.0.0.1' in status.reason
    pc = broker.newest.pc
    await robot.until(lambda: pc.connectionState in ('closed', 'failed'), 'the end of the video')
    tries = len(broker.tries_s)
    beats = len(robot.statuses)
    await robot.until(lambda: len(robot.statuses) >= beats + 3, 'a status a second')
    assert len(broker.tries_s) == tries


async def test_a_superseded_robot_stays_away_and_says_what_to_change(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    broker.instead['heartbeat'] = answering({'detail': 'superseded'}, status=409)
    status = await robot.in_state(BridgeState.SUPERSEDED)
    assert "robot_id 'go2-a'" in status.reason
    assert 'another robot_id' in status.reason
    beats = len(robot.statuses)
    await robot.until(lambda: len(robot.statuses) >= beats + 3, 'a status a second')
    assert len(broker.tries_s) == 1
    assert broker.deleted == []


async def test_a_lost_connection_that_was_a_takeover_is_told_by_the_goodbye(
    broker: OldBroker, robot: WebrtcHalf
) -> None:
    """The broker also closes the connection, which the robot may notice first."""
    broker.instead['delete'] = answering({'detail': 'superseded'}, status=409)
    told = asyncio.create_task(robot.in_state(BridgeState.SUPERSEDED))
    await asyncio.gather(broker.newest.pc.close(), told)
    beats = len(robot.statuses)
    await robot.until(lambda: len(robot.statuses) >= beats + 3, 'a status a second')
    assert robot.state is BridgeState.SUPERSEDED
    assert len(broker.tries_s) == 1


async def test_retry_after_is_obeyed(broker: OldBroker, tmp_path: Path) -> None:
    broker.instead['create'] = answering({}, status=429, headers={'Retry-After': '2'})
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
        await half.until(lambda: len(broker.tries_s) == 1, 'a first try')
        del broker.instead['create']
        await half.connected()
    assert broker.tries_s[1] - broker.tries_s[0] >= 2.0


async def test_a_redirect_is_not_followed(broker: OldBroker, tmp_path: Path) -> None:
    there = f'{broker.url}/api/v1/sessions'
    broker.instead['create'] = answering({}, status=307, headers={'Location': there})
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
        await half.until(lambda: half.status is not None and half.status.reason, 'a reason')
        assert half.status is not None
        assert 'redirects are refused' in half.status.reason
    assert broker.sessions == []


async def test_an_orderly_end_tells_the_broker(broker: OldBroker, tmp_path: Path) -> None:
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
        await half.connected()
    assert broker.deleted == ['s0']


async def test_a_goodbye_that_nobody_answers_is_bounded(broker: OldBroker, tmp_path: Path) -> None:
    broker.instead['delete'] = hanging
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
        await half.connected()
    assert broker.deleted == ['s0']


# --- wrong answers ----------------------------------------------------------------------------

CMD = 'cmd_channel_subscriber_id'
BACK = 'state_back_channel_publisher_id'


@pytest.mark.parametrize(
    'answer',
    [
        answering(NOBODY | {CMD: 3.0}),
        answering(NOBODY | {CMD: '3'}),
        answering(NOBODY | {CMD: True}),
        answering(NOBODY | {CMD: 0}),
        answering(NOBODY | {CMD: -1}),
        answering(NOBODY | {CMD: 65535}),
        answering(NOBODY | {CMD: 10**30}),
        answering(NOBODY | {CMD: 7, BACK: 7}),
        answering(NOBODY | {CMD: [7]}),
        answering(NOBODY | {'renegotiate_offer': 7}),
        answering(NOBODY | {'control_epoch': 1.5}),
        answering({}),
        answering([]),
        answering(b''),
        answering(CAPTIVE_PORTAL, content_type='text/html'),
        answering(b'{"ack":true,' + b' ' * MAX_HTTP_BODY_BYTES + b'}'),
        answering(b'{"ack":' * 10_000),
        answering({'detail': 'broken'}, status=500),
        answering({}, status=302, headers={'Location': 'http://127.0.0.1:9/'}),
        trickling,
        hanging,
    ],
    ids=[
        *('float', 'string', 'true', 'zero', 'negative', 'too-high', 'absurd', 'twice', 'list'),
        *('offer', 'epoch', 'empty-map', 'not-a-map', 'empty', 'captive-portal', 'huge', 'deep'),
        *('500', 'redirect', 'slow', 'silent'),
    ],
)
async def test_a_wrong_answer_is_a_miss_and_changes_nothing(
    broker: OldBroker, robot: WebrtcHalf, answer: Any
) -> None:
    await operate(broker, robot)
    assert robot.status is not None
    epoch = robot.status.control_epoch
    missed = robot.counter('heartbeats_missed')
    broker.instead['heartbeat'] = answer
    await robot.until(lambda: robot.counter('heartbeats_missed') > missed, 'a miss')
    await drive(broker, robot, 10)
    assert robot.state is BridgeState.OPERATED
    assert robot.status.control_epoch == epoch
    assert len(broker.tries_s) == 1


@pytest.mark.parametrize(
    'urls',
    ['turn:', 'stun:[', 'turn:a:b:c', 'stun:127.0.0.1:9?transport=udp', 'file:///etc/passwd'],
)
async def test_an_address_that_is_no_ice_server_is_left_out(
    broker: OldBroker, tmp_path: Path, urls: str
) -> None:
    broker.instead['turn'] = answering({'ice_servers': [{'urls': urls}] * 20})
    async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
        await half.connected()
    assert len(broker.sessions) == 1


async def test_a_turn_server_of_the_brokers_that_answers_is_used(
    broker: OldBroker, tmp_path: Path
) -> None:
    async with (
        turn_server('anna', 'secret', is_silent=True) as silent,
        turn_server('anna', 'secret', transport='tcp') as turn,
    ):
        server = {'urls': [silent.url, turn.url], 'username': 'anna', 'credential': 'secret'}
        broker.instead['turn'] = answering({'ice_servers': [server]})
        async with webrtc_half(configuration(broker.url, KEY, 'go2-a'), tmp_path) as half:
            await half.connected()
            await half.until(lambda: half.status and half.status.path == 'direct', 'a path')
    host, port = RELAYED
    assert f'{host} {port} typ relay' in broker.newest.body['sdp_offer']
    assert turn.allocations >= 1
    assert 'secret' not in half.log.read_text()
