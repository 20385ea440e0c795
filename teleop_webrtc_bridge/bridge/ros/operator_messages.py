"""The handler of the operator's messages, which sends acknowledgements, telemetry and leases."""

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

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import enum
from typing import Any, Final

from teleop_webrtc_bridge.bridge.link.packets import Received
from teleop_webrtc_bridge.bridge.ros.estop import EstopRecord
from teleop_webrtc_bridge.core.codec import (
    decode_command,
    decode_state,
    encode_cmd_ack,
    encode_lease,
    encode_telemetry,
)
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import (
    CameraSelect,
    CMD_UNRELIABLE,
    DriveCommand,
    Estop,
    EstopClear,
    JoyState,
    Lease,
    MAP_UNRELIABLE,
    Nonce,
    OperatorMessage,
    Pose,
    PoseCommand,
    SportCommand,
    STATE_RELIABLE_BACK,
    Unsupported,
    VideoStats,
)
from teleop_webrtc_bridge.core.motion.command_frames import CommandFrames
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, NEWEST_S
from teleop_webrtc_bridge.core.motion.latency_limit import link_verdict, LinkVerdict
from teleop_webrtc_bridge.core.motion.other_devices import JoyGate, PoseGate
from teleop_webrtc_bridge.core.telemetry import CommandStatistics
from teleop_webrtc_bridge.core.texts import shown

__all__ = ['DROPPED_FRAME', 'LatencyReport', 'OperatorMessages']

DROPPED_FRAME: Final = 'dropped_frame'
"""The counter of commands that are not for the base."""
TELEMETRY_PERIOD_S: Final = 1.0 / 3.0
VIDEO_AGE_S: Final = 3.0
"""Older figures of the video say nothing; the page sends them once a second."""
MAX_FAULTS_CHARS: Final = 1600
"""Limit of all cameras: a character takes up to 12 bytes, and brokers drop more than 32 KiB."""
LEASE_PERIOD_S: Final = 0.05
"""At 20 % packet loss, ten consecutive tokens are lost once in years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """The latencies of a drive, and the speed that they allow."""

    picture_s: float | None = None
    """From the camera to the screen; ``None``: unknown."""
    command_s: float | None = None
    """From the hand to ``cmd_vel``; ``None``: unknown."""
    sum_s: float | None = None
    """Of both; ``None``: unknown."""
    speed_factor: float = 1.0
    """The fraction of the largest speeds that it allows at present."""
    verdict: LinkVerdict | None = None
    """``None``: nobody drives, or their page does not measure latencies."""

    def as_fields(self) -> dict[str, float | str | None]:
        """Return its JSON fields; times are in seconds."""
        times = {'picture': self.picture_s, 'command': self.command_s, 'sum': self.sum_s}
        fields: dict[str, float | str | None] = {
            name: None if seconds is None else round(seconds, 4) for name, seconds in times.items()
        }
        return fields | {'verdict': None if self.verdict is None else self.verdict.value}


class Posture(enum.Enum):
    """The posture for old consoles, which drive only a robot that stands ready."""

    STAND_READY = 'StandReady'
    DAMP = 'Damp'
    """The robot is stopped, and stays stopped."""


class OperatorMessages:
    """
    Passes the operator's messages to the gate, acknowledges them, and sends telemetry.

    Owned by the drive thread.

    :param gate: Judges commands and holds the E-STOP latch.
    :param estops: Records who pressed and who released.
    :param publish: Publishes the gate's output, so that a stop is acknowledged after its zero.
    :param send: Sends to the operator: label, payload, whether it is text, and whether it is
        urgent, that is, an answer that the operator waits for.
    :param cameras: Names of the robot's cameras; at least one.
    :param stereo: The left and the right one of a stereo pair; empty: there is none.
    :param clock_ahead_s: Offset of the clock of ``pong`` from ``time.monotonic``, in seconds.
    :param frames: Tells which commands are not for the base.
    :param joy: Judges the states of hand controllers; ``None``: they are not offered.
    :param poses: Judges the poses of hands; ``None``: they are not offered.
    :param publish_pose: Publishes a pose of the named hand.
    """

    def __init__(
        self,
        gate: CommandGate,
        *,
        estops: EstopRecord,
        publish: Callable[[], None],
        send: Callable[[str, bytes, bool, bool], None],
        cameras: Sequence[str],
        clock_ahead_s: float,
        frames: CommandFrames | None = None,
        joy: JoyGate | None = None,
        poses: PoseGate | None = None,
        publish_pose: Callable[[str, Pose], None] = lambda hand, pose: None,
        stereo: Sequence[str] = (),
    ) -> None:
        self._stereo = tuple(stereo)
        self._joy = joy
        self._poses = poses
        self._publish_pose = publish_pose
        self.counters: Counter[str] = Counter()
        self.selected = tuple(cameras[:1])
        """The cameras that the operator selected, from left to right."""
        self.refused_frame = ''
        """The frame_id of the newest command that was not for the base."""
        self._refused_s = float('-inf')
        self._frames = CommandFrames() if frames is None else frames
        self._selected_as = self.selected
        """The same, by the names that the operator used: an old console knows only those."""
        self.path = ''
        """The network path from the robot to the broker, for the operator."""
        self.camera_faults: Mapping[str, str] = {}
        """The faults of the cameras that are shown, by name; another thread replaces the mapping
        and never changes it."""
        self._cameras = tuple(cameras)
        # Old consoles have buttons for cam1, cam2, … for cameras of any name.
        numbered = {f'cam{number}': name for number, name in enumerate(cameras, 1)}
        self._cameras_by_name = numbered | {name: name for name in cameras}
        self._gate = gate
        self._estops = estops
        self._publish = publish
        self._send = send
        self._clock_ahead_s = clock_ahead_s
        self._statistics = CommandStatistics()
        self._video: tuple[float, Mapping[str, float]] = (float('-inf'), {})
        """(when, the figures of the video that the page receives)"""
        self._telemetry_due_s: float | None = None
        self._lease_due_s: float | None = None

    # --- in --------------------------------------------------------------------------------------

    def handle(self, received: Received, now: float) -> bool:
        """
        Handle one message; malformed messages are dropped and counted.

        :param now: Seconds of ``time.monotonic``.
        :returns: Whether the message may have changed the state.
        """
        try:
            if received.label == CMD_UNRELIABLE:
                message = decode_command(received.payload)
            else:
                message = decode_state(received.payload)
        except ProtocolError:
            self.counters['malformed'] += 1
            return False
        # An arrival in the future would delay the watchdog.
        arrival_s = min(received.arrival_s, now)
        if isinstance(message, DriveCommand):
            if self._refuse(message, now):
                return False
            clock_s = arrival_s + self._clock_ahead_s
            self._statistics.add(clock_s, message.stamp_s, len(received.payload))
            self._gate.command(arrival_s, message, taken_s=now)
            return False
        if isinstance(message, Lease):
            before = self._gate.blind_page
            self._gate.echo_lease(arrival_s, message.token, message.picture, message.latency)
            return self._gate.blind_page is not before
        if isinstance(message, JoyState):
            if self._joy is not None and not self._joy.take(now, message, arrival_s):
                self.counters['dropped_joy'] += 1
            return False
        if isinstance(message, PoseCommand):
            self._pass_pose(now, message, arrival_s)
            return False
        if isinstance(message, VideoStats):
            self._video = now, message.figures
            return False
        return message is not None and self._handle_request(message, now)

    def _pass_pose(self, now: float, command: PoseCommand, arrival_s: float) -> None:
        if self._poses is None:
            return
        pose = self._poses.take(now, command, arrival_s)
        if pose is None:
            self.counters['dropped_pose'] += 1
        else:
            self._publish_pose(command.hand, pose)

    def _refuse(self, command: DriveCommand, now: float) -> bool:
        """
        Return whether a command is not for the base.

        The gate does not get it: it neither moves nor stops the robot, and counts neither as a
        sign of life of the operator nor as neutral.
        """
        frame = self._frames.refused(command)
        if frame is None:
            return False
        self.counters[DROPPED_FRAME] += 1
        self.refused_frame, self._refused_s = frame, now
        return True

    def _refusing(self, now: float) -> str | None:
        """Return why the newest commands have no effect; ``None``: they have one, or none came."""
        verdict = self._gate.refusing(now)
        if verdict is not None:
            return verdict.value.removeprefix('dropped_')
        # Not while another device drives the base.
        is_recent = now - self._refused_s < NEWEST_S
        return 'frame' if is_recent and not self._gate.is_commanded(now) else None

    def _handle_request(self, message: OperatorMessage, now: float) -> bool:
        """Apply a request, then acknowledge it."""
        if isinstance(message, Estop):
            self._gate.set_estop(now)
            self._publish()
            self._acknowledge(message.nonce, ok=True)
            # Last, so that recording the name does not delay the zero.
            self._estops.pressed(now, self._gate.latch, message.by)
        elif isinstance(message, EstopClear):
            self._clear(message, now)
        elif isinstance(message, CameraSelect):
            self._select(message, now)
        elif isinstance(message, SportCommand):
            self._answer_sport_command(message)
        elif isinstance(message, Unsupported):
            reason = f'{message.type} is not offered by this robot'
            self._acknowledge(message.nonce, ok=False, reason=reason)
        else:
            return False
        return True

    def _clear(self, message: EstopClear, now: float) -> None:
        latch = self._gate.latch
        cleared = self._gate.clear_estop(now, message.latch)
        reason = None if cleared else f'latch {latch} holds, not {message.latch}'
        self._acknowledge(message.nonce, ok=cleared, reason=reason)
        if cleared:
            self._estops.released(latch, message.by)

    def _select(self, message: CameraSelect, now: float) -> None:
        names: dict[str, str] = {}
        for name in message.cameras:
            if (camera := self._cameras_by_name.get(name)) is not None:
                names.setdefault(camera, name)
        self.selected = tuple(names) or self._cameras[:1]
        self._selected_as = tuple(names.values()) or self.selected
        if self._telemetry_due_s is not None:
            # The operator waits for it, and nothing else acknowledges the selection.
            self._telemetry_due_s = now

    def forget_selection(self) -> None:
        """
        Select the first camera, because the operator has changed.

        The new operator, whose page may not be able to select cameras, must not drive by a picture
        that somebody else has chosen.
        """
        self.selected = self._selected_as = self._cameras[:1]

    def _posture(self) -> Posture:
        stands = self._gate.enabled and not self._gate.estopped
        return Posture.STAND_READY if stands else Posture.DAMP

    def _answer_sport_command(self, message: SportCommand) -> None:
        """
        Acknowledge a request for the present posture; refuse all others.

        The request changes nothing. In particular it neither releases the E-STOP nor enables
        driving, for which there are other messages.
        """
        posture = self._posture()
        if message.name == posture.value:
            self._acknowledge(message.nonce, ok=True)
            return
        reason = 'sport_cmd is not offered by this robot'
        if message.name == Posture.STAND_READY.value:
            reason = 'E-STOP holds' if self._gate.estopped else 'the robot has disabled driving'
        self._acknowledge(message.nonce, ok=False, reason=reason)

    def _acknowledge(self, nonce: Nonce | None, *, ok: bool, reason: str | None = None) -> None:
        if nonce is not None:
            self._send_state(encode_cmd_ack(nonce, ok=ok, reason=reason), urgent=True)

    # --- out -------------------------------------------------------------------------------------

    def set_operated(self, now: float, operated: bool) -> None:
        """Start or stop telemetry and leases."""
        if not operated:
            self._telemetry_due_s = self._lease_due_s = None
        elif self._telemetry_due_s is None:
            self._telemetry_due_s = self._lease_due_s = now

    def deadline(self) -> float | None:
        """Return the deadline of the next :meth:`report`; ``None``: there is none."""
        if self._telemetry_due_s is None or self._lease_due_s is None:
            return None
        return min(self._telemetry_due_s, self._lease_due_s)

    def report(self, now: float) -> None:
        """Send the messages that are due."""
        if self._lease_due_s is not None and now >= self._lease_due_s:
            self._lease_due_s = max(self._lease_due_s + LEASE_PERIOD_S, now)
            self._send(MAP_UNRELIABLE, encode_lease(self._gate.issue_lease(now)), False, False)
        if self._telemetry_due_s is not None and now >= self._telemetry_due_s:
            self._telemetry_due_s = max(self._telemetry_due_s + TELEMETRY_PERIOD_S, now)
            self._send_telemetry(now)

    def _send_telemetry(self, now: float) -> None:
        clock_s = now + self._clock_ahead_s
        gate = self._gate
        state: dict[str, Any] = {
            'estopped': gate.estopped,
            'latch': gate.latch,
            'enabled': gate.enabled,
            'moving': gate.moving,
            'limiting': gate.limiting,
            'blind': gate.blind,
            'refusing': self._refusing(now),
            'cameras': self._cameras,
            'selected': self.selected,
            'step': True,
            'cams': self._selected_as,
            'posture': self._posture().value,
        }
        if self._stereo:
            state['stereo'] = self._stereo
        if self._joy is not None:
            state['joy'] = True
        if self._poses is not None:
            state['poses'] = True
        latency = self.latency(now)
        if latency.verdict is not None:
            state['latency'] = latency.as_fields()
            state['speed_factor'] = round(latency.speed_factor, 3)
        if self.path:
            state['path'] = self.path
        if gate.blind_page:
            state['blind_page'] = True
        if self.camera_faults:
            state['camera_faults'] = _bounded(self.camera_faults)
        cause = self._estops.cause(gate.latch)
        if cause is not None:
            state['estopped_by'] = cause.by.as_fields()
        self._send_state(
            encode_telemetry(
                cmd=self._statistics.report(clock_s), state=state, robot_ts_s=clock_s
            ),
            urgent=False,
        )

    def latency(self, now: float) -> LatencyReport:
        """Return the latencies of the drive, and what they allow."""
        if not self._gate.tells_latency:
            return LatencyReport(speed_factor=self._gate.latency_factor)
        latency, sum_s = self._gate.latency(now), self._gate.latency_sum_s(now)
        told_s, video = self._video
        return LatencyReport(
            picture_s=latency.picture_s,
            command_s=latency.command_s,
            sum_s=sum_s,
            speed_factor=self._gate.latency_factor,
            verdict=link_verdict(sum_s, video if now - told_s < VIDEO_AGE_S else {}),
        )

    def _send_state(self, text: str, *, urgent: bool) -> None:
        self._send(STATE_RELIABLE_BACK, text.encode(), True, urgent)


def _bounded(faults: Mapping[str, str]) -> dict[str, str]:
    """Return the faults of the cameras, each shortened to its share of the telemetry."""
    return {name: shown(text, MAX_FAULTS_CHARS // len(faults)) for name, text in faults.items()}
