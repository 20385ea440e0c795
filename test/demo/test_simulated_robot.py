"""The real program in a process of its own, seen through ROS."""

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
import signal
import subprocess
import sys
import time

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

NAMESPACE = '/yard'
PROGRAM = [sys.executable, '-m', 'teleop_webrtc_bridge.demo.simulated_robot', '--ros-args']
DEADLINE_S = 15.0
FAST = ['-p', 'width:=64', '-p', 'height:=64', '-p', 'fps:=5.0']


@pytest.fixture(autouse=True)
def quiet_ros(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path_factory.mktemp('log')))
    monkeypatch.setenv('ROS_PYTHON_CHECK_FIELDS', '1')


class Watcher:
    """A ROS node of the test, spun only while something is awaited."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('watcher', namespace=NAMESPACE, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.odometry: list[Odometry] = []
        self.node.create_subscription(Odometry, 'odom', self.odometry.append, 50)

    def wait_for(self, condition: Callable[[], bool], within_s: float = DEADLINE_S) -> None:
        """Spin until a condition holds."""
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, 'the condition was not met in time'
            self._executor.spin_once(timeout_sec=0.02)

    def drive(self, until: Callable[[], bool], linear: float, angular: float = 0.0) -> None:
        """Send stamped commands at about 20 Hz until a condition holds."""
        publisher = self.node.create_publisher(TwistStamped, 'cmd_vel', 10)
        message = TwistStamped()
        message.twist.linear.x, message.twist.angular.z = linear, angular
        sent_s = 0.0

        def send_and_ask() -> bool:
            nonlocal sent_s
            if time.monotonic() - sent_s > 0.05:
                sent_s = time.monotonic()
                message.header.stamp = self.node.get_clock().now().to_msg()
                publisher.publish(message)
            return until()

        self.wait_for(send_and_ask)
        self.node.destroy_publisher(publisher)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def watcher(quiet_ros: None) -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


@pytest.fixture
def start(quiet_ros: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def start_one(*arguments: str, ignore_sigint: bool = False) -> subprocess.Popen[str]:
        # As a non-interactive shell does for `command &`.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignore_sigint else None
        try:
            process = subprocess.Popen(
                [*PROGRAM, '-r', f'__ns:={NAMESPACE}', *arguments],
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def seconds(message: Image | Odometry) -> float:
    return float(message.header.stamp.sec + message.header.stamp.nanosec * 1e-9)


def test_pictures_arrive_at_their_rate_with_rising_stamps(
    watcher: Watcher, start: Callable[..., subprocess.Popen[str]]
) -> None:
    stamps: list[float] = []
    first: list[Image] = []
    infos: list[CameraInfo] = []

    def on_image(message: Image) -> None:
        stamps.append(seconds(message))
        if not first:
            first.append(message)

    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    watcher.node.create_subscription(Image, 'camera/image_raw', on_image, qos)
    watcher.node.create_subscription(CameraInfo, 'camera/camera_info', infos.append, qos)
    start()
    watcher.wait_for(lambda: len(stamps) > 1 and stamps[-1] - stamps[0] > 1.5)
    image = first[0]
    assert (image.width, image.height, image.step) == (1280, 720, 3840)
    assert image.encoding == 'bgr8'
    assert image.header.frame_id == 'camera_optical_frame'
    assert len(np.unique(np.frombuffer(image.data, np.uint8))) > 100
    assert infos[0].k[2] == 640.0
    gaps = np.diff(stamps)
    assert (gaps > 0.0).all()
    # A busy test machine may be late and lose some, but it is never early.
    assert float(np.median(gaps)) > 0.9 / 30


def test_it_drives_while_told_to_and_stops_when_commands_end(
    watcher: Watcher, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(*FAST)
    odometry = watcher.odometry
    watcher.drive(lambda: bool(odometry) and odometry[-1].pose.pose.position.x > 0.3, 0.8)
    assert odometry[-1].header.frame_id == 'odom'
    assert odometry[-1].child_frame_id == 'base_link'
    assert odometry[-1].pose.covariance[0] > 0.0
    watcher.wait_for(lambda: odometry[-1].twist.twist.linear.x == 0.0)
    where = odometry[-1].pose.pose.position.x
    count = len(odometry)
    watcher.wait_for(lambda: len(odometry) > count + 10)
    assert odometry[-1].pose.pose.position.x == where
    watcher.drive(lambda: odometry[-1].pose.pose.orientation.z > 0.1, 0.0, 1.0)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=DEADLINE_S) == 0
    assert 'Traceback' not in process.communicate()[1]


def test_a_stale_command_is_ignored_with_a_warning(
    watcher: Watcher, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(*FAST)
    publisher = watcher.node.create_publisher(TwistStamped, 'cmd_vel', 10)
    watcher.wait_for(lambda: publisher.get_subscription_count() > 0 and bool(watcher.odometry))
    message = TwistStamped()
    message.twist.linear.x = 1.0
    message.header.stamp.sec = watcher.node.get_clock().now().to_msg().sec - 2
    publisher.publish(message)
    count = len(watcher.odometry)
    watcher.wait_for(lambda: len(watcher.odometry) > count + 15)
    assert watcher.odometry[-1].pose.pose.position.x == 0.0
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=DEADLINE_S) == 0
    assert 'event=command_ignored' in process.communicate()[1]


def test_plain_twist_on_request(
    watcher: Watcher, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start(*FAST, '-p', 'use_stamped_vel:=false')
    publisher = watcher.node.create_publisher(Twist, 'cmd_vel', 10)
    watcher.wait_for(lambda: publisher.get_subscription_count() > 0 and bool(watcher.odometry))
    message = Twist()
    message.linear.x = -0.5
    publisher.publish(message)
    watcher.wait_for(lambda: watcher.odometry[-1].pose.pose.position.x < -0.1)
    watcher.wait_for(lambda: watcher.odometry[-1].twist.twist.linear.x == 0.0)


def test_sim_time_without_a_clock_still_gives_odometry(
    watcher: Watcher, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start(*FAST, '-p', 'use_sim_time:=true')
    watcher.wait_for(lambda: len(watcher.odometry) > 10)
    assert seconds(watcher.odometry[-1]) == 0.0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_sent_twice_ends_it_cleanly(
    watcher: Watcher, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = start(*FAST, ignore_sigint=number is signal.SIGINT)
    watcher.wait_for(lambda: bool(watcher.odometry))
    process.send_signal(number)
    process.send_signal(number)
    assert process.wait(timeout=DEADLINE_S) == 0
    assert process.communicate()[1] == ''


@pytest.mark.parametrize(
    ('argument', 'parts'),
    [
        ('width:=63', ('width', '63', '64')),
        ('fps:=0.0', ('fps', '0.0', '120.0')),
        ('fps:=abc', ('fps', "'abc'", '120.0')),
        ('cmd_vel_timeout:=.nan', ('cmd_vel_timeout', 'nan', '10.0')),
        ('max_linear_velocity:=1', ('max_linear_velocity', '1', 'decimal point')),
        ('encoding:=mono8', ('encoding', "'mono8'", 'bgr8, rgb8')),
    ],
)
def test_a_bad_parameter_is_named_in_one_line(
    start: Callable[..., subprocess.Popen[str]], argument: str, parts: tuple[str, ...]
) -> None:
    process = start('-p', argument)
    _, errors = process.communicate(timeout=10.0)
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    for part in parts:
        assert part in errors
