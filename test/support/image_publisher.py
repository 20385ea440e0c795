"""
A camera process: ``python3 image_publisher.py RELIABILITY``.

Publishes 1280x720 bgr8 on ``image`` at 30 Hz until it is ended. With best effort, large images
reach other processes only if the publisher has a large shared memory segment, so it has one.
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

import os
import signal
import sys
import threading

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros import ros
from sensor_msgs.msg import Image

from teleop_webrtc_bridge.demo.shared_memory import large_shared_memory

WIDTH, HEIGHT, RATE_HZ = 1280, 720, 30.0


def main() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    reliability = ReliabilityPolicy[sys.argv[1].upper()]
    with large_shared_memory(os.environ), ros():
        node = rclpy.create_node('camera')
        publisher = node.create_publisher(
            Image, 'image', QoSProfile(depth=2, reliability=reliability)
        )
        image = Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding='bgr8')
        image.data = np.zeros(3 * WIDTH * HEIGHT, np.uint8).tobytes()
        while not ended.wait(1.0 / RATE_HZ):
            image.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(image)


if __name__ == '__main__':
    main()
