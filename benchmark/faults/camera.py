"""
A camera program: ``python3 -m benchmark.faults.camera WIDTH HEIGHT RATE``.

Each SIGUSR1 toggles its size between the requested one and half of it.
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
import time
from typing import Final

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros import ros
from sensor_msgs.msg import Image

from teleop_webrtc_bridge.demo.shared_memory import large_shared_memory

SHIFT_PX: Final = 4
"""Each picture is the previous one shifted by this, so that the encoder has work to do."""


def pictures(width: int, height: int) -> np.ndarray:
    """Return a picture of blocks, twice as wide as the part that is shown."""
    blocks = np.random.default_rng(1).integers(0, 255, (height // 16 + 1, width // 8, 3), np.uint8)
    return np.kron(blocks, np.ones((16, 16, 1), np.uint8))[:height, : 2 * width]


def main() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    width, height, rate_hz = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    divisors = [1, 2]
    signal.signal(signal.SIGUSR1, lambda number, frame: divisors.reverse())
    with large_shared_memory(os.environ), ros():
        node = rclpy.create_node('camera')
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        publisher = node.create_publisher(Image, 'image', qos)
        strips = {n: pictures(width // n, height // n) for n in divisors}
        due_s = time.monotonic()
        shift = 0
        while not ended.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + 1.0 / rate_hz, time.monotonic())
            n = divisors[0]
            w, h = width // n, height // n
            shift = (shift + SHIFT_PX) % w
            image = Image(width=w, height=h, step=3 * w, encoding='bgr8')
            image.data = strips[n][:, shift : shift + w].tobytes()
            image.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(image)


if __name__ == '__main__':
    main()
