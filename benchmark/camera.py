"""
A camera program: ``python3 -m benchmark.camera TRANSPORT WIDTH HEIGHT``.

Publishes prerendered views of the simulated robot at 30 Hz until it receives a signal: ``raw`` as
bgr8 on ``image``, ``compressed`` as JPEG on ``image/compressed``, ``h264`` on ``image/h264``, and
``h264-bare`` on the same topic without parameter sets. It then prints the stamps of all images as
one line of JSON.
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

from collections.abc import Callable
from fractions import Fraction
import json
import os
import signal
import sys
import threading
import time
from typing import Any, Final

import av
from h264_camera import without_sets
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from ros import ros
from sensor_msgs.msg import CompressedImage, Image

from benchmark.encode import robot_pixels
from teleop_webrtc_bridge.demo.shared_memory import large_shared_memory

__all__ = ['READY']

RATE_HZ: Final = 30.0
SHOWN: Final = 30
"""Number of different pictures; they are played forwards and backwards."""
KEYFRAME_EVERY: Final = 30
BITRATE_BPS: Final = 2_500_000
SEGMENT_BYTES: Final = 32 << 20
"""Five pictures of 1080p."""
READY: Final = 'camera: ready'


def raw(pictures: list[np.ndarray[Any, Any]]) -> list[Any]:
    """Return the pictures as ``sensor_msgs/Image``."""
    images = []
    for pixels in pictures:
        height, width, _ = pixels.shape
        image = Image(width=width, height=height, step=3 * width, encoding='bgr8')
        image.data = pixels[..., ::-1].tobytes()
        images.append(image)
    return images


def compressed(pictures: list[np.ndarray[Any, Any]]) -> list[Any]:
    """Return the pictures as JPEG."""
    return [
        CompressedImage(format='jpeg', data=_encode('mjpeg', [pixels])[0]) for pixels in pictures
    ]


def h264(pictures: list[np.ndarray[Any, Any]]) -> list[Any]:
    """Return the pictures as a camera's own H.264, with one keyframe per second."""
    return [CompressedImage(format='h264', data=unit) for unit in _encode('libx264', pictures)]


def bare(pictures: list[np.ndarray[Any, Any]]) -> list[Any]:
    """Return the same without parameter sets, as if they had been sent before we subscribed."""
    units = _encode('libx264', pictures)
    return [CompressedImage(format='h264', data=without_sets(unit)) for unit in units]


TRANSPORTS: Final[dict[str, tuple[str, Any, Callable[[list[Any]], list[Any]]]]] = {
    'raw': ('image', Image, raw),
    'compressed': ('image/compressed', CompressedImage, compressed),
    'h264': ('image/h264', CompressedImage, h264),
    'h264-bare': ('image/h264', CompressedImage, bare),
}
"""Transport → topic, type, and the function that makes the messages."""


def _encode(name: str, pictures: list[np.ndarray[Any, Any]]) -> list[bytes]:
    encoder: Any = av.CodecContext.create(name, 'w')
    encoder.height, encoder.width = pictures[0].shape[:2]
    encoder.pix_fmt = 'yuvj420p' if name == 'mjpeg' else 'yuv420p'
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.thread_count = 1
    if name == 'libx264':
        encoder.profile, encoder.gop_size, encoder.max_b_frames = 'Baseline', KEYFRAME_EVERY, 0
        encoder.bit_rate = BITRATE_BPS
        encoder.options = {'preset': 'veryfast', 'tune': 'zerolatency', 'sc_threshold': '0'}
    units = []
    for number, pixels in enumerate(pictures):
        picture = av.VideoFrame.from_ndarray(pixels, format='rgb24')
        picture = picture.reformat(format=encoder.pix_fmt)
        picture.pts = number
        units += [bytes(packet) for packet in encoder.encode(picture)]
    return units + [bytes(packet) for packet in encoder.encode(None)]


def main() -> None:
    transport, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    pictures = robot_pixels(width, height, SHOWN)
    topic, kind, make = TRANSPORTS[transport]
    messages = make([*pictures, *pictures[-2:0:-1]])
    stamps_s = []
    with (
        large_shared_memory(os.environ, segment_bytes=SEGMENT_BYTES),
        ros(SignalHandlerOptions.NO),
    ):
        node = rclpy.create_node('camera')
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        publisher = node.create_publisher(kind, topic, qos)
        print(READY, flush=True)
        due_s = time.monotonic()
        number = 0
        while not ended.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + 1.0 / RATE_HZ, time.monotonic())
            message = messages[number % len(messages)]
            number += 1
            message.header.stamp = node.get_clock().now().to_msg()
            stamps_s.append(Time.from_msg(message.header.stamp).nanoseconds * 1e-9)
            publisher.publish(message)
    print(json.dumps(stamps_s), flush=True)


if __name__ == '__main__':
    main()
