"""The drive thread and its link, over a real socket pair, without ROS."""

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

from collections.abc import Callable, Iterator
import json
import socket
import time
from typing import Any

import pytest

from teleop_webrtc_bridge.bridge.link.packets import (
    decode,
    encode,
    MAX_PACKET_BYTES,
    Received,
    Send,
    Show,
    Shutdown,
    Status,
)
from teleop_webrtc_bridge.bridge.ros.drive import DriveThread
from teleop_webrtc_bridge.core.codec import encode_drive_command
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    Origin,
    OriginRole,
    STATE_RELIABLE,
    STATE_RELIABLE_BACK,
    Velocity,
)
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, GateLimits
from teleop_webrtc_bridge.core.session import BridgeState

PATIENCE_S = 20.0
ZERO = Velocity()


def until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, 'the condition was not met in time'
        time.sleep(0.005)


class Robot:
    """A drive thread, the other end of its link, and the published velocities."""

    def __init__(self, timeout_s: float) -> None:
        self.published: list[Velocity] = []
        limits = GateLimits(command_timeout_s=timeout_s, max_axes=(1.0, 0.5, 0.0, 0.0, 0.0, 1.5))
        self.thread = DriveThread(
            CommandGate(limits),
            publish=self.published.append,
            on_change=lambda: None,
            cameras=('front', 'rear'),
            clock_ahead_s=0.0,
        )
        self.link, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.setblocking(False)
        self._theirs.setblocking(False)
        self.thread.use_link(self._theirs)
        self._seq = 0

    def say(self, payload: bytes, label: str, *, arrival_s: float | None = None) -> None:
        arrival_s = time.monotonic() if arrival_s is None else arrival_s
        packet = Received(label=label, payload=payload, arrival_s=arrival_s)
        self.link.send(encode(packet))

    def drive(self, speed: float, *, arrival_s: float | None = None) -> None:
        self._seq += 1
        command = DriveCommand(
            seq=self._seq,
            stamp_s=time.monotonic(),
            frame_id='',
            velocity=Velocity(linear_x=speed),
        )
        self.say(encode_drive_command(command), CMD_UNRELIABLE, arrival_s=arrival_s)

    def fill_link(self) -> None:
        """Fill the link, so that the thread cannot send."""
        try:
            while True:
                self._theirs.send(encode(Shutdown()))
        except BlockingIOError:
            return

    def replace_webrtc_half(self) -> None:
        self.link.close()
        until(lambda: not self.thread.snapshot.link_up)
        self.link, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.setblocking(False)
        self._theirs.setblocking(False)
        self.thread.use_link(self._theirs)

    def shown(self) -> list[tuple[str, ...]]:
        """Return which cameras the WebRTC half was told to show since the last call."""
        told = []
        while True:
            try:
                packet = decode(self.link.recv(MAX_PACKET_BYTES))
            except BlockingIOError:
                return told
            if isinstance(packet, Show):
                told.append(packet.cameras)

    def moved(self) -> list[float]:
        """Return the speeds that were published, without zeros."""
        return [velocity.linear_x for velocity in self.published if not velocity.is_zero()]

    def close(self) -> None:
        if self.thread.is_alive():
            self.thread.end()
        self.link.close()
        self._theirs.close()


@pytest.fixture
def robot(request: pytest.FixtureRequest) -> Iterator[Robot]:
    # Long, so that a busy machine does not stop the robot for silence.
    one = Robot(getattr(request, 'param', PATIENCE_S))
    yield one
    one.close()


def test_of_the_commands_that_wait_the_newest_alone_is_published(robot: Robot) -> None:
    for number in range(100):
        robot.drive(number / 100)
    robot.thread.start()
    until(robot.moved)
    robot.thread.end()
    assert robot.moved() == [0.99]
    assert robot.thread.snapshot.counters['accepted'] == 100


def test_an_estop_between_them_stops_at_once(robot: Robot) -> None:
    for number in range(100):
        robot.drive(number / 100)
    robot.say(json.dumps({'type': 'estop', 'nonce': 1}).encode(), STATE_RELIABLE)
    for number in range(100):
        robot.drive(number / 100)
    robot.thread.start()
    until(lambda: robot.thread.snapshot.estopped)
    assert robot.moved() == []
    assert robot.published[0] == ZERO


@pytest.mark.parametrize('robot', [0.25], indirect=True)
def test_a_command_from_the_future_does_not_put_off_the_stop(robot: Robot) -> None:
    robot.thread.start()
    robot.drive(0.0)
    robot.drive(0.5, arrival_s=time.monotonic() + 3600.0)
    until(robot.moved)
    until(lambda: robot.published[-1] == ZERO)


def test_a_stalled_webrtc_half_costs_telemetry_before_acknowledgements(robot: Robot) -> None:
    status = Status(state=BridgeState.OPERATED, reason='', control_epoch=1, counters={})
    robot.thread.start()
    robot.link.send(encode(status))
    until(lambda: robot.thread.snapshot.status.state is BridgeState.OPERATED)

    def lost() -> int:
        """Ask for the counters anew."""
        robot.thread.request(lambda gate, now: None)
        return robot.thread.snapshot.counters.get('telemetry_lost', 0)

    until(lambda: lost() > 0)
    for nonce in range(20):
        robot.say(json.dumps({'type': 'estop', 'nonce': nonce}).encode(), STATE_RELIABLE)
    sent: list[Send] = []

    def acknowledged() -> list[int]:
        while True:
            try:
                packet = decode(robot.link.recv(MAX_PACKET_BYTES))
            except BlockingIOError:
                break
            assert isinstance(packet, Send)
            sent.append(packet)
        return [json.loads(send.payload)['nonce'] for send in sent if send.urgent]

    until(lambda: acknowledged() == list(range(20)))
    assert all(send.label == STATE_RELIABLE_BACK for send in sent if send.urgent)
    assert 'link_full' not in robot.thread.snapshot.counters


BUTTON = Origin(sub='/teleop_bridge/estop_in', role=OriginRole.ROBOT)
SERVICE = Origin(sub='/teleop_bridge/set_estop', role=OriginRole.ROBOT)


def test_an_estop_of_the_robots_side_is_published_before_anybody_is_told(robot: Robot) -> None:
    robot.thread.start()
    published: list[int] = []
    robot.drive(0.0)
    robot.drive(0.5)
    until(robot.moved)
    robot.thread.press_estop(BUTTON, lambda: published.append(len(robot.published)))
    until(lambda: robot.thread.snapshot.cause)
    assert robot.published[published[0] - 1] == ZERO
    assert robot.thread.snapshot.latch == 1
    assert robot.thread.snapshot.cause is not None
    assert robot.thread.snapshot.cause.by == BUTTON


def test_who_pressed_and_who_released_is_told_whoever_it_was(robot: Robot) -> None:
    def say(kind: str, sub: str, role: str) -> None:
        by = {'sub': sub, 'role': role}
        robot.say(json.dumps({'type': kind, 'nonce': 1, 'by': by}).encode(), STATE_RELIABLE)

    def holder() -> str | None:
        cause = robot.thread.snapshot.cause
        return None if cause is None else str(cause.by)

    robot.thread.start()
    say('estop', 'ann', 'viewer')
    until(lambda: holder() == 'ann (viewer)')
    robot.thread.press_estop(BUTTON)
    robot.thread.release_estop(SERVICE)
    until(lambda: holder() is None)
    robot.thread.press_estop(SERVICE)
    until(lambda: holder() == '/teleop_bridge/set_estop (robot)')
    say('estop_clear', 'ben', 'operator')
    until(lambda: not robot.thread.snapshot.estopped)
    assert holder() is None
    told = [
        (event.action.value, event.latch, event.by.sub)
        for event in robot.thread.take_estop_events()
    ]
    assert told == [
        ('estop', 1, 'ann'),
        ('estop_again', 1, BUTTON.sub),
        ('estop_released', 1, SERVICE.sub),
        ('estop', 2, SERVICE.sub),
        ('estop_released', 2, 'ben'),
    ]


def operated(epoch: int) -> bytes:
    status = Status(state=BridgeState.OPERATED, reason='', control_epoch=epoch, counters={})
    return encode(status)


def test_what_is_shown_is_told_once_to_each_webrtc_half(robot: Robot) -> None:
    robot.thread.start()
    robot.thread.show(('rear', 'front'))
    until(lambda: robot.shown() == [('rear', 'front')])
    robot.replace_webrtc_half()
    until(lambda: robot.shown() == [('rear', 'front')])
    robot.link.send(operated(1))
    until(lambda: robot.thread.snapshot.status.control_epoch == 1)
    assert robot.shown() == []


def test_a_webrtc_half_that_stalls_is_told_later_what_to_show(robot: Robot) -> None:
    robot.fill_link()
    robot.thread.show(('rear',))
    robot.thread.start()
    until(lambda: robot.thread.snapshot.counters.get('link_full'))
    robot.shown()
    # It reads again, and goes on to say how it is, as it does each second.
    robot.link.send(operated(1))
    until(lambda: robot.shown() == [('rear',)])


def test_each_operator_begins_with_the_first_camera(robot: Robot) -> None:
    def select(name: str) -> None:
        message = json.dumps({'type': 'camera_select', 'cams': [name]}).encode()
        robot.say(message, STATE_RELIABLE)

    robot.thread.start()
    assert robot.thread.snapshot.selected == ('front',)
    robot.link.send(operated(1))
    select('rear')
    until(lambda: robot.thread.snapshot.selected == ('rear',))
    robot.link.send(operated(2))
    until(lambda: robot.thread.snapshot.selected == ('front',))
    select('rear')
    until(lambda: robot.thread.snapshot.selected == ('rear',))
    robot.replace_webrtc_half()
    until(lambda: robot.thread.snapshot.selected == ('front',))


def test_a_link_that_was_asked_to_end_ends_for_that_reason_and_the_next_one_by_itself(
    robot: Robot,
) -> None:
    def is_asked_to_end() -> bool:
        try:
            return decode(robot.link.recv(MAX_PACKET_BYTES)) == Shutdown()
        except BlockingIOError:
            return False

    robot.thread.start()
    robot.thread.say_goodbye('a new session was requested')
    until(is_asked_to_end)
    robot.replace_webrtc_half()
    assert robot.thread.snapshot.status.reason == 'a new session was requested'
    until(lambda: robot.thread.snapshot.link_up)
    robot.replace_webrtc_half()
    assert robot.thread.snapshot.status.reason == 'the WebRTC process ended'


def test_a_packet_that_is_too_large_for_the_link_is_lost_and_the_drive_goes_on(
    robot: Robot,
) -> None:
    robot.thread.start()
    robot.thread.show(('x' * 2_000_000,))
    until(lambda: robot.thread.snapshot.counters.get('link_full'))
    robot.thread.show(('rear',))
    until(lambda: robot.shown() == [('rear',)])
    assert robot.thread.is_alive()
