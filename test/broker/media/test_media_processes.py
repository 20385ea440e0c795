"""The media processes: placement of sessions, and the effect of a process that ends."""

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
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import subprocess
import sys

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from programs import free_udp_ports, programs, wait_for
import psutil
import pytest
import pytest_asyncio
from python_operator import operator
from tree import SUPPORT
from waiting import until
from webrtc_half import configuration, webrtc_half

from teleop_webrtc_bridge.broker.identity import Identity, Role
from teleop_webrtc_bridge.broker.media.backend import (
    Arrived,
    DataChannelRequest,
    MediaBug,
    MediaError,
    MediaFull,
    MediaSessionGone,
    NoPublishedTrack,
    StopSeen,
    UnusableSdp,
)
from teleop_webrtc_bridge.broker.media.process_link import NetworkSettings
from teleop_webrtc_bridge.broker.media.processes import MediaProcess, MediaProcesses, Start
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import Velocity

pytestmark = pytest.mark.real_programs

PATIENCE_S = 30.0
HUNG_S = 2.0
"""Shorter than in production; each process reports four times a second."""
BOB = Identity(tenant='yard', sub='bob', role=Role.OPERATOR)


class Running:
    """At most two media processes, and the E-STOPs that they report."""

    def __init__(self, network: NetworkSettings | None = None) -> None:
        self.stops: list[StopSeen] = []
        start = Start(
            include_loopback=True,
            log_level='info',
            hung_s=HUNG_S,
            network=network or NetworkSettings(),
        )
        self.media = MediaProcesses(start, most=2)
        self.task = asyncio.create_task(self.media.run(self.stops.append))


@asynccontextmanager
async def run(running: Running) -> AsyncIterator[Running]:
    await asyncio.sleep(0)  # it begins
    try:
        yield running
    finally:
        await running.media.close()
        running.task.cancel()
        with suppress(asyncio.CancelledError):
            await running.task


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    async with run(Running()) as started:
        yield started


@asynccontextmanager
async def peer(track: VideoStreamTrack | None = None) -> AsyncIterator[RTCPeerConnection]:
    """
    Make an offer, as a robot does.

    :param track: The track of its camera, if it has one.
    """
    pc = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    if track is not None:
        pc.addTrack(track)
    pc.createDataChannel('_sctp_init', negotiated=True, id=0)
    await pc.setLocalDescription(await pc.createOffer())
    try:
        yield pc
    finally:
        await pc.close()


async def connect(
    media: MediaProcesses, pc: RTCPeerConnection, *, beside: str | None = None
) -> str:
    session = await media.new_session(pc.localDescription.sdp, beside=beside)
    answer = RTCSessionDescription(sdp=session.sdp_answer, type='answer')
    await pc.setRemoteDescription(answer)
    await media.connected(session.media_id)
    return session.media_id


def children(pid: int) -> list[psutil.Process]:
    """Return the media processes of a broker."""
    return [
        child
        for child in psutil.Process(pid).children()
        if 'teleop_webrtc_bridge.broker.media.process' in child.cmdline()
    ]


async def test_robots_are_spread_and_operators_are_placed_beside_them(running: Running) -> None:
    async with peer() as first, peer() as second, peer() as third, peer() as person:
        robots = [await connect(running.media, pc) for pc in (first, second, third)]
        assert len(children(os.getpid())) == 2  # no third one: two is the most
        # Only sessions in the same process can subscribe to each other.
        operator_id = await connect(running.media, person, beside=robots[1])
        state = DataChannelRequest(label='state_reliable', ordered=True, max_retransmits=None)
        await running.media.new_data_channels(robots[1], [state])
        from_robot = DataChannelRequest(
            label='state_reliable', ordered=True, max_retransmits=None, publisher=robots[1]
        )
        ids = await running.media.new_data_channels(operator_id, [from_robot])
        assert ids['state_reliable'] > 1


async def test_robots_that_dial_at_once_are_spread_too(running: Running) -> None:
    async with peer() as first, peer() as second:
        await asyncio.gather(*(connect(running.media, pc) for pc in (first, second)))
        assert len(children(os.getpid())) == 2


async def test_refusals_cross_the_link_as_what_they_are(running: Running) -> None:
    media = running.media
    with pytest.raises(UnusableSdp):
        await media.new_session('v=0\r\nm=video nonsense\r\n')
    with pytest.raises(MediaSessionGone):
        await media.new_session('v=0\r\n', beside='nobody')
    with pytest.raises(MediaSessionGone):
        await media.pull_video('nobody', publisher='nobody')
    async with peer() as robot, peer() as person:
        robot_id = await connect(media, robot)
        person_id = await connect(media, person, beside=robot_id)
        with pytest.raises(NoPublishedTrack):
            await media.pull_video(person_id, publisher=robot_id)
        await media.close_session(person_id)
        assert media.last_heard_s(person_id) is None
        assert media.last_heard_s(robot_id) is not None


async def test_what_a_robot_has_sent_is_told(running: Running) -> None:
    media = running.media
    async with peer(VideoStreamTrack()) as robot, peer() as person:
        robot_id = await connect(media, robot)
        person_id = await connect(media, person, beside=robot_id)
        await until(lambda: media.arrived(robot_id) == Arrived(video=True))
        back = DataChannelRequest(label='state_reliable_back', ordered=True, max_retransmits=None)
        ids = await media.new_data_channels(robot_id, [back])
        channel = robot.createDataChannel(
            'state_reliable_back', negotiated=True, id=ids['state_reliable_back']
        )
        await until(lambda: channel.readyState == 'open')
        channel.send('{"type": "pong", "client_ts": 1.0, "robot_ts": 2.0}')
        await until(lambda: media.arrived(robot_id) == Arrived(video=True, answers=True))
        channel.send(b'{"type": "robot_telemetry", "cmd": null}')
        await until(
            lambda: media.arrived(robot_id) == Arrived(video=True, answers=True, messages=True)
        )
        assert media.arrived(person_id) is None
        assert media.arrived('nobody') is None


async def test_a_process_that_dies_takes_its_own_sessions_along_and_comes_back(
    running: Running,
) -> None:
    media = running.media
    async with peer() as first, peer() as second, peer() as third:
        gone, kept = await connect(media, first), await connect(media, second)
        doomed, _ = children(os.getpid())
        doomed.send_signal(signal.SIGKILL)
        await until(lambda: media.last_heard_s(gone) is None)
        assert media.last_heard_s(kept) is not None
        with pytest.raises(MediaError):
            await media.pull_video(gone, publisher=gone)
        # Its successor has the fewest robots.
        third_id = await connect(media, third)
        await until(lambda: len(children(os.getpid())) == 2)
        assert media.last_heard_s(third_id) is not None
        assert media.last_heard_s(kept) is not None


async def test_processes_share_a_range_of_ports() -> None:
    ports = free_udp_ports(2)
    network = NetworkSettings(udp_ports=ports)
    async with run(Running(network)) as started, peer() as first, peer() as second:
        media = started.media
        robots = [await connect(media, pc) for pc in (first, second)]
        assert len(children(os.getpid())) == 2
        async with peer() as third:
            with pytest.raises(MediaFull, match=f'udp_ports {ports[0]}-{ports[1]} are taken'):
                await connect(media, third)
        # The ports of a process that has died are free for the next one.
        doomed = children(os.getpid())[0]
        doomed.send_signal(signal.SIGKILL)
        await until(lambda: any(media.last_heard_s(robot) is None for robot in robots))
        async with peer() as third:
            await connect(media, third)


async def test_a_process_that_hangs_is_replaced(running: Running) -> None:
    async with peer() as robot, peer() as again:
        robot_id = await connect(running.media, robot)
        (hung,) = children(os.getpid())
        hung.send_signal(signal.SIGSTOP)
        await until(lambda: running.media.last_heard_s(robot_id) is None)
        await connect(running.media, again)
        assert hung.pid not in [child.pid for child in children(os.getpid())]


async def test_what_nobody_waits_for_any_more_is_closed(running: Running) -> None:
    media = running.media
    async with peer() as robot, peer() as person:
        robot_id = await connect(media, robot)
        (process,) = children(os.getpid())
        process.send_signal(signal.SIGSTOP)
        joining = asyncio.create_task(
            media.new_session(person.localDescription.sdp, beside=robot_id)
        )
        await asyncio.sleep(0)
        joining.cancel()
        sockets = len(process.net_connections('udp'))
        process.send_signal(signal.SIGCONT)
        # Calls are answered in order: by now the session was created and closed again.
        with pytest.raises(NoPublishedTrack):
            await media.pull_video(robot_id, publisher=robot_id)
        await until(lambda: len(process.net_connections('udp')) == sockets)


async def test_who_never_connects_takes_up_no_calls(running: Running) -> None:
    media = running.media
    async with peer() as robot, peer() as another, peer() as silent:
        robot_id = await connect(media, robot)
        silent_id = (
            await media.new_session(silent.localDescription.sdp, beside=robot_id)
        ).media_id
        waiting = [asyncio.create_task(media.connected(silent_id)) for _ in range(1000)]
        await asyncio.sleep(0)
        # Calls are served as before, and those that wait learn of the end.
        await connect(media, another, beside=robot_id)
        await media.close_session(silent_id)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {MediaSessionGone}


async def test_a_process_that_is_starting_is_passed_over_for_one_that_is_ready(
    running: Running,
) -> None:
    media = running.media
    async with peer() as first, peer() as second, peer() as third, peer() as fourth:
        await connect(media, first)
        lost_id = await connect(media, second)
        _, doomed = sorted(children(os.getpid()), key=lambda child: child.create_time())
        doomed.send_signal(signal.SIGKILL)
        await until(lambda: media.last_heard_s(lost_id) is None)
        # At once, although the other process has a robot: no need to wait for a successor.
        third_id = await connect(media, third)
        fourth_id = await connect(media, fourth, beside=third_id)
        assert media.last_heard_s(fourth_id) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(Start):
    """A program that does not start."""

    def command(self, link: int) -> list[str]:
        return ['/no/such/program']


@pytest.mark.parametrize(
    'start',
    [
        Missing(include_loopback=True, log_level='info'),
        Start(include_loopback=True, log_level='info', program='no.such.module'),
    ],
)
async def test_a_program_that_never_starts_is_an_error_of_the_installation(start: Start) -> None:
    with pytest.raises(ConfigurationError, match='not usable'):
        await MediaProcess(start, lambda stop: None, must_start=True).run()
    # Later processes are retried for ever: memory may have been short.
    further = MediaProcess(start, lambda stop: None)
    living = asyncio.create_task(further.run())
    await asyncio.wait([living], timeout=1.5)
    assert not living.done()
    await further.close()
    await living


async def test_an_error_of_ours_is_none_of_the_callers(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PYTHONPATH', str(SUPPORT))
    program = 'media_process_with_a_bug'
    process = MediaProcess(
        Start(include_loopback=True, log_level='info', program=program), running.stops.append
    )
    living = asyncio.create_task(process.run())
    with pytest.raises(MediaBug, match='ours'):
        await process.call('new_session', sdp_offer='', beside=None)
    await process.close()
    await living


async def test_an_estop_is_told_of_with_who_pressed_it(running: Running) -> None:
    media = running.media
    async with peer() as robot, peer() as person:
        robot_id = await connect(media, robot)
        person_id = await connect(media, person, beside=robot_id)
        state = DataChannelRequest(
            label='state_reliable', ordered=True, max_retransmits=None, by=BOB
        )
        ids = await media.new_data_channels(person_id, [state])
        channel = person.createDataChannel(
            'state_reliable', negotiated=True, id=ids['state_reliable']
        )
        await until(lambda: channel.readyState == 'open')
        channel.send('{"type":"estop","nonce":1}')
        await until(lambda: running.stops)
    assert running.stops == [StopSeen(media_id=person_id, by=BOB, is_release=False)]


# --- with the whole broker ---------------------------------------------------------------------


def test_the_front_of_the_broker_loads_no_codec_and_no_webrtc() -> None:
    code = (
        'import sys, teleop_webrtc_bridge.broker.main as main; assert main.MediaProcesses;'
        'print(sorted({"aiortc", "aioice", "av", "numpy"} & set(sys.modules)))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'


def test_media_processes_die_with_a_broker_that_is_killed(tmp_path: Path) -> None:
    with programs(tmp_path) as started:
        broker = started.start_broker()
        (child,) = wait_for(lambda: children(broker.program.pid))
        broker.program.process.kill()
        wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_a_robot_whose_media_process_dies_is_driven_again_and_others_never_stop(
    tmp_path: Path,
) -> None:
    with programs(tmp_path) as started:
        settings = tmp_path / 'broker.yaml'
        settings.write_text('media_processes: 2\n')
        broker = await asyncio.to_thread(started.start_broker, '--config', str(settings))
        key = broker.key_file.read_text().strip()
        async with (
            webrtc_half(configuration(broker.url, key, 'one'), tmp_path) as one,
            operator(broker.url, broker.token, with_video=False) as person,
        ):
            await one.connected()
            async with webrtc_half(configuration(broker.url, key, 'two'), tmp_path) as two:
                await two.connected()
                await person.connect(await person.wait_for_robot('one'))
                assert one.status is not None
                assert two.status is not None
                epoch, doomed = one.status.control_epoch, two.status
                _, second = sorted(children(broker.program.pid), key=lambda it: it.create_time())
                second.send_signal(signal.SIGKILL)
                await two.until(lambda: two.status is not doomed, 'news')
                seen = len(one.commands)
                async with asyncio.timeout(PATIENCE_S):
                    while broker.program.output().count('event=session_idle') < 3:
                        person.drive(Velocity(linear_x=0.1))
                        await asyncio.sleep(0.02)
                assert len(one.commands) > seen
                assert one.status.control_epoch == epoch
                async with operator(broker.url, broker.token, with_video=False) as other:
                    await other.connect(await other.wait_for_robot('two'))
