"""
The messages on the wire, as values.

:mod:`teleop_webrtc_bridge.core.codec` encodes them; docs/protocol.md is the contract. All units
are SI; axes follow REP-103 (x forward, y left, z up, angles counter-clockwise).
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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
import enum
from typing import Final

__all__ = [
    'CHANNELS',
    'CMD_UNRELIABLE',
    'HANDS',
    'MAP_UNRELIABLE',
    'STATE_RELIABLE',
    'STATE_RELIABLE_BACK',
    'UNNAMED_OPERATOR',
    'CameraSelect',
    'ChannelIds',
    'ChannelSpec',
    'DriveCommand',
    'Estop',
    'EstopClear',
    'HeartbeatAnswer',
    'IceServer',
    'JoyState',
    'Latency',
    'Lease',
    'Nonce',
    'OperatorMessage',
    'Origin',
    'OriginRole',
    'Ping',
    'Pose',
    'PoseCommand',
    'SessionAnswer',
    'SportCommand',
    'Step',
    'Unsupported',
    'Velocity',
    'VideoCodec',
    'VideoStats',
]

CMD_UNRELIABLE: Final = 'cmd_unreliable'
STATE_RELIABLE: Final = 'state_reliable'
STATE_RELIABLE_BACK: Final = 'state_reliable_back'
MAP_UNRELIABLE: Final = 'map_unreliable'
HANDS: Final = frozenset({'left', 'right'})
"""The ``frame_id`` of what belongs to one hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """One of the four data channels (docs/protocol.md §5)."""

    label: str
    to_robot: bool
    """Operator → robot; otherwise robot → operator. Each label has one direction."""
    ordered: bool
    max_retransmits: int | None
    """``None`` means reliable."""


#: In the order in which the robot opens them: those on which it answers come first.
CHANNELS: Final = (
    ChannelSpec(label=STATE_RELIABLE_BACK, to_robot=False, ordered=True, max_retransmits=None),
    ChannelSpec(label=MAP_UNRELIABLE, to_robot=False, ordered=False, max_retransmits=0),
    ChannelSpec(label=STATE_RELIABLE, to_robot=True, ordered=True, max_retransmits=None),
    ChannelSpec(label=CMD_UNRELIABLE, to_robot=True, ordered=False, max_retransmits=0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Velocity:
    """A body velocity: metres per second and radians per second, REP-103 axes."""

    linear_x: float = 0.0
    linear_y: float = 0.0
    linear_z: float = 0.0
    angular_x: float = 0.0
    angular_y: float = 0.0
    angular_z: float = 0.0

    @classmethod
    def from_axes(cls, axes: Iterable[float]) -> Velocity:
        """Return the velocity with these :meth:`axes`."""
        x, y, z, roll, pitch, yaw = axes
        return cls(
            linear_x=x, linear_y=y, linear_z=z, angular_x=roll, angular_y=pitch, angular_z=yaw
        )

    def axes(self) -> tuple[float, float, float, float, float, float]:
        """Return linear x, y, z, then angular x, y, z."""
        return (
            self.linear_x,
            self.linear_y,
            self.linear_z,
            self.angular_x,
            self.angular_y,
            self.angular_z,
        )

    def is_zero(self) -> bool:
        return not any(self.axes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The bound of a command: one press moves the robot this far."""

    id: int
    """Rises with each press."""
    distance_m: float | None = None
    angle_rad: float | None = None
    """One of the two is ``None``."""

    @property
    def amount(self) -> float:
        """The distance in metres, or the angle in radians."""
        return self.distance_m or self.angle_rad or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveCommand:
    """The velocity that the operator wants now (docs/protocol.md §7)."""

    seq: int
    stamp_s: float
    """When the operator sent it, in seconds of the clock that the robot's ``pong`` shows."""
    frame_id: str
    """The operator's input device, not a coordinate frame."""
    velocity: Velocity
    channel: str = field(default='', compare=False)
    """The channel's name in the newer framing; the older one has none."""
    step: Step | None = None
    """How far this press may move the robot; ``None``: as long as commands come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoyState:
    """The state of a hand controller, as in ``sensor_msgs/Joy``."""

    seq: int
    stamp_s: float
    """When the operator sent it, in seconds of the clock that the robot's ``pong`` shows."""
    frame_id: str
    """The operator's input device."""
    axes: tuple[float, ...]
    buttons: tuple[int, ...]

    def is_neutral(self, rest: float) -> bool:
        """
        Return whether nobody touches it.

        :param rest: Largest deflection of an axis at rest.
        """
        return not any(self.buttons) and all(abs(axis) <= rest for axis in self.axes)

    def released(self) -> JoyState:
        """Return the same device with nothing touched."""
        return replace(self, axes=(0.0,) * len(self.axes), buttons=(0,) * len(self.buttons))

    def with_presses(self, earlier: JoyState) -> JoyState:
        """Return this state with the buttons pressed in an earlier one pressed, too."""
        if len(self.buttons) != len(earlier.buttons):
            return self
        pairs = zip(self.buttons, earlier.buttons, strict=True)
        return replace(self, buttons=tuple(now or before for now, before in pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """A position in metres and an orientation as a unit quaternion."""

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    """x, y, z, w."""

    def relative_to(self, start: Pose) -> Pose:
        """Return the motion from another pose to this one, along the same axes."""
        x, y, z = (a - b for a, b in zip(self.position, start.position, strict=True))
        x0, y0, z0, w0 = start.orientation
        turn = _product(self.orientation, (-x0, -y0, -z0, w0))
        return Pose(position=(x, y, z), orientation=turn)

    def to_rep_103(self) -> Pose:
        """
        Return this pose with the axes of REP-103 (x forward, y left, z up).

        WebXR's axes are x right, y up, z backward (WebXR Device API, reference spaces).
        """
        x, y, z = self.position
        qx, qy, qz, qw = self.orientation
        return Pose(position=(-z, -x, y), orientation=(-qz, -qx, qy, qw))


def _product(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Return the Hamilton product of two quaternions."""
    ax, ay, az, aw = one
    bx, by, bz, bw = other
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseCommand:
    """Where a hand of the operator is, while it holds the clutch."""

    seq: int
    stamp_s: float
    """When the operator sent it, in seconds of the clock that the robot's ``pong`` shows."""
    hand: str
    """``left`` or ``right``."""
    pose: Pose
    """In WebXR's reference space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The latencies of a remote drive, as the operator's page measures them."""

    picture_s: float | None
    """From the camera to the screen, in seconds; ``None``: the page cannot tell now."""
    command_s: float | None
    """From the hand to ``cmd_vel``, in seconds; ``None``: the page cannot tell now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStats:
    """The received video, as the operator's page measures it once a second."""

    figures: Mapping[str, float]
    """``loss_pct``, ``jitter_ms`` and ``fps``, those that the page gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The robot's newest token, echoed: proof that the operator hears the robot."""

    token: int
    picture: bool | None = None
    """Whether the operator's page shows a current picture; ``None``: it does not say."""
    latency: Latency | None = None
    """The latencies that the page measured; ``None``: it does not measure them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A clock probe; it is answered at once."""

    client_ts_s: float
    """Copied into the ``pong`` unchanged."""


#: Identifies a request in its acknowledgement; peers use text or whole numbers.
Nonce = str | int


class OriginRole(enum.Enum):
    """The role of the origin of an E-STOP or its release."""

    OPERATOR = 'operator'
    ADMIN = 'admin'
    VIEWER = 'viewer'
    ROBOT = 'robot'
    """Not a person: a topic, a service or a file on the robot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who, or which part of the robot, pressed or released the E-STOP."""

    sub: str
    """The person's name at the broker, or a topic, service or parameter; empty: unknown."""
    role: OriginRole

    def __str__(self) -> str:
        return f'{self.sub} ({self.role.value})' if self.sub else f'unnamed {self.role.value}'

    def as_fields(self) -> dict[str, str]:
        """Return its JSON fields."""
        return {'sub': self.sub, 'role': self.role.value}


#: For brokers that do not say who pressed; they forward E-STOPs of operators and viewers alike.
UNNAMED_OPERATOR: Final = Origin(sub='', role=OriginRole.OPERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estop:
    """Stop, and stay stopped."""

    nonce: Nonce | None
    by: Origin = UNNAMED_OPERATOR
    """Who pressed, according to the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstopClear:
    """Release the E-STOP latch."""

    nonce: Nonce | None
    latch: int | None = None
    """The number of the latch to release, from ``robot_telemetry``; ``None``: any."""
    by: Origin = UNNAMED_OPERATOR
    """Who releases, according to the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSelect:
    """Show these cameras, from left to right; unknown names are ignored."""

    cameras: tuple[str, ...]
    """Empty: the first camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SportCommand:
    """Take a posture or do a trick; old consoles send ``StandReady`` before driving."""

    name: str
    """Empty: the message has no valid name."""
    nonce: Nonce | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """A known request that this robot does not offer; it is acknowledged as failed."""

    type: str
    nonce: Nonce | None


OperatorMessage = (
    DriveCommand
    | JoyState
    | PoseCommand
    | Lease
    | Ping
    | Estop
    | EstopClear
    | CameraSelect
    | SportCommand
    | Unsupported
    | VideoStats
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelIds:
    """The SCTP stream id of each channel on one peer connection; ``None``: no operator."""

    cmd: int | None = None
    state: int | None = None
    state_back: int | None = None
    map: int | None = None

    def by_label(self) -> dict[str, int | None]:
        """Return the ids keyed by channel label, in the order of :data:`CHANNELS`."""
        return {
            STATE_RELIABLE_BACK: self.state_back,
            MAP_UNRELIABLE: self.map,
            STATE_RELIABLE: self.state,
            CMD_UNRELIABLE: self.cmd,
        }


class VideoCodec(enum.Enum):
    """A video codec; the value is its name on the wire."""

    H264 = 'h264'
    VP8 = 'vp8'

    def __str__(self) -> str:
        return {'h264': 'H.264', 'vp8': 'VP8'}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatAnswer:
    """The broker's desired-state snapshot (docs/protocol.md §2)."""

    channels: ChannelIds
    renegotiate_offer: str | None
    control_epoch: int | None
    """The number of operators that the session has had; ``None``: the broker does not say."""
    video_codec: VideoCodec | None = None
    """The negotiated codec to send from now on; ``None``: no change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """One STUN or TURN server as the broker names it."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAnswer:
    """The answer to ``POST /sessions``."""

    session_id: str
    sdp_answer: str
