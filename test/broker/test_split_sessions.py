"""Robots of other makes that have two sessions: detection and reports."""

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

from collections.abc import AsyncIterator
from dataclasses import replace
import logging
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rig import Rig, running

from teleop_webrtc_bridge.broker.media.backend import Arrived
from teleop_webrtc_bridge.broker.registry.sessions import Bridge, NewSession, Session
from teleop_webrtc_bridge.broker.split_sessions import SplitSessions
from teleop_webrtc_bridge.core.messages import ChannelIds

DATA = 'v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n'
VIDEO = 'v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\n'
BOTH = VIDEO + 'm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n'
CAMERA = NewSession(
    session_id='camera',
    owner='alice',
    key_id='k',
    robot_id='go2',
    robot_name='Go2',
    robot_type=None,
    instance_id=None,
    media_id='media of camera',
    created_at='',
    network='192.0.2.7',
    hosts=frozenset({'10.0.0.7'}),
)
WHEELS = replace(CAMERA, session_id='wheels', robot_id='', media_id='media of wheels')
NOTHING = Arrived()
PICTURES = Arrived(video=True)
PONGS = Arrived(answers=True)
TALK = Arrived(answers=True, messages=True)
OTHER_HOST = frozenset({'10.0.0.8'})


def session(identity: NewSession, *, open_since_s: float | None = None) -> Session:
    bridge = None
    if open_since_s is not None:
        ids = ChannelIds(cmd=2, state=3, state_back=4, map=5)
        bridge = Bridge(
            robot_ids=ids, operator_ids=ids, since_s=open_since_s, answered=True, robot_ready=True
        )
    return Session(identity=identity, heartbeat_at_s=0.0, bridge=bridge)


def both(one: Arrived, other: Arrived) -> Arrived:
    return Arrived(
        video=one.video or other.video,
        answers=one.answers or other.answers,
        messages=one.messages or other.messages,
    )


class Watch:
    """Observations of the two sessions over time."""

    def __init__(self, camera: NewSession = CAMERA, wheels: NewSession = WHEELS) -> None:
        self.splits = SplitSessions()
        self.camera = camera
        self.wheels = wheels
        self.seen = {camera.media_id: NOTHING, wheels.media_id: NOTHING}
        self.now_s = 100.0

    def arrives(self, **arrived: Arrived) -> None:
        for name, what in arrived.items():
            media_id = getattr(self, name).media_id
            self.seen[media_id] = both(self.seen[media_id], what)

    def look(self, **open_since_s: float) -> list[Any]:
        return self.splits.look(
            [
                session(self.camera, open_since_s=open_since_s.get('camera')),
                session(self.wheels, open_since_s=open_since_s.get('wheels')),
            ],
            self.seen.get,
            self.now_s,
        )

    def is_split(self) -> bool:
        found = {self.splits.of(it.session_id) for it in (self.camera, self.wheels)}
        assert len(found) == 1
        return found != {None}

    def operate(self, name: str) -> None:
        """Keep a session's channels open for ten seconds."""
        since_s = self.now_s
        self.look(**{name: since_s})
        self.now_s += 10.0
        self.look(**{name: since_s})


@pytest.fixture
def watch() -> Watch:
    return Watch()


# --- one robot -------------------------------------------------------------------------------


def test_offers_that_have_one_half_each_are_enough() -> None:
    watch = Watch(replace(CAMERA, offers_channels=False), replace(WHEELS, offers_video=False))
    assert watch.look() == []  # no picture yet: it has just begun
    watch.arrives(camera=PICTURES)
    (split,) = watch.look()
    assert (split.video.session_id, split.data.session_id) == ('camera', 'wheels')
    assert watch.look() == []  # reported once
    assert watch.is_split()


def test_robots_that_promise_both_are_found_out_once_somebody_has_tried(watch: Watch) -> None:
    watch.arrives(camera=PICTURES)
    watch.operate('wheels')
    watch.arrives(wheels=TALK)
    watch.look()
    assert watch.is_split()  # one machine; the promised picture does not arrive
    watch.operate('camera')
    watch.arrives(camera=PONGS)
    watch.look()
    assert watch.is_split()


def test_machines_that_do_not_say_where_they_are_have_to_be_tried_both() -> None:
    watch = Watch(replace(CAMERA, hosts=frozenset()), replace(WHEELS, hosts=frozenset()))
    watch.arrives(camera=PICTURES, wheels=TALK)
    watch.operate('wheels')
    assert not watch.is_split()
    watch.operate('camera')
    assert watch.is_split()


def test_channels_that_nothing_ever_comes_on_are_not_in_use() -> None:
    watch = Watch(wheels=replace(WHEELS, offers_video=False))
    watch.arrives(camera=PICTURES, wheels=TALK)
    watch.look()
    assert not watch.is_split()
    watch.operate('camera')
    assert watch.is_split()


def test_it_is_over_when_the_missing_half_comes_or_a_session_ends(watch: Watch) -> None:
    watch.arrives(camera=PICTURES)
    watch.operate('wheels')
    assert watch.is_split()
    watch.arrives(wheels=PICTURES)
    watch.look()
    assert not watch.is_split()
    again = Watch()
    again.arrives(camera=PICTURES)
    again.operate('wheels')
    again.splits.look([session(CAMERA)], again.seen.get, again.now_s)
    assert again.splits.of('camera') is None
    assert again.splits.of('wheels') is None


# --- two robots ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'other',
    [
        {'owner': 'bob'},
        {'key_id': 'another'},
        {'network': '192.0.2.8'},
        {'instance_id': 'ours'},
        {'hosts': OTHER_HOST},
    ],
    ids=lambda other: next(iter(other)),
)
def test_robots_that_have_nothing_to_do_with_each_other(other: dict[str, Any]) -> None:
    watch = Watch(wheels=replace(WHEELS, **other))
    watch.arrives(camera=PICTURES, wheels=TALK)
    watch.operate('wheels')
    watch.operate('camera')
    assert not watch.is_split()


@pytest.mark.parametrize('said', [PONGS, TALK])
def test_a_robot_without_camera_beside_one_that_answers(said: Arrived) -> None:
    watch = Watch(wheels=replace(WHEELS, offers_video=False))
    watch.arrives(camera=both(PICTURES, said), wheels=TALK)
    watch.operate('wheels')
    watch.operate('camera')
    assert not watch.is_split()


def test_a_robot_whose_camera_is_off_beside_one_that_talks(watch: Watch) -> None:
    watch.arrives(camera=both(PICTURES, TALK), wheels=TALK)
    watch.operate('wheels')
    assert not watch.is_split()


def test_robots_that_have_just_begun(watch: Watch) -> None:
    watch.look()
    assert not watch.is_split()
    watch.arrives(camera=PICTURES)
    watch.look()
    watch.now_s += 3600.0
    watch.look()
    assert not watch.is_split()  # nobody has tried either
    watch.look(camera=watch.now_s, wheels=watch.now_s)
    watch.now_s += 2.0
    watch.look(camera=watch.now_s - 2.0, wheels=watch.now_s - 2.0)
    assert not watch.is_split()


def test_what_a_backend_cannot_tell_is_not_known(watch: Watch) -> None:
    watch.seen.clear()
    for name in ('wheels', 'camera'):
        watch.operate(name)
    assert not watch.is_split()


def test_each_camera_has_its_own_wheels() -> None:
    cameras = [
        replace(CAMERA, session_id=f'c{n}', media_id=f'mc{n}', offers_channels=False)
        for n in range(2)
    ]
    wheels = [
        replace(WHEELS, session_id=f'w{n}', media_id=f'mw{n}', offers_video=False)
        for n in range(2)
    ]
    splits = SplitSessions()
    found = splits.look([session(it) for it in (*cameras, *wheels)], lambda _: None, 0.0)
    assert [(it.video.session_id, it.data.session_id) for it in found] == [
        ('c0', 'w0'),
        ('c1', 'w1'),
    ]


# --- reports ---------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path / 'state') as rig:
        yield rig


async def test_the_list_the_join_and_the_log_tell_what_to_change(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    robot, alice = rig.robot(), rig.operator()
    with caplog.at_level(logging.WARNING):
        camera = await rig.dial(robot, robot_id='go2', sdp_offer=VIDEO)
        assert 'split' not in (await rig.get(f'/sessions/{camera}/status', alice)).body
        wheels = await rig.dial(robot, sdp_offer=DATA)
        await rig.broker.sweep()
        rows = {row['session_id']: row for row in (await rig.get('/sessions', alice)).body}
    for session_id, other, robot_id, lacks in (
        (camera, wheels, '', 'channels'),
        (wheels, camera, 'go2', 'video'),
    ):
        split = rows[session_id]['split']
        assert 'the same robot_id' in split.pop('hint')
        assert split == {'session_id': other, 'robot_id': robot_id, 'lacks': lacks}
    joined = (await rig.join(wheels, alice)).body
    assert joined['split']['robot_id'] == 'go2'
    # Two robots behind one address may both hide their own addresses.
    assert "robot_id 'go2' has video. They may be one. If both are" in joined['split']['hint']
    bob = rig.operator('bob', tenant='alice')
    watching = (await rig.join(camera, bob, role='viewer')).body
    assert 'a session without robot_id has data channels' in watching['split']['hint']
    told = [it.getMessage() for it in caplog.records if 'split_session' in it.getMessage()]
    assert len(told) == 1
    assert f'video_session={camera}' in told[0]
    assert f'data_session={wheels}' in told[0]
    assert 'the same robot_id' in told[0]
    assert (await rig.call('DELETE', f'/sessions/{camera}', robot)).status == 204
    await rig.broker.sweep()
    assert 'split' not in (await rig.get(f'/sessions/{wheels}/status', alice)).body


async def test_robots_of_two_keys_or_with_both_halves_are_no_news(rig: Rig) -> None:
    alice = rig.operator()
    await rig.dial(rig.robot(), robot_id='a', sdp_offer=VIDEO)
    await rig.dial(rig.robot(), robot_id='b', sdp_offer=DATA)
    one_key = rig.robot()
    await rig.dial(one_key, robot_id='c', sdp_offer=BOTH)
    await rig.dial(one_key, robot_id='d', sdp_offer=DATA)
    await rig.broker.sweep()
    rows = (await rig.get('/sessions', alice)).body
    assert len(rows) == 4
    assert not any('split' in row for row in rows)
