"""
The node ``teleop_bridge``: builds one robot's bridge and connects its parts to ROS.

``__init__`` is the composition root: it declares the parameters, then builds the parts in the
order of their dependencies. The methods below start and end the parts, and pass on what happens
between ROS, the cameras, the drive thread and the WebRTC half.
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

from collections.abc import Sequence
import os
import secrets
import time
from typing import Any, Final
import uuid

from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Joy

from teleop_webrtc_bridge.bridge.link.packets import Configure
from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera, Cameras
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl, RclUnusable
from teleop_webrtc_bridge.bridge.ros.diagnostics import (
    Diagnostics,
    INSECURE,
    StateReport,
)
from teleop_webrtc_bridge.bridge.ros.drive import DriveThread, OtherDevices
from teleop_webrtc_bridge.bridge.ros.estop import estop_path, EstopFile, EstopKeeper
from teleop_webrtc_bridge.bridge.ros.graph import NODE_NAME, published, TopicWatch, type_name
from teleop_webrtc_bridge.bridge.ros.local_control import LocalControl
from teleop_webrtc_bridge.bridge.ros.parameters.declaration import (
    declare,
    declare_cameras,
    given_parameters,
)
from teleop_webrtc_bridge.bridge.ros.parameters.table import (
    CameraSettings,
    read_api_key,
    refuse_unknown,
    Settings,
)
from teleop_webrtc_bridge.bridge.ros.steady_timer import Every, SteadyTimer
from teleop_webrtc_bridge.bridge.ros.webrtc_process import WebrtcProcess
from teleop_webrtc_bridge.core.configuration import check_aiortc
from teleop_webrtc_bridge.core.messages import JoyState, Pose, Velocity
from teleop_webrtc_bridge.core.motion.command_frames import CommandFrames
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate
from teleop_webrtc_bridge.core.motion.other_devices import JoyGate, PoseGate
from teleop_webrtc_bridge.core.session import BridgeState
from teleop_webrtc_bridge.core.texts import shown

__all__ = ['TeleopBridge']

DIAGNOSTICS_PERIOD_S: Final = 1.0
GRAPH_PERIOD_S: Final = 0.5
DISCOVERY_S: Final = 10.0
"""
Time after the start in which a robot counts as one with a camera that sends nothing.

Fast DDS repeats its announcements every 3 s. If the first ones are lost, discovery takes about
4 s, and on a busy machine up to 7 s.
"""
KEEP_ALIVE_PERIOD_S: Final = 1.0
ACKNOWLEDGED_S: Final = 0.2
"""How long to wait until the subscribers have acknowledged the last zero."""

MAX_DEVICE_CHARS: Final = 64
"""Limit of the name of an operator's device."""
COMMAND_QOS: Final = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
JOY_QOS: Final = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
"""The states of several controllers must not replace each other, nor a press its release."""


class TeleopBridge(Node):
    """
    Subscribes to the cameras and publishes ``cmd_vel``; the WebRTC half is its child process.

    All state of a robot belongs to its node, so that several nodes in one process are several
    robots.

    :param context: The rclpy context; ``None`` for the default one.
    :param namespace: Namespace of the node.
    :param parameter_overrides: As for :class:`rclpy.node.Node`.
    :raises ConfigurationError: A parameter, the API key or the installation cannot work.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        namespace: str | None = None,
        parameter_overrides: list[Parameter[Any]] | None = None,
    ) -> None:
        check_aiortc()
        with given_parameters(
            NODE_NAME,
            context=context,
            namespace=namespace,
            parameter_overrides=parameter_overrides,
        ) as given:
            super().__init__(
                NODE_NAME,
                context=context,
                namespace=namespace,
                parameter_overrides=parameter_overrides,
            )
        try:
            self._settings = declare(self)
            cameras = declare_cameras(self, self._settings)
            refuse_unknown(given, [camera.name for camera in cameras if camera.is_named])
            api_key = read_api_key(self._settings.api_key_file)
        except Exception:
            self.destroy_node()
            raise
        self._build(api_key, cameras)
        self.add_post_set_parameters_callback(self._apply_parameters)

    # --- construction -------------------------------------------------------------------------

    def _build(self, api_key: str, cameras: Sequence[CameraSettings]) -> None:
        settings = self._settings
        clock_ahead_s = time.time() - time.monotonic()
        kind = TwistStamped if settings.publish_stamped else Twist
        self._cmd_vel: Publisher[Any] = self.create_publisher(kind, 'cmd_vel', COMMAND_QOS)
        self._besides: list[Publisher[Any]] = []
        """Those of what the operator controls besides the base."""
        self._state = StateReport(
            self, settings.robot_id, log=self._log, warn=self._warn, complain=self._complain
        )
        self._estops = EstopKeeper(
            EstopFile(estop_path(settings.robot_id, self.get_fully_qualified_name())),
            outlives_end=settings.estop_persist,
            log=self._log,
            warn=self._warn,
            complain=self._complain,
        )
        self._build_cameras(cameras)
        self._build_drive(clock_ahead_s)
        configuration = settings.bridge_configuration(
            instance_id=uuid.uuid4().hex,
            api_key=api_key,
            clock_ahead_s=clock_ahead_s,
            cameras=tuple(camera.configuration() for camera in cameras),
        )
        self._webrtc = WebrtcProcess(
            Configure(configuration=configuration),
            memories=[camera.memory for camera in self._cameras.all],
            wake=self._wake,
            on_link=self._drive.use_link,
            warn=self._complain,
            words=lambda: self._drive.words,
        )
        self._local = LocalControl(self, self._drive, self._reconnect)
        self._diagnostics = Diagnostics(
            self,
            cameras=self._cameras,
            cmd_vel=self._cmd_vel,
            besides=self._besides,
            webrtc=self._webrtc,
            clock_ahead_s=clock_ahead_s,
            persisted=self._estops.outlives_end,
        )
        self._topics = self._watch_topics()
        self._graph_timer = Every(GRAPH_PERIOD_S)
        self._diagnostics_timer = Every(DIAGNOSTICS_PERIOD_S)
        self._keep_alive_timer = Every(KEEP_ALIVE_PERIOD_S)
        self._timer = SteadyTimer(self, self._on_timer)

    def _build_cameras(self, cameras: Sequence[CameraSettings]) -> None:
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._images = ImageThread(on_failure=self.wake)
        rcl = self._find_rcl()
        self._cameras = Cameras(
            [
                Camera(
                    self,
                    camera,
                    thread=self._images,
                    wake=self._wake,
                    on_image=self._on_image,
                    warn=self._warn,
                    rcl=rcl,
                )
                for camera in cameras
            ],
            thread=self._images,
            on_show=self._show,
            warn=self._warn,
            discovered_s=time.monotonic() + DISCOVERY_S,
        )
        self._is_blind = True
        self._has_cameras = True

    def _find_rcl(self) -> Rcl | None:
        """Return rcl's functions, or ``None`` if rclpy is to take the images."""
        if not self._settings.direct_image_take:
            self._log("event=images_by_rclpy reason='direct_image_take is false'")
            return None
        try:
            return Rcl()
        except RclUnusable as error:
            self._warn(f'event=images_by_rclpy reason={str(error)!r:.200}')
            return None

    def _build_drive(self, clock_ahead_s: float) -> None:
        self._changed = self.create_guard_condition(self._on_drive_change)
        gate = CommandGate(self._settings.limits(), first_token=secrets.randbits(32))
        # Until the first look at the cameras.
        gate.set_blind(time.monotonic(), self._is_blind)
        if self._estops.restored is not None:
            # Before the first snapshot, which would be saved as released.
            gate.set_estop(time.monotonic())
        self._drive = DriveThread(
            gate,
            publish=self._publish_velocity,
            on_change=self._changed.trigger,
            cameras=self._cameras.names,
            clock_ahead_s=clock_ahead_s,
            restored=self._estops.restored,
            frames=CommandFrames(self._settings.command_frames_refused),
            others=self._other_devices(gate),
            stereo=[name for name in self._settings.stereo_cameras if name],
        )

    def _other_devices(self, gate: CommandGate) -> OtherDevices:
        """Return what the operator may control besides the base."""
        settings = self._settings
        joy = poses = None
        if settings.joy:
            self._joy: Publisher[Any] = self.create_publisher(Joy, 'joy', JOY_QOS)
            self._besides.append(self._joy)
            joy = JoyGate(gate, while_estopped=settings.joy_while_estopped)
        if settings.pose_commands:
            self._poses: dict[str, Publisher[Any]] = {
                hand: self.create_publisher(PoseStamped, f'~/pose_{hand}', COMMAND_QOS)
                for hand in ('left', 'right')
            }
            self._besides += self._poses.values()
            poses = PoseGate(gate)
        return OtherDevices(
            joy=joy,
            publish_joy=self._publish_joy,
            poses=poses,
            publish_pose=self._publish_pose,
        )

    def _watch_topics(self) -> TopicWatch:
        hints = (
            (type_name(TwistStamped), 'set publish_stamped to true'),
            (type_name(Twist), 'set publish_stamped to false'),
        )
        return TopicWatch(
            self,
            cmd_vel=published(self._cmd_vel, hints=hints),
            estop=self._local.topics,
            others=[
                published(self._state.publisher, durable=True),
                published(self._diagnostics.publisher),
                *map(published, self._besides),
            ],
            warn=self._warn,
            complain=self._complain,
        )

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads and the WebRTC half."""
        if self._settings.allow_insecure_broker:
            self._warn(f'event=insecure_broker broker_url={self._settings.broker_url} {INSECURE}')
        self._images.start()
        self._drive.start()
        self._webrtc.start()

    def leave(self, *, in_good_order: bool) -> None:
        """
        Stop the robot, leave the broker, and publish the last zero.

        :param in_good_order: Whether the node was asked to end. Otherwise the E-STOP latch is
            preserved in any case.
        """
        self._drive.say_goodbye('the bridge ends')
        self._webrtc.end()
        self._drive.end()
        self._record_estops()
        if in_good_order and self.failure is None:
            self._estops.end()
        for publisher in (self._cmd_vel, *self._besides):
            publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=ACKNOWLEDGED_S))

    def free(self) -> None:
        """Free all resources, after :meth:`leave`."""
        self._cameras.close()
        if self._images.end():
            self._cameras.free()
        os.close(self._wake)
        self.destroy_node()

    def wake(self) -> None:
        """Wake the executor up; may be called from any thread."""
        self._changed.trigger()

    @property
    def failure(self) -> BaseException | None:
        """The exception that ended one of the node's threads; the process must end."""
        return self._drive.snapshot.failure or self._images.failure

    @property
    def webrtc_pid(self) -> int | None:
        """Process id of the WebRTC half."""
        return self._webrtc.pid

    # --- logging: one line of code per severity, which rclpy requires -------------------------

    def _log(self, text: str) -> None:
        self.get_logger().info(text)

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text)

    def _complain(self, text: str) -> None:
        self.get_logger().error(text)

    # --- called from other threads ------------------------------------------------------------

    def _publish_velocity(self, velocity: Velocity) -> None:
        """Publish on ``cmd_vel``; called from the drive thread only."""
        twist = Twist()
        # rclpy does not check field types: an int or a numpy scalar would be sent as garbage.
        twist.linear.x, twist.linear.y, twist.linear.z = map(float, velocity.axes()[:3])
        twist.angular.x, twist.angular.y, twist.angular.z = map(float, velocity.axes()[3:])
        if not self._settings.publish_stamped:
            self._cmd_vel.publish(twist)
            return
        # Stamped by the robot's clock, because the base computes the age from this stamp.
        stamped = TwistStamped(twist=twist)
        stamped.header.stamp = self.get_clock().now().to_msg()
        stamped.header.frame_id = self._settings.base_frame
        self._cmd_vel.publish(stamped)

    def _publish_joy(self, state: JoyState) -> None:
        """Publish on ``joy``; called from the drive thread only."""
        joy = Joy(axes=list(state.axes), buttons=list(state.buttons))
        joy.header.stamp = self.get_clock().now().to_msg()
        joy.header.frame_id = shown(state.frame_id, MAX_DEVICE_CHARS)
        self._joy.publish(joy)

    def _publish_pose(self, hand: str, pose: Pose) -> None:
        """Publish on ``~/pose_left`` or ``~/pose_right``; called from the drive thread only."""
        stamped = PoseStamped()
        stamped.header.stamp = self.get_clock().now().to_msg()
        stamped.header.frame_id = self._settings.base_frame
        position, orientation = stamped.pose.position, stamped.pose.orientation
        position.x, position.y, position.z = map(float, pose.position)
        orientation.x, orientation.y, orientation.z, orientation.w = map(float, pose.orientation)
        self._poses[hand].publish(stamped)

    def _on_image(self) -> None:
        """Look at the cameras at once if the image may change something."""
        if self._is_blind or self._cameras.is_changing:
            self.wake()

    def _show(self, cameras: tuple[str, ...]) -> None:
        self._log(f'event=cameras_shown names={",".join(cameras)}')
        self._drive.show(cameras)

    # --- callbacks of the executor ------------------------------------------------------------

    def _on_timer(self) -> None:
        now = time.monotonic()
        self._local.publish()
        if self._graph_timer.is_due(now):
            self._cameras.watch_graph()
            self._topics.look()
        self._watch_cameras()
        snapshot = self._drive.snapshot
        if self._diagnostics_timer.is_due(now):
            self._diagnostics.publish(self._settings, snapshot, self._topics.report)
        is_unwatched = snapshot.link_up and snapshot.status.state is BridgeState.CONNECTED
        if self._keep_alive_timer.is_due(now) and is_unwatched:
            # Media backends drop tracks that send nothing.
            self._cameras.keep_alive(time.monotonic())

    def _on_drive_change(self) -> None:
        snapshot = self._drive.snapshot
        self._watch_cameras()
        self._local.publish_change()
        self._record_estops()
        self._state.report(snapshot)
        self._diagnostics.publish(self._settings, snapshot, self._topics.report, only_changes=True)

    def _record_estops(self) -> None:
        snapshot = self._drive.snapshot
        self._estops.save(snapshot.estopped, snapshot.cause)
        self._estops.log(self._drive.take_estop_events())

    def _watch_cameras(self) -> None:
        """Show what the operator selected, and limit the speed while an image is missing."""
        now, snapshot = time.monotonic(), self._drive.snapshot
        is_watched = snapshot.link_up and snapshot.status.state is BridgeState.OPERATED
        fps = self._settings.video_fps if is_watched else 0.0
        self._cameras.follow(now, fps, snapshot.selected)
        self._drive.tell_faults(self._cameras.faults(now))
        is_blind = self._cameras.is_blind(now)
        if is_blind is not self._is_blind:
            self._is_blind = is_blind
            self._drive.request(lambda gate, now: gate.set_blind(now, is_blind))
        has_cameras = self._cameras.has_any
        if has_cameras is not self._has_cameras:
            self._has_cameras = has_cameras
            self._drive.request(lambda gate, now: gate.set_cameras(now, has_cameras))
        self._timer.pace(is_idle=self._cameras.are_closed and not self._local.is_heard)

    def _reconnect(self) -> None:
        """Begin a new session: the WebRTC half leaves the broker and is restarted."""
        self._drive.say_goodbye('a new session was requested')

    def _apply_parameters(self, parameters: list[Parameter[Any]]) -> None:
        """Apply dynamic parameters, whose bounds rclpy has checked."""
        values = {name: self.get_parameter(name).value for name in Settings.__dataclass_fields__}
        self._settings = Settings(**values)
        limits = self._settings.limits()
        self._drive.request(lambda gate, now: gate.set_limits(now, limits))
