"""The rig: broker, bridge, camera, recorder and operator on three hosts, under faults."""

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

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass, field
from functools import partial
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any, Final

from programs import page_address
import psutil
import wall_clock

from benchmark.faults.causes import what_happened
from benchmark.faults.instruments import Canary
from benchmark.faults.network import Conditions, Host, Network, network
from benchmark.faults.oracle import Command
from benchmark.faults.processes import alive, Process, ROOT, TooSlow, wait_for
from benchmark.faults.send_log import SendLog
from benchmark.processes import webrtc_half

__all__ = ['ROBOT_ID', 'Rig', 'Setting', 'rig']

ROBOT_ID: Final = 'matrix'
PORT: Final = 8765
URL: Final = f'http://{Host.BROKER.value}:{PORT}'
NEUTRAL_S: Final = 0.3
ATTEMPTS: Final = 6
ATTEMPT_S: Final = 5.0
DISK_BYTES: Final = 2 << 20
STEADY_COMMANDS: Final = 10
"""Number of velocities after which the robot counts as being driven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Settings with which the programs are started; most faults need the defaults."""

    camera: tuple[int, int, float] = (320, 240, 15.0)
    """Width and height in pixels, and frames per second."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Parameters of the bridge."""
    simulated_time: bool = False
    movable_clock: bool = False
    """Whether the robot's wall clock can be stepped."""
    small_disk: Host | None = None
    """Host whose state lies on a disk that can be filled."""
    operator_link: Conditions = field(default_factory=Conditions)
    """Default conditions of the link between operator and broker, each way."""
    page: bool = False
    """Whether the operator is the page in a Chromium, not a program that behaves like it."""
    device: str = 'keyboard'
    """What drives the page: ``keyboard``, ``gamepad`` or ``vr``."""


class Rig:
    """
    All running programs and the network between them.

    :param folder: For logs and state.
    """

    def __init__(self, folder: Path, hosts: Network, setting: Setting, ends: ExitStack) -> None:
        self.folder = folder
        self.network = hosts
        self.setting = setting
        self.log = SendLog(folder / 'sent')
        self.undo = ExitStack()
        """Undoes the present fault."""
        self.canary = Canary()
        ends.callback(self.canary.end)
        self._ends = ends
        ends.push(self.undo)
        hosts.always(Host.OPERATOR, Host.BROKER, setting.operator_link)
        self._home = os.environ | {'HOME': str(folder)}
        self._home.pop('TELEOP_API_KEY', None)
        self.disk = self._small_disk() if setting.small_disk else folder
        self.state_dir = (self.disk if setting.small_disk is Host.BROKER else folder) / 'broker'
        self.key_file = self.state_dir / 'robot_api_key'
        self.token = ''
        self._robot_environment = self._environment_of_robot()
        self.recorder = self._start(
            Host.ROBOT,
            'benchmark.faults.recorder',
            *(['--clock'] if setting.simulated_time else []),
        )
        self.camera = self.start_camera()
        self.broker = self.start_broker()
        page = page_address(self.broker.wait_for_line('Operator page: '))
        self.token = page.partition('token=')[2]
        self.bridge = self.start_bridge()
        self.operator = self.start_operator()

    def _small_disk(self) -> Path:
        disk = self.folder / 'disk'
        disk.mkdir()
        options = ['-t', 'tmpfs', '-o', f'size={DISK_BYTES}', 'tmpfs', str(disk)]
        subprocess.run(['mount', *options], check=True)
        self._ends.callback(subprocess.run, ['umount', '--lazy', str(disk)], check=True)
        return disk

    def _environment_of_robot(self) -> dict[str, str]:
        home = self.disk if self.setting.small_disk is Host.ROBOT else self.folder
        environment = {'HOME': str(home), 'ROS_LOG_DIR': str(home / 'ros_log')}
        if self.setting.movable_clock:
            environment |= wall_clock.environment(self.folder)
        return environment

    def _start(self, host: Host, module: str, *arguments: str) -> Process:
        own = self._robot_environment if host is Host.ROBOT else {}
        name = '_'.join(module.split('.')[-2:])
        process = Process(
            self.network.command(host),
            module,
            *arguments,
            log=self.folder / f'{name}.log',
            environment=self._home | own,
        )
        self._ends.callback(process.end)
        return process

    # --- programs ----------------------------------------------------------------------------

    def start_broker(self) -> Process:
        return self._start(
            Host.BROKER,
            'teleop_webrtc_bridge.broker.main',
            *('--host', Host.BROKER.value, '--port', str(PORT)),
            *('--state-dir', str(self.state_dir)),
        )

    def start_bridge(self) -> Process:
        parameters = {
            'robot_id': ROBOT_ID,
            'broker_url': URL,
            'allow_insecure_broker': 'true',
            'api_key_file': str(self.key_file),
            # Each command must come out as it went in: its velocity is its name.
            'max_linear_acceleration': '0.0',
            'use_sim_time': str(self.setting.simulated_time).lower(),
            **self.setting.parameters,
        }
        words = [word for item in parameters.items() for word in ('-p', ':='.join(item))]
        return self._start(
            Host.ROBOT,
            'teleop_webrtc_bridge.bridge.ros.main',
            *('--ros-args', *words),
        )

    def start_camera(self) -> Process:
        return self._start(Host.ROBOT, 'benchmark.faults.camera', *map(str, self.setting.camera))

    def start_operator(self) -> Process:
        kind = 'page_driver' if self.setting.page else 'driver'
        device = [self.setting.device] if self.setting.page else []
        operator = self._start(
            Host.OPERATOR,
            f'benchmark.faults.{kind}',
            *(URL, self.token, ROBOT_ID, str(self.folder / 'sent'), *device),
        )
        operator.wait_for_event('ready')
        return operator

    def restart_what_ended(self) -> None:
        """Restart every program that has ended."""
        if self.broker.status is not None:
            self.broker.end()
            self.broker = self.start_broker()
        if self.bridge.status is not None:
            self.bridge.end()
            self.bridge = self.start_bridge()
        if self.camera.status is not None:
            self.camera.end()
            self.camera = self.start_camera()
        if self.operator.status is not None:
            self.operator.end()
            self.operator = self.start_operator()

    def webrtc_half(self) -> psutil.Process:
        """Return the process of the bridge that holds the peer connection."""
        return webrtc_half(self.bridge.pid)

    def age_of_half_s(self) -> float:
        """Return the age of the WebRTC half; 0.0: there is none."""
        try:
            return time.time() - float(self.webrtc_half().create_time())
        except (ProcessLookupError, psutil.NoSuchProcess):
            return 0.0

    def manage(self, *arguments: str) -> str:
        """Return the output of a management command of the broker."""
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'teleop_webrtc_bridge.broker.main', *arguments),
                *('--state-dir', str(self.state_dir)),
            ],
            cwd=ROOT,
            env=self._home,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def left_behind(self) -> list[str]:
        """Return the WebRTC halves on the robot, whatever their parent."""
        found = []
        for process in psutil.process_iter(['cmdline', 'environ']):
            words, variables = process.info['cmdline'] or [], process.info['environ'] or {}
            if 'teleop_webrtc_bridge.bridge.webrtc' in words and variables.get('HOME') == str(
                self.folder
            ):
                found.append(f'pid {process.pid}')
        return found

    def missing(self) -> list[str]:
        """Return the programs that should be running but are not."""
        programs = (self.broker, self.bridge, self.camera, self.recorder, self.operator)
        return [process.name for process in programs if not alive(process.pid)]

    def heal(self) -> float:
        """Undo the fault; return when that began, in seconds of ``time.monotonic``."""
        begun_s = time.monotonic()
        self.undo.close()
        self.network.heal()
        self.restart_what_ended()
        return begun_s

    def start_beside(self, host: Host, module: str, *arguments: str) -> Process:
        """Start a program that ends with the fault."""
        process = self._start(host, module, *arguments)
        self.undo.callback(process.end)
        return process

    # --- the operator ------------------------------------------------------------------------

    def tell(self, wish: str, **fields: Any) -> None:
        """Change the operator's intent."""
        self.operator.order(json.dumps({'do': wish, **fields}))

    def make_drivable(self) -> None:
        """Put the operator in control, with the robot standing and armed."""
        begun_s = time.monotonic()
        self.tell('neutral')
        wants_s = self.operator.wait_for_event('wants', begun_s)['at_s']
        self.operator.wait_for_event('telemetry', wants_s)
        time.sleep(NEUTRAL_S)

    def drive(self) -> None:
        """
        Make the operator drive; return when the robot follows.

        :raises TooSlow: The robot does not follow.
        """
        first_s = time.monotonic()
        for _ in range(ATTEMPTS):
            begun_s = time.monotonic()
            self.tell('drive')
            try:
                wait_for(partial(self._moves, begun_s), 'motion on cmd_vel', ATTEMPT_S)
            except TooSlow:
                # A bad network lost the neutral commands, or the link: let go and press again.
                self.make_drivable()
                continue
            return
        raise TooSlow(f'no motion on cmd_vel in {ATTEMPTS} attempts: {self._why_not(first_s)}')

    def _why_not(self, since_s: float) -> str:
        """Return what is known about why the robot does not follow."""
        told = self.operator.of_kind('telemetry', since_s)
        refusing = Counter(str(event['state'].get('refusing')) for event in told)
        waits_s = self.canary.longest_s(since_s, time.monotonic())
        return (
            f'{len(told)} telemetry messages, refusing {dict(refusing)}; '
            f'{len(self.commands(since_s))} on cmd_vel; '
            f'the machine made threads wait for up to {waits_s:.2f} s; '
            f'{what_happened(list(self.operator.events), since_s)}'
        )

    def _moves(self, since_s: float) -> bool:
        return sum(not c.is_zero for c in self.commands(since_s)) >= STEADY_COMMANDS

    # --- what was recorded -------------------------------------------------------------------

    def commands(self, since_s: float) -> list[Command]:
        """Return the messages that arrived on ``cmd_vel`` since a time."""
        return [
            Command.recorded(event, self.log)
            for event in self.recorder.of_kind('command', since_s)
        ]

    def sent_s(self) -> list[float]:
        """Return the times at which the newest commands were sent, unordered."""
        by_page = self.operator.of_kind('sent')
        return [*self.log.all_s(), *(s for event in by_page for s in event['times_s'])]

    def wait_for_latch(self, since_s: float) -> float:
        """
        Return when the bridge reported that the E-STOP is latched.

        :raises TooSlow: The bridge does not report it.
        """

        def said_s() -> float:
            states = self.recorder.of_kind('state', since_s)
            return next((float(state['at_s']) for state in states if state['estopped']), 0.0)

        return wait_for(said_s, 'the bridge to report the E-STOP latch')

    def state(self) -> dict[str, Any]:
        """Return the bridge's latest message on ``~/state``."""
        states = self.recorder.of_kind('state')
        return states[-1] if states else {}


@contextmanager
def rig(setting: Setting) -> Iterator[Rig]:
    """Start everything, and continue when the robot can be driven."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix='teleop-faults-')))
        running = Rig(folder, ends.enter_context(network()), setting, ends)
        running.recorder.wait_for_event('ready')
        wait_for(
            lambda: any(e['count'] for e in running.recorder.of_kind('subscribers')),
            'the bridge to discover its subscriber',
        )
        running.make_drivable()
        yield running
