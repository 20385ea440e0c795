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

import math

import pytest

from teleop_webrtc_bridge.demo.diff_drive import (
    CommandBuffer,
    CommandOutcome,
    DriveLimits,
    DriveSpeed,
    move,
    Pose,
    wrap_angle,
)
from teleop_webrtc_bridge.demo.world import courtyard, World

SECOND_NS = 1_000_000_000
NOW_NS = 1_700_000_000 * SECOND_NS
RADIUS_M = 0.35
OPEN_WORLD = World(
    walls=(), pillars=(), crates=(), wall_height_m=2.0, low=(-9.0, -9.0), high=(9.0, 9.0)
)


@pytest.fixture
def commands() -> CommandBuffer:
    return CommandBuffer(timeout_s=0.5, limits=DriveLimits(max_linear=1.0, max_angular=2.0))


def test_no_command_means_stop(commands: CommandBuffer) -> None:
    assert commands.velocity(NOW_NS) == DriveSpeed()


def test_a_command_counts_until_its_stamp_is_as_old_as_the_timeout(
    commands: CommandBuffer,
) -> None:
    command = DriveSpeed(linear=0.4, angular=-0.3)
    stamp_ns = NOW_NS - SECOND_NS // 5
    assert commands.accept(command, stamp_ns=stamp_ns, now_ns=NOW_NS) is CommandOutcome.ACCEPTED
    assert commands.velocity(stamp_ns + SECOND_NS // 2) == command
    assert commands.velocity(stamp_ns + SECOND_NS // 2 + 1) == DriveSpeed()


def test_a_stale_command_is_ignored_and_the_valid_one_stays(commands: CommandBuffer) -> None:
    command = DriveSpeed(linear=0.4)
    commands.accept(command, stamp_ns=NOW_NS, now_ns=NOW_NS)
    stale = commands.accept(
        DriveSpeed(linear=-1.0), stamp_ns=NOW_NS - SECOND_NS, now_ns=NOW_NS + 1
    )
    assert stale is CommandOutcome.STALE
    assert commands.velocity(NOW_NS + 1) == command


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('axis', ['linear', 'angular'])
def test_one_bad_axis_invalidates_the_whole_command(
    commands: CommandBuffer, axis: str, bad: float
) -> None:
    good = DriveSpeed(linear=0.4, angular=0.2)
    commands.accept(good, stamp_ns=NOW_NS, now_ns=NOW_NS)
    values = {'linear': 0.9, 'angular': 0.9, axis: bad}
    outcome = commands.accept(DriveSpeed(**values), stamp_ns=NOW_NS + 1, now_ns=NOW_NS + 1)
    assert outcome is CommandOutcome.NOT_FINITE
    assert commands.velocity(NOW_NS + 1) == good


def test_a_zero_stamp_counts_as_now(commands: CommandBuffer) -> None:
    command = DriveSpeed(linear=0.4)
    outcome = commands.accept(command, stamp_ns=0, now_ns=NOW_NS)
    assert outcome is CommandOutcome.ACCEPTED_UNSTAMPED
    assert commands.velocity(NOW_NS + SECOND_NS // 2) == command
    assert commands.velocity(NOW_NS + SECOND_NS) == DriveSpeed()


@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_commands_are_limited(commands: CommandBuffer, sign: float) -> None:
    commands.accept(DriveSpeed(linear=9.0 * sign, angular=9.0 * sign), stamp_ns=0, now_ns=NOW_NS)
    assert commands.velocity(NOW_NS) == DriveSpeed(linear=sign, angular=2.0 * sign)


def test_straight_ahead() -> None:
    pose = move(Pose(yaw=math.pi / 2), DriveSpeed(linear=0.5), 0.2, OPEN_WORLD, RADIUS_M)
    assert (pose.x, pose.y, pose.yaw) == pytest.approx((0.0, 0.1, math.pi / 2))


def test_an_arc_ends_where_geometry_says() -> None:
    # A quarter of a circle of 1 m to the left.
    pose = Pose()
    for _ in range(100):
        pose = move(pose, DriveSpeed(linear=1.0, angular=1.0), math.pi / 200, OPEN_WORLD, RADIUS_M)
    assert (pose.x, pose.y, pose.yaw) == pytest.approx((1.0, 1.0, math.pi / 2), abs=1e-4)


@pytest.mark.parametrize('angle', [-7.0, -math.pi, 0.0, 3.0, math.pi, 100.0])
def test_wrapped_angle_is_the_same_direction(angle: float) -> None:
    wrapped = wrap_angle(angle)
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle))
    assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-9)


@pytest.mark.parametrize('heading', range(24))
def test_no_heading_leads_through_an_obstacle(heading: int) -> None:
    world, pose = courtyard(), Pose(yaw=wrap_angle(heading * math.tau / 24))
    for _ in range(200):
        pose = move(pose, DriveSpeed(linear=5.0, angular=0.1), 0.1, world, RADIUS_M)
        assert world.clearance(pose.x, pose.y)[0] >= RADIUS_M - 1e-5
        assert world.low[0] < pose.x < world.high[0]
        assert world.low[1] < pose.y < world.high[1]


def test_head_on_into_a_wall_stops_and_turning_still_works() -> None:
    world, pose = courtyard(), Pose(x=-4.8, y=0.5, yaw=math.pi)
    for _ in range(40):
        pose = move(pose, DriveSpeed(linear=1.0), 0.1, world, RADIUS_M)
    assert (pose.x, pose.y) == pytest.approx((world.low[0] + RADIUS_M, 0.5), abs=1e-5)
    turned = move(pose, DriveSpeed(linear=1.0, angular=1.0), 0.1, world, RADIUS_M)
    assert turned.yaw == pytest.approx(wrap_angle(pose.yaw + 0.1))


def test_at_a_slant_a_wall_deflects() -> None:
    world, pose = courtyard(), Pose(x=-5.6, y=0.5, yaw=0.75 * math.pi)
    for _ in range(10):
        pose = move(pose, DriveSpeed(linear=1.0), 0.1, world, RADIUS_M)
    assert pose.x == pytest.approx(world.low[0] + RADIUS_M, abs=1e-5)
    assert pose.y > 0.9
