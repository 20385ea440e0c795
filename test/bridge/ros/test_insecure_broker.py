"""http to another machine: refused, or allowed with a warning."""

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

from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from programs import programs, wait_for
import pytest
from ros_probe import ros_node

URL = 'http://192.0.2.1:8765'
#: The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / 'key'
    file.write_text('dtk_live_' + '0' * 40)
    return file


def test_http_to_another_machine_is_refused(tmp_path: Path, key_file: Path) -> None:
    with programs(tmp_path) as started:
        bridge = started.start_bridge(URL, key_file, 'go2-a')
        assert bridge.process.wait(20.0) == 2
        (line,) = bridge.output().splitlines()
        assert 'broker_url' in line
        assert 'allow_insecure_broker' in line


def test_when_it_is_allowed_the_owner_is_warned_for_good(tmp_path: Path, key_file: Path) -> None:
    statuses: list[DiagnosticStatus] = []
    with ros_node() as node, programs(tmp_path) as started:
        node.create_subscription(
            DiagnosticArray, '/diagnostics', lambda array: statuses.extend(array.status), 10
        )
        bridge = started.start_bridge(URL, key_file, 'go2-a', '-p', 'allow_insecure_broker:=true')
        line = bridge.wait_for_line('event=insecure_broker')
        assert 'WARN' in line
        assert URL in line

        def warnings() -> list[DiagnosticStatus]:
            return [status for status in statuses if 'security' in status.name]

        wait_for(lambda: len(warnings()) >= 2, what='two warnings on /diagnostics')
        assert {status.level for status in warnings()} == {DiagnosticStatus.WARN}
        assert bridge.output().count('event=insecure_broker') == 1
