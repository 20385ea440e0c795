"""The node ``teleop_bridge``: one robot, seen from ROS."""

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

from collections.abc import Mapping, Sequence
import json
import os
import secrets
import time
from typing import Any, Final
import uuid

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from teleop_webrtc_bridge.bridge.link.packets import Configure
from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera, CameraSettings
from teleop_webrtc_bridge.bridge.ros.camera.cameras import Cameras
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.diagnostics import diagnose, INSECURE
from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot, DriveThread
from teleop_webrtc_bridge.bridge.ros.estop.file import estop_path, EstopFile
from teleop_webrtc_bridge.bridge.ros.estop.keeper import EstopKeeper
from teleop_webrtc_bridge.bridge.ros.graph import NODE_NAME, published, TopicWatch, type_name
from teleop_webrtc_bridge.bridge.ros.local_control import LATCHED_QOS, LocalControl
from teleop_webrtc_bridge.bridge.ros.operator_messages import DROPPED_FRAME
from teleop_webrtc_bridge.bridge.ros.parameters.api_key import read_api_key
from teleop_webrtc_bridge.bridge.ros.parameters.camera_declaration import declare_cameras
from teleop_webrtc_bridge.bridge.ros.parameters.camera_rows import refuse_unknown_names
from teleop_webrtc_bridge.bridge.ros.parameters.declaration import declare
from teleop_webrtc_bridge.bridge.ros.parameters.table import Settings
from teleop_webrtc_bridge.bridge.ros.self_diagnosis import SelfDiagnosis
from teleop_webrtc_bridge.bridge.ros.steady_timer import Every, SteadyTimer
from teleop_webrtc_bridge.bridge.ros.webrtc_process import WebrtcProcess
from teleop_webrtc_bridge.core.configuration import check_aiortc
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import Velocity
from teleop_webrtc_bridge.core.motion.command_frames import CommandFrames
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate
from teleop_webrtc_bridge.core.session import BridgeState

__all__ = ['TeleopBridge']

DIAGNOSTICS_PERIOD_S: Final = 1.0
GRAPH_PERIOD_S: Final = 0.5
REFUSED_FRAMES_PERIOD_S: Final = 10.0
KEEP_ALIVE_PERIOD_S: Final = 1.0
ACKNOWLEDGED_S: Final = 0.2
"""How long the last zero may take to be acknowledged by its subscribers."""

COMMAND_QOS: Final = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
_TROUBLE: Final = (BridgeState.BACKING_OFF, BridgeState.SUPERSEDED, BridgeState.REFUSED)
_ATTEMPTS: Final = (BridgeState.BACKING_OFF, BridgeState.DIALLING)


class TeleopBridge(Node):
    """
    Subscribes cameras, publishes ``cmd_vel``; in between: the gate, and one WebRTC process.

    Everything that makes a robot *this* robot is a parameter of this node or belongs to it, so
    that several of these nodes in one process are several robots.

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
        probe = _override_probe(context, namespace, parameter_overrides)
        try:
            super().__init__(
                NODE_NAME,
                context=context,
                namespace=namespace,
                parameter_overrides=parameter_overrides,
            )
            names = list(probe.get_parameters_by_prefix(''))
        finally:
            # Not before this node is there: the last node of a context takes the DDS participant
            # along, in which Fast DDS may hang, and the next one waits for a new one.
            probe.destroy_node()
        try:
            self._settings = declare(self)
            cameras = declare_cameras(self, self._settings)
            refuse_unknown_names(names, [camera.name for camera in cameras if camera.is_named])
            api_key = read_api_key(self._settings.api_key_file)
        except Exception:
            self.destroy_node()
            raise
        self._told = ''
        self._blind = False
        self._has_cameras = True
        self._is_realtime: bool | None = None
        self._diagnosed: list[tuple[str, bytes, str]] = []
        self._estops = self._keep_estops()
        self._logged: tuple[object, bool] | None = None
        self._refused_frames = 0
        self._create_topics()
        self._create_bridge(api_key, cameras)
        self._local = LocalControl(self, self._drive, self._reconnect)
        self._topics = self._watch_topics()
        self._graph = Every(GRAPH_PERIOD_S)
        self._report = Every(DIAGNOSTICS_PERIOD_S)
        self._frame_report = Every(REFUSED_FRAMES_PERIOD_S)
        self._keep_alive = Every(KEEP_ALIVE_PERIOD_S)
        self._turns = SteadyTimer(self, self._take_turn)
        self.add_post_set_parameters_callback(self._apply_parameters)

    # --- construction -------------------------------------------------------------------------

    def _keep_estops(self) -> EstopKeeper:
        path = estop_path(self._settings.robot_id, self.get_fully_qualified_name())
        return EstopKeeper(
            EstopFile(path),
            outlives_end=self._settings.estop_persist,
            log=self._say,
            warn=self._warn,
            complain=self._complain,
        )

    def _create_topics(self) -> None:
        kind = TwistStamped if self._settings.publish_stamped else Twist
        self._cmd_vel: Publisher[Any] = self.create_publisher(kind, 'cmd_vel', COMMAND_QOS)
        self._state: Publisher[Any] = self.create_publisher(String, '~/state', LATCHED_QOS)
        self._diagnostics: Publisher[Any] = self.create_publisher(
            DiagnosticArray, '/diagnostics', 1
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
            others=[published(self._state, durable=True), published(self._diagnostics)],
            warn=self._warn,
            complain=self._complain,
        )

    def _create_bridge(self, api_key: str, cameras: Sequence[CameraSettings]) -> None:
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._images = ImageThread(on_failure=self.wake)
        self._cameras = Cameras(
            [
                Camera(
                    self,
                    camera,
                    thread=self._images,
                    wake=self._wake,
                    on_image=self._on_image,
                    warn=self._warn,
                )
                for camera in cameras
            ],
            thread=self._images,
            on_show=self._show,
            warn=self._warn,
        )
        clock_ahead_s = time.time() - time.monotonic()
        self._changed = self.create_guard_condition(self._on_drive_change)
        gate = CommandGate(self._settings.limits(), first_token=secrets.randbits(32))
        if self._estops.restored is not None:
            # Before anything can ask: a latch that is not known yet would be recorded as released.
            gate.set_estop(time.monotonic())
        self._drive = DriveThread(
            gate,
            publish=self._publish_velocity,
            on_change=self._changed.trigger,
            cameras=self._cameras.names,
            clock_ahead_s=clock_ahead_s,
            restored=self._estops.restored,
            frames=CommandFrames(self._settings.command_frames_refused),
        )
        configuration = self._settings.bridge_configuration(
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
        self._diagnosis = SelfDiagnosis(
            self,
            self._webrtc,
            clock_ahead_s=clock_ahead_s,
            persisted=self._estops.outlives_end,
        )

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to drive and to dial."""
        if self._settings.allow_insecure_broker:
            self._warn(f'event=insecure_broker broker_url={self._settings.broker_url} {INSECURE}')
        self._images.start()
        self._drive.start()
        self._webrtc.start()

    def leave(self, *, in_good_order: bool) -> None:
        """
        Stop the robot, say goodbye to the broker, publish the last zero.

        :param in_good_order: Whether somebody wants this end: an E-STOP latch outlives any other.
        """
        self._drive.say_goodbye('the bridge ends')
        self._webrtc.end()
        self._drive.end()
        self._tell_estops()
        if in_good_order and self.failure is None:
            self._estops.end()
        self._cmd_vel.wait_for_all_acked(rclpy.duration.Duration(seconds=ACKNOWLEDGED_S))

    def free(self) -> None:
        """Give everything back, after :meth:`leave`."""
        self._cameras.close()
        if self._images.end():
            self._cameras.free()
        os.close(self._wake)
        self.destroy_node()

    def wake(self) -> None:
        """Let the executor take a turn; may be called from any thread."""
        self._changed.trigger()

    @property
    def failure(self) -> BaseException | None:
        """What broke one of the node's threads; the process must end."""
        return self._drive.snapshot.failure or self._images.failure

    @property
    def webrtc_pid(self) -> int | None:
        """Process id of the WebRTC half."""
        return self._webrtc.pid

    # --- callbacks ----------------------------------------------------------------------------

    def _publish_velocity(self, velocity: Velocity) -> None:
        """Publish on ``cmd_vel``; called from the drive thread only."""
        twist = Twist()
        # Field types are not checked by rclpy: an int or a numpy scalar would be sent as garbage.
        twist.linear.x, twist.linear.y, twist.linear.z = map(float, velocity.axes()[:3])
        twist.angular.x, twist.angular.y, twist.angular.z = map(float, velocity.axes()[3:])
        if not self._settings.publish_stamped:
            self._cmd_vel.publish(twist)
            return
        # The robot's clock, never the operator's: the base judges the age by this stamp.
        stamped = TwistStamped(twist=twist)
        stamped.header.stamp = self.get_clock().now().to_msg()
        stamped.header.frame_id = self._settings.base_frame
        self._cmd_vel.publish(stamped)

    def _say(self, text: str) -> None:
        self.get_logger().info(text)

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text)

    def _complain(self, text: str) -> None:
        self.get_logger().error(text)

    def _show(self, cameras: tuple[str, ...]) -> None:
        self.get_logger().info(f'event=cameras_shown names={",".join(cameras)}')
        self._drive.show(cameras)

    def _take_turn(self) -> None:
        now = time.monotonic()
        self._local.publish()
        if self._graph.is_due(now):
            self._watch_graph()
        self._watch_cameras()
        if self._report.is_due(now):
            self._publish_diagnostics()
        if self._keep_alive.is_due(now):
            self._keep_track_alive()

    def _on_image(self) -> None:
        """Look at the cameras at once if that may change something; called by their thread."""
        if self._blind or self._cameras.is_changing:
            self.wake()

    def _watched_fps(self) -> float:
        """Return how many frames a second somebody watches."""
        snapshot = self._drive.snapshot
        watched = snapshot.link_up and snapshot.status.state is BridgeState.OPERATED
        return self._settings.video_fps if watched else 0.0

    def _on_drive_change(self) -> None:
        snapshot = self._drive.snapshot
        self._watch_cameras()
        self._local.publish_change()
        self._tell_estops()
        self._publish_state(snapshot)
        self._say_scheduling(snapshot)
        self._tell_refused_frames(snapshot)
        self._publish_diagnostics(only_news=True)

    def _say_scheduling(self, snapshot: DriveSnapshot) -> None:
        if snapshot.realtime is False and self._is_realtime is None:
            self._warn(
                'event=no_realtime_priority hint="a busy computer may delay the zero: allow '
                'SCHED_FIFO, by LimitRTPRIO=10 of systemd or rtprio in limits.conf"'
            )
        self._is_realtime = snapshot.realtime

    def _tell_refused_frames(self, snapshot: DriveSnapshot) -> None:
        """Name what sends commands that do not mean the base, now and then."""
        count = snapshot.counters.get(DROPPED_FRAME, 0)
        if count == self._refused_frames or not self._frame_report.is_due(time.monotonic()):
            return
        self._warn(
            f'event=command_refused frame_id={json.dumps(snapshot.refused_frame)} '
            f'count={count - self._refused_frames} '
            'hint="it does not mean the base; command_frames_refused names what is refused"'
        )
        self._refused_frames = count

    def _tell_estops(self) -> None:
        self._estops.save(self._drive.snapshot)
        self._estops.log(self._drive.take_estop_events())

    def _watch_cameras(self) -> None:
        """Slow the operator down while there is no picture of now that he could drive by."""
        now = time.monotonic()
        self._cameras.follow(now, self._watched_fps(), self._drive.snapshot.selected)
        self._drive.tell_faults(self._cameras.faults(now))
        blind = self._cameras.is_blind(now)
        if blind is not self._blind:
            self._blind = blind
            self._drive.request(lambda gate, now: gate.set_blind(now, blind))
        has_cameras = self._cameras.has_any
        if has_cameras is not self._has_cameras:
            self._has_cameras = has_cameras
            self._drive.request(lambda gate, now: gate.set_cameras(now, has_cameras))
        self._turns.pace(is_idle=self._cameras.are_closed and not self._local.is_heard)

    def _keep_track_alive(self) -> None:
        """Send something while nobody watches: media backends give up tracks that are silent."""
        snapshot = self._drive.snapshot
        if snapshot.link_up and snapshot.status.state is BridgeState.CONNECTED:
            self._cameras.keep_alive(time.monotonic())

    def _watch_graph(self) -> None:
        self._cameras.watch_graph()
        self._topics.look()

    def _reconnect(self) -> None:
        """Begin a new session: the WebRTC half says goodbye and is started again."""
        self._drive.say_goodbye('a new session was asked for')

    def _publish_state(self, snapshot: DriveSnapshot) -> None:
        """Publish ``~/state`` when it changed, and log what the robot's owner should know."""
        state = {
            'robot_id': self._settings.robot_id,
            'state': snapshot.status.state.value,
            'reason': snapshot.status.reason,
            'estopped': snapshot.estopped,
            'estopped_by': None if snapshot.cause is None else snapshot.cause.by.as_fields(),
        }
        text = json.dumps(state)
        if text == self._told:
            return
        self._told = text
        self._state.publish(String(data=text))
        self._log_state(snapshot, state)

    def _log_state(self, snapshot: DriveSnapshot, state: Mapping[str, object]) -> None:
        """Log a change; the trouble of which the last attempt failed too is not told again."""
        status = snapshot.status
        key = (status.reason if status.state in _ATTEMPTS else status.state, snapshot.estopped)
        if key == self._logged and status.state in _ATTEMPTS:
            return
        self._logged = key
        line = ' '.join(f'{name}={json.dumps(value)}' for name, value in state.items())
        if status.state in _TROUBLE:
            self.get_logger().error(f'event=state {line}')
        else:
            self.get_logger().info(f'event=state {line}')

    def _publish_diagnostics(self, *, only_news: bool = False) -> None:
        snapshot, now = self._drive.snapshot, time.monotonic()
        statuses = diagnose(
            self._settings,
            snapshot,
            self._cameras,
            self._cmd_vel,
            now=now,
            others=self._diagnosis.concerns(snapshot, now, self._topics.report),
            node_name=self.get_fully_qualified_name(),
            topics=self._topics.report,
        )
        said = [(status.name, status.level, status.message) for status in statuses]
        if only_news and said == self._diagnosed:
            return
        self._diagnosed = said
        array = DiagnosticArray(status=statuses)
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _apply_parameters(self, parameters: list[Parameter[Any]]) -> None:
        """Take over dynamic parameters; their ranges were checked by rclpy."""
        values = {name: self.get_parameter(name).value for name in Settings.__dataclass_fields__}
        self._settings = Settings(**values)
        limits = self._settings.limits()
        self._drive.request(lambda gate, now: gate.set_limits(now, limits))


def _override_probe(
    context: Context | None,
    namespace: str | None,
    parameter_overrides: list[Parameter[Any]] | None,
) -> Node:
    """Return a node that has all parameters which were given, known or not."""
    try:
        return Node(
            NODE_NAME,
            context=context,
            namespace=namespace,
            parameter_overrides=parameter_overrides,
            enable_rosout=False,
            start_parameter_services=False,
            allow_undeclared_parameters=True,
            automatically_declare_parameters_from_overrides=True,
        )
    except ValueError:
        # In ROS an empty list has no type. rclpy does not tell which parameter it is.
        raise ConfigurationError(
            'parameter', '[]', "a value: leave the parameter out, or, of texts, ['']"
        ) from None
