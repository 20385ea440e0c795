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

"""Large images from another process arrive, whatever reliability their publisher offers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys

from diagnostic_msgs.msg import DiagnosticArray
from programs import free_port, Programs, programs, wait_for
import pytest
from rclpy.node import Node
from ros_probe import ros_node

PUBLISHER = Path(__file__).parents[1] / 'support' / 'image_publisher.py'


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Programs]:
    with programs(tmp_path) as running:
        yield running


def camera(reliability: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PUBLISHER), reliability])


class VideoDiagnostics:
    """The values of ``teleop_bridge: video``."""

    def __init__(self, node: Node) -> None:
        self.values: dict[str, str] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def _take(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name == 'teleop_bridge: video':
                self.values = {value.key: value.value for value in status.values}

    def received(self) -> int:
        return int(self.values.get('received', 0))


@pytest.mark.parametrize('first', [True, False], ids=['bridge_first', 'camera_first'])
@pytest.mark.parametrize('reliability', ['reliable', 'best_effort'])
def test_frames_of_a_camera_in_another_process_arrive(
    started: Programs, tmp_path: Path, reliability: str, first: bool
) -> None:
    key = tmp_path / 'key'
    key.write_text('dtk_live_' + 40 * '0')
    url = f'http://127.0.0.1:{free_port()}'  # nobody there: the images are taken all the same
    process = None if first else camera(reliability)
    try:
        started.start_bridge(url, key, 'go2-a')
        with ros_node() as node:
            diagnostics = VideoDiagnostics(node)
            wait_for(lambda: diagnostics.values, what='diagnostics')
            process = process or camera(reliability)
            wait_for(lambda: diagnostics.received() > 45, what='images')
            assert diagnostics.values['reliability'] == reliability
    finally:
        if process is not None:
            process.terminate()
            process.wait(10.0)
