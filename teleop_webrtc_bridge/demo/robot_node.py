"""The ROS node of the simulated robot: ``cmd_vel`` in; front and rear images and odometry out."""

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

from array import array
import dataclasses
from dataclasses import dataclass
import math
import time
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from teleop_webrtc_bridge.demo.camera_view import CameraView
from teleop_webrtc_bridge.demo.diff_drive import (
    CommandBuffer,
    CommandOutcome,
    DriveLimits,
    DriveSpeed,
    move,
    Pose,
)
from teleop_webrtc_bridge.demo.overlay import Overlay
from teleop_webrtc_bridge.demo.parameters import declare_parameters, RobotParameters
from teleop_webrtc_bridge.demo.world import courtyard

__all__ = ['Pacer', 'SimulatedRobot']

ROBOT_RADIUS_M = 0.35
# After a stall (a laptop that was asleep), the robot does not drive through the lost time.
LONGEST_STEP_S = 0.2
WARN_EVERY_S = 1.0
# Best effort loses images of this size between processes unless the shared memory is large, and a
# user's own profile may make it small. Depth 2: one is in transit while the next is drawn.
IMAGE_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
# Variances of x, y, z, roll, pitch, yaw in m^2 and rad^2. The simulation is exact, but filters
# such as robot_localization reject zeros; the axes that a planar robot cannot measure are huge.
VARIANCES = (1e-4, 1e-4, 1e6, 1e6, 1e6, 1e-4)


class Pacer:
    """
    A fixed grid of instants, without a clock of its own.

    A late call does not shift later instants; missed ones are skipped.

    Owned by the one thread that calls it.

    :param period_s: Distance between two instants, in s.
    :param start_s: The first instant, by the caller's steady clock, in s.
    """

    def __init__(self, *, period_s: float, start_s: float) -> None:
        self._period_s = period_s
        #: The next instant, in s.
        self.next_s = start_s

    def take(self, now_s: float) -> bool:
        """
        Return whether an instant has passed since the last call, and advance if so.

        :param now_s: The steady clock, in s.
        """
        late_s = now_s - self.next_s
        if late_s < 0.0:
            return False
        self.next_s += self._period_s * (1 + late_s // self._period_s)
        return True


@dataclass(kw_only=True, slots=True)
class _Eye:
    """
    One of the cameras. All have the same optics and are at the robot's centre.

    :param heading: Viewing direction relative to straight ahead, in rad.
    :param picture: The message's own memory.
    :param drawn: The pose that the picture shows.
    """

    heading: float
    publisher: Any
    message: Image
    picture: Any
    drawn: Pose | None = None


class SimulatedRobot(Node):
    """
    A robot to drive.

    The thread that calls :meth:`step` owns its state. The executor's thread only hands over
    commands, through :class:`CommandBuffer`.

    :param context: The ROS context of the node.
    :raises ConfigurationError: If a parameter has an invalid value.
    """

    def __init__(self, *, context: Context) -> None:
        super().__init__('simulated_robot', context=context)
        self._settings = declare_parameters(self)
        p = self._settings
        self._world = courtyard()
        self._pose = Pose()
        # The actual speed, which at a wall is lower than the commanded one.
        self._velocity = DriveSpeed()
        self._moved_at = time.monotonic()
        self._commands = CommandBuffer(
            timeout_s=p.cmd_vel_timeout,
            limits=DriveLimits(
                max_linear=p.max_linear_velocity, max_angular=p.max_angular_velocity
            ),
        )
        self._warned_unstamped = False
        self._build_camera(p)
        self._build_messages(p)
        self._info_publisher = self.create_publisher(CameraInfo, 'camera/camera_info', IMAGE_QOS)
        self._odom_publisher = self.create_publisher(Odometry, 'odom', 10)
        if p.use_stamped_vel:
            self.create_subscription(TwistStamped, 'cmd_vel', self._on_twist_stamped, 10)
        else:
            self.create_subscription(Twist, 'cmd_vel', self._on_twist, 10)
        start_s = time.monotonic()
        self._odom_pacer = Pacer(period_s=1.0 / p.odom_rate, start_s=start_s)
        self._image_pacer = Pacer(period_s=1.0 / p.fps, start_s=start_s)

    def step(self) -> float:
        """
        Do what is due; return the number of seconds until the next call.

        ROS timers are not used: each wake-up of an rclpy executor costs more than moving the
        robot, and under ``use_sim_time`` without a ``/clock`` they would not fire at all.
        """
        now_s = time.monotonic()
        if self._odom_pacer.take(now_s):
            self._publish_odom()
        if self._image_pacer.take(now_s):
            self._publish_image()
        due_s = min(self._odom_pacer.next_s, self._image_pacer.next_s)
        return max(0.0, due_s - time.monotonic())

    def _build_camera(self, p: RobotParameters) -> None:
        bgr = p.encoding == 'bgr8'
        self._view = CameraView(self._world, width=p.width, height=p.height, bgr=bgr)
        self._overlay = Overlay(width=p.width, height=p.height, bgr=bgr) if p.overlay else None
        self._front = self._build_eye(p, 'camera', 0.0)
        self._eyes = (self._front, self._build_eye(p, 'camera_rear', math.pi))

    def _build_eye(self, p: RobotParameters, name: str, heading: float) -> _Eye:
        message = Image(height=p.height, width=p.width, encoding=p.encoding, step=3 * p.width)
        message.header.frame_id = p.camera_frame if not heading else f'rear_{p.camera_frame}'
        # The message keeps this array, and the picture is drawn into its memory: no copy.
        message.data = array('B', bytes(3 * p.width * p.height))
        picture = np.frombuffer(message.data, np.uint8).reshape(p.height, p.width, 3)
        publisher = self.create_publisher(Image, f'{name}/image_raw', IMAGE_QOS)
        return _Eye(heading=heading, publisher=publisher, message=message, picture=picture)

    def _build_messages(self, p: RobotParameters) -> None:
        f, cx, cy = self._view.focal_px, 0.5 * p.width, 0.5 * p.height
        self._info = CameraInfo(height=p.height, width=p.width, distortion_model='plumb_bob')
        self._info.header.frame_id = p.camera_frame
        self._info.d = [0.0] * 5
        self._info.k = [f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0]
        self._info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        self._info.p = [f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        self._odom = Odometry(child_frame_id=p.base_frame)
        self._odom.header.frame_id = p.odom_frame
        covariance = np.diag(VARIANCES).ravel()
        self._odom.pose.covariance = covariance
        self._odom.twist.covariance = covariance

    def _on_twist_stamped(self, message: TwistStamped) -> None:
        stamp = message.header.stamp
        self._on_command(message.twist, stamp.sec * 1_000_000_000 + stamp.nanosec)

    def _on_twist(self, message: Twist) -> None:
        self._on_command(message, self.get_clock().now().nanoseconds)

    def _on_command(self, twist: Twist, stamp_ns: int) -> None:
        command = DriveSpeed(linear=twist.linear.x, angular=twist.angular.z)
        now_ns = self.get_clock().now().nanoseconds
        outcome = self._commands.accept(command, stamp_ns=stamp_ns, now_ns=now_ns)
        if outcome is CommandOutcome.ACCEPTED:
            return
        if outcome is CommandOutcome.ACCEPTED_UNSTAMPED:
            if not self._warned_unstamped:
                self._warned_unstamped = True
                if self._settings.use_stamped_vel:
                    self.get_logger().warning(f'event=command_unstamped verdict="{outcome.value}"')
            return
        self.get_logger().warning(
            f'event=command_ignored verdict="{outcome.value}" '
            f'age_s={(now_ns - stamp_ns) * 1e-9:.3f}',
            throttle_duration_sec=WARN_EVERY_S,
        )

    def _advance(self, ros_now_ns: int) -> None:
        # Distance is speed times real time; only a command's age is measured in ROS time.
        now = time.monotonic()
        duration_s = min(now - self._moved_at, LONGEST_STEP_S)
        self._moved_at = now
        wanted = self._commands.velocity(ros_now_ns)
        if duration_s <= 0.0 or wanted == DriveSpeed():
            self._velocity = wanted
            return
        old = self._pose
        self._pose = move(old, wanted, duration_s, self._world, ROBOT_RADIUS_M)
        middle = old.yaw + 0.5 * wanted.angular * duration_s
        dx, dy = self._pose.x - old.x, self._pose.y - old.y
        forward = (dx * math.cos(middle) + dy * math.sin(middle)) / duration_s
        self._velocity = DriveSpeed(linear=forward, angular=wanted.angular)

    def _publish_odom(self) -> None:
        now = self.get_clock().now()
        self._advance(now.nanoseconds)
        odom, pose = self._odom, self._pose
        odom.header.stamp = now.to_msg()
        odom.pose.pose.position.x = pose.x
        odom.pose.pose.position.y = pose.y
        odom.pose.pose.orientation.z = math.sin(0.5 * pose.yaw)
        odom.pose.pose.orientation.w = math.cos(0.5 * pose.yaw)
        odom.twist.twist.linear.x = self._velocity.linear
        odom.twist.twist.angular.z = self._velocity.angular
        self._odom_publisher.publish(odom)

    def _publish_image(self) -> None:
        now = self.get_clock().now()
        stamp: Time = now.to_msg()
        if self._info_publisher.get_subscription_count():
            self._info.header.stamp = stamp
            self._info_publisher.publish(self._info)
        watched = [eye for eye in self._eyes if eye.publisher.get_subscription_count()]
        if not watched:
            return
        self._advance(now.nanoseconds)
        for eye in watched:
            # A robot that stands still sees the same picture.
            if self._pose != eye.drawn:
                self._view.render(
                    dataclasses.replace(self._pose, yaw=self._pose.yaw + eye.heading), eye.picture
                )
                eye.drawn = self._pose
            if self._overlay is not None and eye is self._front:
                stamp_s = now.nanoseconds * 1e-9
                self._overlay.draw(eye.picture, self._pose, self._velocity, stamp_s)
            eye.message.header.stamp = stamp
            eye.publisher.publish(eye.message)
