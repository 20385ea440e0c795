"""Canary test: the robot's API key and the operator's token appear only where they belong."""

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
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from programs import programs, wait_for
import psutil
import pytest
from python_operator import operator
from rcl_interfaces.msg import Log, ParameterEvent
from rcl_interfaces.srv import GetParameters, ListParameters
from ros_probe import ros_node
from std_msgs.msg import String

from teleop_webrtc_bridge.core.messages import Velocity

pytestmark = pytest.mark.real_programs

NODE = '/teleop_bridge'


async def drive(url: str, token: str) -> None:
    """Make an operator's calls, valid and invalid ones."""
    async with operator(url, token) as person:
        await person.connect(await person.wait_for_robot('go2-a'))
        for speed in (0.0, 0.0, 0.1):
            person.drive(Velocity(linear_x=speed))
        await person.request('estop', 'one')
        status, _ = await person.call('GET', 'sessions/unknown/status')
        assert status == 404
        await person.leave()


def parameters(node: Any) -> str:
    """Return the names and values of all parameters that anybody on the graph can read."""
    names = call(node, ListParameters, 'list_parameters', ListParameters.Request()).result.names
    answer = call(node, GetParameters, 'get_parameters', GetParameters.Request(names=names))
    return f'{names} {answer.values}'


def call(node: Any, kind: Any, name: str, request: Any) -> Any:
    client = node.create_client(kind, f'{NODE}/{name}')
    wait_for(client.service_is_ready, what=name)
    future = client.call_async(request)
    wait_for(future.done, what=name)
    return future.result()


def command_lines(root: psutil.Process) -> str:
    """Return the command lines of a process and its children, and the children's environments."""
    lines = [*root.cmdline()]
    for child in root.children(recursive=True):
        lines += [*child.cmdline(), *(f'{k}={v}' for k, v in child.environ().items())]
    return ' '.join(lines)


def test_secrets_are_in_no_log_topic_parameter_or_process_list(tmp_path: Path) -> None:
    heard: list[str] = []
    ros_logs = tmp_path / 'ros_log'
    with programs(tmp_path, {'ROS_LOG_DIR': str(ros_logs)}) as started, ros_node() as node:
        for kind, topic in (
            (Log, '/rosout'),
            (DiagnosticArray, '/diagnostics'),
            (ParameterEvent, '/parameter_events'),
            (String, f'{NODE}/state'),
        ):
            node.create_subscription(kind, topic, lambda message: heard.append(str(message)), 50)
        broker = started.start_broker('--log-level', 'debug')
        secrets = {broker.token, broker.key_file.read_text().strip()}
        bridge = started.start_bridge(broker.url, broker.key_file, 'go2-a', '--log-level', 'debug')
        bridge.wait_for_line('state="connected"')
        asyncio.run(drive(broker.url, broker.token))
        wait_for(lambda: any('DiagnosticArray' in text for text in heard), what='diagnostics')
        readable = [parameters(node), command_lines(psutil.Process(bridge.pid)), *heard]
        readable += [command_lines(psutil.Process(broker.program.pid))]
        logs = [program.log for program in started.running]
    logs += [path for path in ros_logs.rglob('*') if path.is_file()]
    readable += [path.read_text(errors='replace') for path in logs]
    assert len(logs) > 2
    assert any('robot_id' in text for text in readable)
    for secret in secrets:
        assert [text[:200] for text in readable if secret in text] == []
    database = b''.join(
        path.read_bytes() for path in (tmp_path / 'broker').glob('broker.sqlite3*')
    )
    assert database
    assert not [secret for secret in secrets if secret.encode() in database]
