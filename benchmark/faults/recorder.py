"""
The recorder, which runs on the robot: ``python3 -m benchmark.faults.recorder [--clock]``.

Receives what a base would receive. Writes one JSON object per line: each ``cmd_vel`` with its time
of arrival (``time.monotonic``), and each change of ``~/state``. With ``--clock`` it also acts as
the simulator that publishes ``/clock``; ``pause`` and ``resume`` on its standard input control it.
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

import json
import math
import sys
import threading
import time
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from ros import ros
from rosgraph_msgs.msg import Clock as ClockMessage
from std_msgs.msg import String

from benchmark.faults.instruments import become_instrument

CLOCK_PERIOD_S: Final = 0.01
QUEUE: Final = 200
BAD_NEWS: Final = ('dropped_', 'excess_', 'superseded_', 'malformed', 'handler_')


def say(kind: str, **fields: Any) -> None:
    line = json.dumps({'kind': kind, 'at_s': time.monotonic(), **fields})
    # One write, so that the lines of two threads never mix.
    sys.stdout.write(line + '\n')
    sys.stdout.flush()


def on_command(message: TwistStamped) -> None:
    linear, angular = message.twist.linear, message.twist.angular
    axes = [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]
    say(
        'command',
        # JSON has neither NaN nor infinity; both are failures, so they are written as text.
        axes=[axis if math.isfinite(axis) else str(axis) for axis in axes],
        stamp_s=Time.from_msg(message.header.stamp).nanoseconds * 1e-9,
    )


def on_diagnostics(message: DiagnosticArray) -> None:
    for status in message.status:
        values = {pair.key: pair.value for pair in status.values}
        if 'subscribers' in values:
            say('subscribers', count=int(values['subscribers']))
        say('diagnostics', counters=_bad_news(values))


def _bad_news(values: dict[str, str]) -> dict[str, float]:
    """Return the counters of refused or lost items."""
    return {
        name: float(value)
        for name, value in values.items()
        if name.startswith(BAD_NEWS) or name.endswith(('_lost', '_full', '_missed'))
    }


class SimulatedClock:
    """Publishes simulated time that can be paused."""

    def __init__(self, node: Any) -> None:
        self.running = True
        self._now_s = time.time()
        self._publisher = node.create_publisher(ClockMessage, '/clock', 1)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(CLOCK_PERIOD_S, self._tick, clock=steady)

    def _tick(self) -> None:
        if self.running:
            self._now_s += CLOCK_PERIOD_S
            now = Time(nanoseconds=int(self._now_s * 1e9))
            self._publisher.publish(ClockMessage(clock=now.to_msg()))

    def obey(self) -> None:
        for line in sys.stdin:
            self.running = line.strip() != 'pause'
            say('clock', running=self.running)


def main() -> None:
    become_instrument()
    with ros():
        node = rclpy.create_node('recorder')
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(TwistStamped, 'cmd_vel', on_command, QUEUE)
        node.create_subscription(DiagnosticArray, '/diagnostics', on_diagnostics, 10)
        node.create_subscription(
            String,
            'teleop_bridge/state',
            lambda message: say('state', **json.loads(message.data)),
            latched,
        )
        if '--clock' in sys.argv[1:]:
            clock = SimulatedClock(node)
            threading.Thread(target=clock.obey, daemon=True).start()
        say('ready')
        rclpy.spin(node)


if __name__ == '__main__':
    main()
