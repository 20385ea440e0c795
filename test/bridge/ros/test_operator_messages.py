"""The operator's messages, the gate, and the answers; the test controls the time."""

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

import json
import math
from typing import Any

from old_console import OldConsole
import pytest

from teleop_webrtc_bridge.bridge.link.packets import Received
from teleop_webrtc_bridge.bridge.ros.estop import EstopAction, EstopRecord
from teleop_webrtc_bridge.bridge.ros.operator_messages import OperatorMessages
from teleop_webrtc_bridge.core.codec import encode_drive_command, encode_lease, MAX_MESSAGE_BYTES
from teleop_webrtc_bridge.core.messages import (
    CMD_UNRELIABLE,
    DriveCommand,
    MAP_UNRELIABLE,
    Origin,
    STATE_RELIABLE,
    STATE_RELIABLE_BACK,
    Velocity,
)
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, CommandVerdict, GateLimits

CLOCK_AHEAD_S = 1.7e9
BOTH_CHANNELS = pytest.mark.parametrize('label', [CMD_UNRELIABLE, STATE_RELIABLE])
FORWARD = Velocity(linear_x=0.5)
ZERO = Velocity()


class Robot:
    """The gate, the messages, and their output in order."""

    def __init__(
        self,
        cameras: tuple[str, ...] = ('front', 'rear', 'arm'),
        stereo: tuple[str, ...] = (),
    ) -> None:
        self.now = 500.0
        limits = GateLimits(command_timeout_s=0.25, max_axes=(1.0, 0.5, 0.0, 0.0, 0.0, 1.5))
        self.gate = CommandGate(limits, first_token=40)
        self.left: list[Any] = []
        """Velocities, and (time, label, message) of the messages to the operator."""
        self.estops = EstopRecord(clock_ahead_s=CLOCK_AHEAD_S)
        self.messages = OperatorMessages(
            self.gate,
            estops=self.estops,
            publish=self.publish,
            send=self.send,
            cameras=cameras,
            stereo=stereo,
            clock_ahead_s=CLOCK_AHEAD_S,
        )

    def publish(self) -> None:
        velocity = self.gate.output(self.now)
        if velocity is not None:
            self.left.append(velocity)

    def send(self, label: str, payload: bytes, text: bool, urgent: bool) -> None:
        message = json.loads(payload)
        assert text is (label == STATE_RELIABLE_BACK)
        assert urgent is (message['type'] == 'cmd_ack')
        self.left.append((self.now, label, message))

    def take(self, payload: bytes | str | dict[str, Any], label: str = STATE_RELIABLE) -> bool:
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        data = payload.encode() if isinstance(payload, str) else payload
        received = Received(label=label, payload=data, arrival_s=self.now)
        return self.messages.handle(received, self.now)

    def drive(self, velocity: Velocity) -> None:
        command = DriveCommand(
            seq=1, stamp_s=self.now + CLOCK_AHEAD_S - 0.03, frame_id='test', velocity=velocity
        )
        assert not self.take(encode_drive_command(command), CMD_UNRELIABLE)
        self.publish()

    def begin(self) -> None:
        for velocity in (ZERO, *[FORWARD] * 4):
            self.drive(velocity)
            self.now += 0.02
        assert self.gate.moving
        self.left.clear()

    def run(self, seconds: float) -> None:
        """Report as the drive thread does, which wakes up when a message is due."""
        end = self.now + seconds
        while (deadline := self.messages.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.messages.report(self.now)
        self.now = end

    def told(self, kind: str) -> list[dict[str, Any]]:
        said = [entry[2] for entry in self.left if isinstance(entry, tuple)]
        return [message for message in said if message['type'] == kind]

    def telemetry(self) -> dict[str, Any]:
        self.messages.set_operated(self.now, False)
        self.messages.set_operated(self.now, True)
        self.messages.report(self.now)
        return self.told('robot_telemetry')[-1]


@pytest.fixture
def robot() -> Robot:
    return Robot()


# --- E-STOP ----------------------------------------------------------------------------------


@BOTH_CHANNELS
def test_an_estop_is_acknowledged_after_its_zero_was_published(robot: Robot, label: str) -> None:
    robot.begin()
    assert robot.take({'type': 'estop', 'nonce': 'n1'}, label)
    ack = {'type': 'cmd_ack', 'nonce': 'n1', 'ok': True}
    assert robot.left == [ZERO, (robot.now, STATE_RELIABLE_BACK, ack)]
    assert robot.gate.latch == 1


def test_each_copy_of_an_estop_is_acknowledged_and_latches_nothing_new(robot: Robot) -> None:
    robot.begin()
    for label in (CMD_UNRELIABLE, STATE_RELIABLE, CMD_UNRELIABLE):
        robot.take({'type': 'estop', 'nonce': 7}, label)
        robot.now += 0.02
    assert [ack['nonce'] for ack in robot.told('cmd_ack')] == [7, 7, 7]
    assert robot.gate.latch == 1
    # A zero goes ahead of each acknowledgement.
    assert [isinstance(entry, Velocity) for entry in robot.left] == [True, False] * 3


@pytest.mark.parametrize('nonce', [{}, {'nonce': None}, {'nonce': 1.5}, {'nonce': 'x' * 500}])
def test_an_estop_without_a_usable_nonce_is_applied_all_the_same(
    robot: Robot, nonce: dict[str, Any]
) -> None:
    robot.begin()
    assert robot.take({'type': 'estop', **nonce})
    assert robot.gate.estopped
    assert robot.left == [ZERO]


def test_a_clear_that_names_the_latch_or_none_is_acknowledged(robot: Robot) -> None:
    for number, named in enumerate(({'latch': 1}, {}, {'latch': None}), start=1):
        robot.take({'type': 'estop', 'nonce': 'set'})
        assert robot.gate.latch == number
        assert robot.take({'type': 'estop_clear', 'nonce': 'clear', **named})
        assert robot.told('cmd_ack')[-1] == {'type': 'cmd_ack', 'nonce': 'clear', 'ok': True}
        assert not robot.gate.estopped


def test_a_clear_of_another_latch_is_refused_with_the_reason(robot: Robot) -> None:
    for _ in range(2):
        robot.gate.clear_estop(robot.now)
        robot.gate.set_estop(robot.now)
    assert robot.take({'type': 'estop_clear', 'nonce': 'old', 'latch': 1})
    assert robot.told('cmd_ack') == [
        {'type': 'cmd_ack', 'nonce': 'old', 'ok': False, 'reason': 'latch 2 holds, not 1'}
    ]
    assert robot.gate.latch == 2


def test_a_clear_whose_latch_is_no_number_is_malformed_and_clears_nothing(robot: Robot) -> None:
    robot.gate.set_estop(robot.now)
    for latch in ('1', 1.0, True, [1]):
        assert not robot.take({'type': 'estop_clear', 'nonce': 'n', 'latch': latch})
    assert robot.messages.counters == {'malformed': 4}
    assert robot.gate.latch == 1
    assert robot.told('cmd_ack') == []


# --- who pressed -----------------------------------------------------------------------------

ANN = {'sub': 'ann', 'role': 'viewer', 'tenant': 'acme'}
BEN = {'sub': 'ben', 'role': 'operator', 'tenant': 'acme'}
UNNAMED = {'sub': '', 'role': 'operator'}


def named(by: dict[str, str]) -> dict[str, str]:
    return {'sub': by['sub'], 'role': by['role']}


@BOTH_CHANNELS
def test_telemetry_tells_who_pressed_until_it_is_released(robot: Robot, label: str) -> None:
    assert 'estopped_by' not in robot.telemetry()['state']
    robot.take({'type': 'estop', 'nonce': 1, 'by': ANN}, label)
    assert robot.telemetry()['state']['estopped_by'] == named(ANN)
    robot.take({'type': 'estop_clear', 'nonce': 2, 'latch': 1, 'by': BEN})
    assert 'estopped_by' not in robot.telemetry()['state']
    robot.take({'type': 'estop', 'nonce': 3, 'by': BEN}, label)
    assert robot.telemetry()['state']['estopped_by'] == named(BEN)


@BOTH_CHANNELS
def test_no_name_is_looked_at_before_the_zero_and_its_acknowledgement(
    robot: Robot, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Any]] = []

    def pressed(now: float, latch: int | None, by: Origin) -> None:
        seen.append([*robot.left])

    monkeypatch.setattr(robot.estops, 'pressed', pressed)
    robot.begin()
    robot.take({'type': 'estop', 'nonce': 1, 'by': ANN}, label)
    ack = {'type': 'cmd_ack', 'nonce': 1, 'ok': True}
    assert seen == [[ZERO, (robot.now, STATE_RELIABLE_BACK, ack)]]


def test_the_first_who_pressed_stays_the_name_of_the_latch(robot: Robot) -> None:
    for by in (ANN, BEN, ANN, BEN):
        robot.take({'type': 'estop', 'nonce': 1, 'by': by})
        assert robot.telemetry()['state']['estopped_by'] == named(ANN)
    told = [(event.action, event.by.sub) for event in robot.estops.take_events()]
    assert told == [(EstopAction.LATCHED, 'ann'), (EstopAction.PRESSED_AGAIN, 'ben')]


def test_who_is_refused_a_release_has_released_nothing(robot: Robot) -> None:
    robot.take({'type': 'estop', 'nonce': 1, 'by': ANN})
    robot.take({'type': 'estop_clear', 'nonce': 2, 'latch': 7, 'by': BEN})
    assert robot.telemetry()['state']['estopped_by'] == named(ANN)
    robot.take({'type': 'estop_clear', 'nonce': 2, 'latch': 1, 'by': BEN})
    events = robot.estops.take_events()
    assert [(event.action, event.latch, event.by.sub) for event in events] == [
        (EstopAction.LATCHED, 1, 'ann'),
        (EstopAction.RELEASED, 1, 'ben'),
    ]


def test_a_broker_that_does_not_say_who_pressed_is_an_unnamed_operators(robot: Robot) -> None:
    robot.take({'type': 'estop', 'nonce': 1})
    assert robot.telemetry()['state']['estopped_by'] == UNNAMED


@BOTH_CHANNELS
@pytest.mark.parametrize(
    'by',
    [
        *(None, 7, True, 'ann', [], ['ann', 'viewer'], {}, {'sub': 'ann'}, {'role': 'viewer'}),
        *({'sub': sub, 'role': 'viewer'} for sub in (None, 7, ['x'], 'x' * 65, 'a\nb', '\0')),
        *({'sub': sub, 'role': 'viewer'} for sub in ('\ud800', 'a\u202eb', '\x1b[2J')),
        *({'sub': 'ann', 'role': role} for role in (None, 1, [], {}, 'robot', 'root', 'Viewer')),
    ],
)
def test_no_malformed_name_refuses_a_stop(robot: Robot, label: str, by: object) -> None:
    robot.begin()
    assert robot.take({'type': 'estop', 'nonce': 'n', 'by': by}, label)
    ack = {'type': 'cmd_ack', 'nonce': 'n', 'ok': True}
    assert robot.left == [ZERO, (robot.now, STATE_RELIABLE_BACK, ack)]
    assert robot.messages.counters == {}
    assert robot.telemetry()['state']['estopped_by'] == UNNAMED
    assert robot.take({'type': 'estop_clear', 'nonce': 'n', 'by': by})
    assert not robot.gate.estopped


# --- old consoles ----------------------------------------------------------------------------


class Sitting:
    """An old console that receives all messages of the robot."""

    def __init__(self, robot: Robot) -> None:
        self.console = OldConsole(self.send)
        self._robot = robot
        self._heard = len(robot.told('cmd_ack'))

    def send(self, message: dict[str, Any]) -> None:
        self._robot.take(message)

    def hear(self) -> OldConsole:
        acks = self._robot.told('cmd_ack')
        for ack in acks[self._heard :]:
            self.console.receive(ack)
        self._heard = len(acks)
        self.console.receive(self._robot.telemetry())
        return self.console


def test_an_old_console_drives_again_after_estop_and_re_arm(robot: Robot) -> None:
    sitting = Sitting(robot)
    assert sitting.hear().drives
    sitting.console.press_estop()
    assert not sitting.hear().drives
    assert robot.gate.estopped
    sitting.console.re_arm()
    assert sitting.hear().drives
    assert not robot.gate.estopped


def test_an_old_console_is_locked_while_somebody_else_holds_the_robot(robot: Robot) -> None:
    sitting = Sitting(robot)
    robot.gate.set_enabled(robot.now, False)
    assert sitting.hear().posture == 'Damp'
    robot.gate.set_enabled(robot.now, True)
    assert sitting.hear().drives
    robot.gate.set_estop(robot.now)
    assert sitting.hear().is_stopped
    sitting.console.re_arm()
    assert sitting.hear().drives


@pytest.mark.parametrize('is_disabled', [False, True])
@pytest.mark.parametrize('is_stopped', [False, True])
def test_asking_for_a_posture_changes_nothing(
    robot: Robot, is_stopped: bool, is_disabled: bool
) -> None:
    robot.gate.set_enabled(robot.now, not is_disabled)
    if is_stopped:
        robot.gate.set_estop(robot.now)
    before = robot.telemetry()['state']
    posture = 'Damp' if is_stopped or is_disabled else 'StandReady'
    assert before['posture'] == posture
    for nonce, name in enumerate(('StandReady', 'Damp', 'PoseStand', 'FrontJump', 7, None)):
        assert robot.take({'type': 'sport_cmd', 'name': name, 'nonce': nonce})
        ack = robot.told('cmd_ack')[-1]
        assert (ack['nonce'], ack['ok']) == (nonce, name == posture)
        assert ('reason' in ack) is not ack['ok']
    assert robot.telemetry()['state'] == before
    assert not any(isinstance(entry, Velocity) for entry in robot.left)


def test_a_refused_posture_says_what_holds_the_robot(robot: Robot) -> None:
    stand = {'type': 'sport_cmd', 'name': 'StandReady', 'nonce': 1}
    robot.gate.set_enabled(robot.now, False)
    robot.take(stand)
    robot.gate.set_estop(robot.now)
    robot.take(stand)
    reasons = [ack['reason'] for ack in robot.told('cmd_ack')]
    assert reasons == ['the robot has disabled driving', 'E-STOP holds']


def test_an_old_console_chooses_among_cameras_of_any_name(robot: Robot) -> None:
    sitting = Sitting(robot)
    for toggled, lit, shown in (
        ('cam2', ['cam1', 'cam2'], ('front', 'rear')),
        ('cam1', ['cam2'], ('rear',)),
        ('cam2', ['cam2'], ('rear',)),
        ('cam1', ['cam1', 'cam2'], ('front', 'rear')),
    ):
        sitting.console.toggle_camera(toggled)
        assert sitting.hear().cameras == lit
        assert robot.messages.selected == shown
    robot.messages.forget_selection()
    assert sitting.hear().cameras == ['cam1']


def test_a_camera_that_is_really_called_cam1_wins() -> None:
    robot = Robot(cameras=('cam2', 'gripper', 'cam1'))
    for name, camera in (('cam1', 'cam1'), ('cam2', 'cam2'), ('cam3', 'cam1')):
        robot.take({'type': 'camera_select', 'cams': [name]})
        assert robot.messages.selected == (camera,)
        assert robot.telemetry()['state']['cams'] == [name]


# --- other messages --------------------------------------------------------------------------


@pytest.mark.parametrize(
    'kind', ['nav_goal', 'nav_cancel', 'sport_cmd', 'set_mode', 'obstacle_avoidance', 'light']
)
def test_a_request_that_is_not_offered_is_acknowledged_as_failed(robot: Robot, kind: str) -> None:
    assert robot.take({'type': kind, 'nonce': 3})
    assert robot.told('cmd_ack') == [
        {
            'type': 'cmd_ack',
            'nonce': 3,
            'ok': False,
            'reason': f'{kind} is not offered by this robot',
        }
    ]


@BOTH_CHANNELS
@pytest.mark.parametrize(
    'payload',
    [
        b'{',
        b'{"type": "estop"',
        b'{"type": "ping", "client_ts": NaN}',
        b'{"type": "lease", "token": -1}',
        b'{"type": "lease", "token": "1"}',
        b'{"a":' * 900,
        b'{"type":"light","x":"' + b'x' * 40_000 + b'"}',
    ],
)
def test_what_is_malformed_is_counted_and_does_nothing(
    robot: Robot, label: str, payload: bytes
) -> None:
    robot.begin()
    assert not robot.take(payload, label)
    assert robot.messages.counters == {'malformed': 1}
    assert robot.left == []
    assert robot.gate.moving


def test_malformed_commands_are_counted_and_the_next_good_one_is_obeyed(robot: Robot) -> None:
    robot.begin()
    stamp_s = robot.now + CLOCK_AHEAD_S
    good = DriveCommand(seq=1, stamp_s=stamp_s, frame_id='', velocity=FORWARD)
    nan = DriveCommand(seq=1, stamp_s=stamp_s, frame_id='', velocity=Velocity(linear_x=math.nan))
    for payload in (encode_drive_command(good)[:-1], encode_drive_command(nan), b'\x9c'):
        assert not robot.take(payload, CMD_UNRELIABLE)
    assert robot.messages.counters == {'malformed': 3}
    before = robot.gate.verdicts[CommandVerdict.ACCEPTED]
    robot.drive(FORWARD)
    assert robot.gate.verdicts[CommandVerdict.ACCEPTED] == before + 1


@BOTH_CHANNELS
@pytest.mark.parametrize('payload', ['{"type":"unheard_of"}', '{"type":5}', '{}'])
def test_what_is_unknown_is_ignored(robot: Robot, label: str, payload: str) -> None:
    assert not robot.take(payload, label)
    assert robot.messages.counters == {}
    assert robot.left == []


def test_a_ping_is_not_answered_here(robot: Robot) -> None:
    assert not robot.take({'type': 'ping', 'client_ts': 1.5})
    assert robot.left == []


# --- lease -----------------------------------------------------------------------------------


def test_tokens_are_sent_20_times_a_second_while_somebody_operates(robot: Robot) -> None:
    robot.run(5.0)
    assert robot.left == []
    assert robot.messages.deadline() is None
    robot.messages.set_operated(robot.now, True)
    begun_s = robot.now
    robot.run(10.0)
    leases = [entry for entry in robot.left if entry[2]['type'] == 'lease']
    assert {label for _, label, _ in leases} == {MAP_UNRELIABLE}
    assert [message['token'] for *_, message in leases] == list(range(40, 40 + len(leases)))
    times = [at_s - begun_s for at_s, *_ in leases]
    assert times == pytest.approx([0.05 * number for number in range(len(times))])
    assert len(times) in (200, 201)
    robot.messages.set_operated(robot.now, False)
    robot.left.clear()
    robot.run(5.0)
    assert robot.left == []


def test_a_report_that_is_late_is_made_up_for_once(robot: Robot) -> None:
    robot.messages.set_operated(robot.now, True)
    robot.run(1.0)
    robot.left.clear()
    robot.now += 3.0
    robot.run(0.12)
    assert 3 <= len(robot.told('lease')) <= 5
    assert 1 <= len(robot.told('robot_telemetry')) <= 2


def test_being_operated_on_changes_no_schedule(robot: Robot) -> None:
    robot.messages.set_operated(robot.now, True)
    deadline = robot.messages.deadline()
    robot.now += 0.01
    robot.messages.set_operated(robot.now, True)
    assert robot.messages.deadline() == deadline


def test_an_echo_reaches_the_gate_with_its_arrival(robot: Robot) -> None:
    robot.messages.set_operated(robot.now, True)
    robot.messages.report(robot.now)
    token = robot.told('lease')[0]['token']
    robot.now += 0.2
    assert not robot.take(encode_lease(token), CMD_UNRELIABLE)
    assert robot.gate.round_trip_s(robot.now) == pytest.approx(0.2)


def test_a_page_that_shows_no_picture_is_slow_and_is_told_so(robot: Robot) -> None:
    robot.begin()
    for picture, is_news in ((False, True), (False, False), (True, True)):
        robot.now += 0.05
        token = robot.gate.issue_lease(robot.now)
        echo = json.dumps({'type': 'lease', 'token': token, 'picture': picture})
        assert robot.take(echo.encode(), CMD_UNRELIABLE) is is_news
        robot.drive(FORWARD)
        state = robot.telemetry()['state']
        assert state['blind'] is not picture
        assert state['limiting'] is not picture
        assert state.get('blind_page', False) is not picture


# --- telemetry -------------------------------------------------------------------------------


def test_telemetry_is_sent_three_times_a_second(robot: Robot) -> None:
    robot.messages.set_operated(robot.now, True)
    robot.run(10.0)
    assert len(robot.told('robot_telemetry')) in (30, 31)
    labels = {entry[1] for entry in robot.left if entry[2]['type'] == 'robot_telemetry'}
    assert labels == {STATE_RELIABLE_BACK}


def test_telemetry_tells_the_state_of_the_gate(robot: Robot) -> None:
    assert robot.telemetry() == {
        'type': 'robot_telemetry',
        'cmd': None,
        'soc': None,
        'state': {
            'estopped': False,
            'latch': None,
            'enabled': True,
            'moving': False,
            'limiting': False,
            'blind': False,
            'refusing': None,
            'cameras': ['front', 'rear', 'arm'],
            'selected': ['front'],
            'cams': ['front'],
            'step': True,
            'posture': 'StandReady',
        },
        'robot_ts': robot.now + CLOCK_AHEAD_S,
    }
    robot.begin()
    robot.gate.set_blind(robot.now, True)
    state = robot.telemetry()['state']
    assert state['moving']
    assert state['blind']
    assert state['limiting']
    robot.gate.set_enabled(robot.now, False)
    robot.gate.set_estop(robot.now)
    assert robot.telemetry()['state'] == {
        'estopped': True,
        'latch': 1,
        'enabled': False,
        'moving': False,
        'limiting': False,
        'blind': True,
        'refusing': None,
        'cameras': ['front', 'rear', 'arm'],
        'selected': ['front'],
        'cams': ['front'],
        'step': True,
        'posture': 'Damp',
    }


def test_telemetry_tells_over_which_relay_the_robot_is_reached(robot: Robot) -> None:
    robot.messages.path = 'TURN/TCP turn.example.org:3478'
    assert robot.telemetry()['state']['path'] == 'TURN/TCP turn.example.org:3478'


def test_telemetry_tells_which_cameras_are_a_stereo_pair() -> None:
    robot = Robot(cameras=('left', 'right', 'arm'), stereo=('left', 'right'))
    assert robot.telemetry()['state']['stereo'] == ['left', 'right']


def test_telemetry_tells_how_the_commands_arrive(robot: Robot) -> None:
    for number in range(101):
        robot.drive(ZERO if number % 2 else FORWARD)
        robot.now += 0.02
    command = robot.telemetry()['cmd']
    assert command['latency_ms'] == pytest.approx(30.0, abs=0.1)
    assert command['jitter_ms'] == pytest.approx(0.0, abs=0.1)
    assert command['rate_hz'] == pytest.approx(50.0, abs=1.0)
    assert command['throughput_bps'] > 0
    robot.now += 5.0
    assert robot.telemetry()['cmd'] is None


# --- cameras ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('cams', 'selected'),
    [
        (['rear'], ('rear',)),
        (['rear', 'front'], ('rear', 'front')),
        (['rear', 'rear', 'arm', 'rear'], ('rear', 'arm')),
        (['ceiling', 'arm', ''], ('arm',)),
        (['ceiling'], ('front',)),
        (['cam2'], ('rear',)),
        (['cam3', 'front', 'cam1', 'arm'], ('arm', 'front')),
        (['cam0', 'cam4', 'cam', 'cam01', 'Cam2', 'cam1 '], ('front',)),
        ([], ('front',)),
    ],
)
def test_cameras_are_selected_from_the_left_and_unknown_ones_dropped(
    robot: Robot, cams: list[str], selected: tuple[str, ...]
) -> None:
    assert robot.messages.selected == ('front',)
    robot.take({'type': 'camera_select', 'cams': ['arm']})
    assert robot.take({'type': 'camera_select', 'cams': cams})
    assert robot.messages.selected == selected
    assert robot.telemetry()['state']['selected'] == list(selected)


def test_a_selection_is_told_at_once_and_ends_with_who_made_it(robot: Robot) -> None:
    robot.messages.set_operated(robot.now, True)
    robot.messages.report(robot.now)
    robot.now += 0.01
    robot.take({'type': 'camera_select', 'cams': ['rear']})
    assert robot.messages.deadline() == robot.now
    robot.messages.report(robot.now)
    assert robot.told('robot_telemetry')[-1]['state']['selected'] == ['rear']
    robot.messages.forget_selection()
    assert robot.messages.selected == ('front',)


def test_a_selection_that_cannot_be_understood_changes_nothing(robot: Robot) -> None:
    robot.take({'type': 'camera_select', 'cams': ['rear']})
    for cams in ('front', None, 7, [7], [None], ['front'] * 33, {'front': True}):
        assert not robot.take({'type': 'camera_select', 'cams': cams})
    assert robot.messages.selected == ('rear',)
    assert robot.messages.counters['malformed'] == 7
    assert robot.gate.verdicts.total() == 0


# --- commands that do not mean the base ------------------------------------------------------


def jog(robot: Robot, velocity: Velocity, frame_id: str = 'eef_twist_arm') -> None:
    """Send a command for an arm, on the channel of the base."""
    stamp_s = robot.now + CLOCK_AHEAD_S - 0.03
    command = DriveCommand(seq=1, stamp_s=stamp_s, frame_id=frame_id, velocity=velocity)
    assert not robot.take(encode_drive_command(command), CMD_UNRELIABLE)
    robot.publish()


def test_an_arms_jogs_neither_move_the_base_nor_hold_it_alive(robot: Robot) -> None:
    for velocity in (ZERO, *[FORWARD] * 4):
        jog(robot, velocity)
        robot.now += 0.02
    assert robot.left == []
    assert robot.messages.counters['dropped_frame'] == 5
    assert robot.messages.refused_frame == 'eef_twist_arm'
    robot.begin()
    for _ in range(13):
        robot.now += 0.02
        jog(robot, FORWARD)
    assert robot.left == [ZERO]
    assert not robot.gate.moving


def test_a_zero_of_an_arm_stops_nothing_and_is_not_neutral(robot: Robot) -> None:
    robot.begin()
    jog(robot, ZERO)
    assert robot.gate.moving
    assert robot.left == []
    robot.gate.stop(robot.now)
    robot.publish()
    robot.left.clear()
    jog(robot, ZERO)
    robot.drive(FORWARD)
    assert not robot.gate.moving
    assert robot.gate.verdicts[CommandVerdict.NOT_NEUTRAL] == 1


def test_an_arms_jogs_do_not_disturb_who_drives_the_base(robot: Robot) -> None:
    robot.begin()
    for _ in range(20):
        jog(robot, Velocity(linear_x=-1.0), 'left')
        robot.drive(FORWARD)
        robot.now += 0.02
    assert robot.left
    assert all(velocity == FORWARD for velocity in robot.left)


@BOTH_CHANNELS
def test_an_estop_between_an_arms_jogs_stops(robot: Robot, label: str) -> None:
    robot.begin()
    jog(robot, FORWARD)
    robot.take({'type': 'estop', 'nonce': 'n', 'frame_id': 'eef_twist_arm'}, label)
    jog(robot, FORWARD)
    assert robot.gate.estopped
    assert robot.left[0] == ZERO


def test_telemetry_says_that_commands_do_not_mean_the_base(robot: Robot) -> None:
    jog(robot, FORWARD)
    assert robot.telemetry()['state']['refusing'] == 'frame'
    robot.drive(ZERO)
    assert robot.telemetry()['state']['refusing'] is None
    robot.now += 1.0
    assert robot.telemetry()['state']['refusing'] is None


def test_what_a_camera_lacks_is_told_while_it_lacks_it(robot: Robot) -> None:
    assert 'camera_faults' not in robot.telemetry()['state']
    robot.messages.camera_faults = {'front': 'no keyframe yet'}
    assert robot.telemetry()['state']['camera_faults'] == {'front': 'no keyframe yet'}
    robot.messages.camera_faults = {}
    assert 'camera_faults' not in robot.telemetry()['state']


def test_whatever_cameras_lack_telemetry_stays_small_enough_to_be_passed_on(
    robot: Robot,
) -> None:
    robot.messages.camera_faults = {
        f'camera{number}': '\N{ROBOT FACE}\n' * 40_000 for number in range(8)
    }
    telemetry = robot.telemetry()
    assert len(json.dumps(telemetry)) < MAX_MESSAGE_BYTES
    faults = telemetry['state']['camera_faults']
    assert len(faults) == 8
    assert all(len(text) >= 100 and text.isprintable() for text in faults.values())
