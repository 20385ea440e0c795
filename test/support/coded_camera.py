"""Starts h264_publisher.py, a camera that encodes, as a process."""

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

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import subprocess
import sys

__all__ = ['coded_camera']

PUBLISHER = Path(__file__).parent / 'h264_publisher.py'


@contextmanager
def coded_camera(profile: str, *numbers: int) -> Iterator[None]:
    """
    Run the camera, and continue when it publishes.

    :param numbers: Width, height, pictures from keyframe to keyframe; then the numbers of the
        pictures to drop.
    """
    process = subprocess.Popen(
        [sys.executable, str(PUBLISHER), profile, *map(str, numbers)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        # It encodes everything first, which takes time on a busy machine.
        assert process.stdout.readline() == b'ready\n'
        yield
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(10.0)
