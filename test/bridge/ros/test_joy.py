"""Hand controllers and poses on the ROS graph: a real bridge, DDS, broker and peer connection."""

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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
import json
from pathlib import Path
import time
from typing import Any

from counted_broker import counted_broker
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from programs import Program, programs
import psutil
import pytest
from python_operator import operator, PythonOperator
from ros_probe import ros_node
from sensor_msgs.msg import Joy

from teleop_webrtc_bridge.core.codec import encode_joy, encode_pose
from teleop_webrtc_bridge.core.messages import JoyState, Pose, PoseCommand

pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

REST = ((0.0, 0.0), (0, 0, 0))
PUSHED = ((0.5, -1.0), (0, 0, 1))
OFFERED = ('-p', 'joy:=true', '-p', 'pose_commands:=true', '-p', 'base_frame:=arm_base')


class Robot:
    """The robot's own nodes, and the operator."""

    def __init__(self, node: Any, bridge: Program) -> None:
        self.joys: list[tuple[tuple[float, ...], tuple[int, ...]]] = []
        self.by_device: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {}
        """The newest state of each device, by its frame_id."""
        self.newest: Any = None
        self.poses: dict[str, list[PoseStamped]] = {'left': [], 'right': []}
        self.bridge = bridge
        self.node = node
        self.person: PythonOperator
        self.seq = 0
        node.create_subscription(Joy, 'joy', self._on_joy, 50)
        for hand, poses in self.poses.items():
            topic = f'teleop_bridge/pose_{hand}'
            node.create_subscription(PoseStamped, topic, poses.append, 50)

    def _on_joy(self, message: Joy) -> None:
        self.newest = message
        self.joys.append((tuple(message.axes), tuple(message.buttons)))
        self.by_device[message.header.frame_id] = self.joys[-1]

    def state(self) -> dict[str, Any]:
        for _, message in reversed(self.person.received):
            decoded = json.loads(message)
            if decoded['type'] == 'robot_telemetry':
                return dict(decoded['state'])
        return {}

    def send(
        self, what: tuple[tuple[float, ...], tuple[int, ...]], *, device: str = 'vr\n'
    ) -> None:
        self.seq += 1
        axes, buttons = what
        state = JoyState(
            seq=self.seq, stamp_s=time.time(), frame_id=device, axes=axes, buttons=buttons
        )
        self.person.send('cmd_unreliable', encode_joy(state))

    def send_pose(self, hand: str, z: float) -> None:
        pose = Pose(position=(0.0, 1.0, z), orientation=(0.0, 0.0, 0.0, 1.0))
        command = PoseCommand(seq=0, stamp_s=time.time(), hand=hand, pose=pose)
        self.person.send('cmd_unreliable', encode_pose(command))

    async def until(
        self,
        condition: Callable[[], object],
        act: Callable[[], object] = lambda: None,
    ) -> None:
        async with asyncio.timeout(30.0):
            while not condition():
                act()
                await asyncio.sleep(0.03)

    async def push(self) -> None:
        """Let go, then push the stick."""
        for _ in range(5):
            self.send(REST)
            await asyncio.sleep(0.03)
        await self.until(lambda: self.joys[-1:] == [REST], lambda: self.send(REST))
        await self.until(lambda: self.joys[-1] == PUSHED, lambda: self.send(PUSHED))


@asynccontextmanager
async def robot_with(tmp_path: Path, *options: str) -> AsyncIterator[Robot]:
    async with counted_broker(tmp_path) as broker:
        with programs(tmp_path, {'ROS_HOME': str(tmp_path / 'ros')}) as started:
            bridge = started.start_bridge(broker.url, broker.key_file, 'go2-a', *options)
            with ros_node() as node:
                robot = Robot(node, bridge)
                async with operator(broker.url, broker.token) as person:
                    robot.person = person
                    await person.connect(await person.wait_for_robot('go2-a'))
                    await robot.until(robot.state)
                    yield robot


async def test_a_controller_reaches_the_robots_own_nodes_until_it_is_let_go(
    tmp_path: Path,
) -> None:
    async with robot_with(tmp_path, *OFFERED) as robot:
        assert robot.state()['joy'] is True
        await robot.push()
        assert robot.newest.header.frame_id == 'vr?'
        stamp_s = robot.newest.header.stamp.sec + robot.newest.header.stamp.nanosec * 1e-9
        assert abs(time.time() - stamp_s) < 3600.0
        # The operator falls silent.
        await robot.until(lambda: robot.joys[-1] == REST)
        await robot.push()


async def test_an_estop_sends_zeros_and_the_controller_must_be_let_go(tmp_path: Path) -> None:
    async with robot_with(tmp_path, *OFFERED) as robot:
        await robot.push()
        robot.person.send('state_reliable', json.dumps({'type': 'estop', 'nonce': 'n'}))
        await robot.until(lambda: robot.joys[-1] == REST, lambda: robot.send(PUSHED))
        stopped = len(robot.joys)
        await robot.until(lambda: robot.state()['estopped'], lambda: robot.send(PUSHED))
        robot.person.send('state_reliable', json.dumps({'type': 'estop_clear', 'nonce': 'm'}))
        await robot.until(lambda: not robot.state()['estopped'], lambda: robot.send(PUSHED))
        assert set(robot.joys[stopped:]) <= {REST}
        await robot.push()


async def test_the_end_of_the_webrtc_half_sends_zeros(tmp_path: Path) -> None:
    async with robot_with(tmp_path, *OFFERED) as robot:
        await robot.push()
        (half,) = psutil.Process(robot.bridge.pid).children()
        half.kill()
        await robot.until(lambda: robot.joys[-1] == REST)


async def test_the_end_of_the_bridge_sends_zeros(tmp_path: Path) -> None:
    async with robot_with(tmp_path, *OFFERED) as robot:
        await robot.push()
        psutil.Process(robot.bridge.pid).terminate()
        await robot.until(lambda: robot.joys[-1] == REST)


async def test_each_hand_of_an_old_console_is_zeroed_by_itself(tmp_path: Path) -> None:
    async with robot_with(tmp_path, *OFFERED) as robot:

        def both(what: tuple[tuple[float, ...], tuple[int, ...]]) -> None:
            robot.send(what, device='left')
            robot.send(what, device='right')

        for what in (REST, PUSHED):
            expected = {'left': what, 'right': what}
            await robot.until(
                lambda expected=expected: robot.by_device == expected,
                lambda what=what: both(what),
            )
        await robot.until(
            lambda: robot.by_device == {'left': REST, 'right': PUSHED},
            lambda: robot.send(PUSHED, device='right'),
        )
        await robot.until(lambda: robot.by_device == {'left': REST, 'right': REST})


async def test_a_joy_that_nobody_hears_is_a_warning(tmp_path: Path) -> None:
    async with robot_with(tmp_path, *OFFERED) as robot:
        said: dict[str, tuple[bytes, str, str]] = {}

        def take(array: DiagnosticArray) -> None:
            for status in array.status:
                values = {pair.key: pair.value for pair in status.values}
                concern = status.name.rpartition(': ')[2]
                said[concern] = status.level, status.message, values.get('subscribers', '')

        robot.node.create_subscription(DiagnosticArray, '/diagnostics', take, 10)
        await robot.until(lambda: said.get('joy') == (DiagnosticStatus.OK, 'ready', '1'))
        assert said['pose_left'] == (DiagnosticStatus.OK, 'ready', '1')
        for subscription in list(robot.node.subscriptions):
            if subscription.topic_name == '/joy':
                robot.node.destroy_subscription(subscription)
        unheard = (DiagnosticStatus.WARN, 'no node subscribes to /joy', '0')
        await robot.until(lambda: said['joy'] == unheard)


async def test_poses_are_relative_to_the_clutchs_start_and_stop_with_the_estop(
    tmp_path: Path,
) -> None:
    async with robot_with(tmp_path, *OFFERED) as robot:
        assert robot.state()['poses'] is True
        poses = robot.poses['left']
        # A hand that holds the clutch when the operator joins must release it first.
        async with asyncio.timeout(30.0):
            while not poses:
                await asyncio.sleep(0.4)
                robot.send_pose('left', -1.0)
        await robot.until(
            lambda: poses[-1].pose.position.x > 0.0, lambda: robot.send_pose('left', -1.25)
        )
        assert poses[-1].pose.position.x == pytest.approx(0.25)
        assert poses[-1].header.frame_id == 'arm_base'
        assert robot.poses['right'] == []
        robot.person.send('state_reliable', json.dumps({'type': 'estop', 'nonce': 'n'}))
        await robot.until(lambda: robot.state()['estopped'], lambda: robot.send_pose('left', -1.5))
        stopped = len(poses)
        for _ in range(20):
            robot.send_pose('left', -1.75)
            await asyncio.sleep(0.02)
        answer = await robot.person.ping()
        assert answer['type'] == 'pong'
        assert len(poses) == stopped


async def test_without_the_parameters_nothing_is_published(tmp_path: Path) -> None:
    async with robot_with(tmp_path) as robot:
        assert 'joy' not in robot.state()
        assert 'poses' not in robot.state()
        for _ in range(10):
            robot.send(REST)
            robot.send_pose('left', -1.0)
        await robot.person.ping()
        # Once the node is discovered, all its publishers are.
        await robot.until(lambda: robot.node.count_publishers('cmd_vel') == 1)
        assert robot.node.count_publishers('joy') == 0
        assert robot.node.count_publishers('teleop_bridge/pose_left') == 0
        assert robot.joys == []
