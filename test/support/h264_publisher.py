"""
A camera that encodes: ``python3 h264_publisher.py PROFILE WIDTH HEIGHT GOP [LOST...]``.

Publishes the scene of h264_camera.py on ``image/h264`` at 30 Hz, in a loop, until it is ended. It
drops the pictures whose numbers are given. With ``:once`` after the profile it waits for a
subscriber and sends its parameter sets with the first picture only.
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

import itertools
import signal
import sys
import threading

from h264_camera import published, without_sets
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros import ros
from sensor_msgs.msg import CompressedImage

RATE_HZ = 30.0
READY = 'ready'


def main() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    kind, *numbers = sys.argv[1:]
    profile, _, once = kind.partition(':')
    width, height, gop, *lost = map(int, numbers)
    units = published(width, height, gop, profile)
    sent = [unit for number, unit in enumerate(units) if number not in lost]
    again = [*map(without_sets, sent)] if once else sent
    first, others = (
        [CompressedImage(format='h264', data=unit) for unit in part] for part in (sent, again)
    )
    with ros():
        node = rclpy.create_node('camera')
        qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        publisher = node.create_publisher(CompressedImage, 'image/h264', qos)
        print(READY, flush=True)
        while once and not publisher.get_subscription_count():
            if ended.wait(0.05):
                return
        for message in itertools.chain(first[:1], others[1:], itertools.cycle(others)):
            if ended.wait(1.0 / RATE_HZ):
                return
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)


if __name__ == '__main__':
    main()
