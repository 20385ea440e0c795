"""Faults of the WebRTC half that must not affect the process that stops the robot."""

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

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import signal
import socket
import threading

from programs import Program, Programs, wait_for
import psutil
import pytest
from tree import SUPPORT
from webrtc_half import configuration

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot
from teleop_webrtc_bridge.bridge.link.packets import Configure
from teleop_webrtc_bridge.bridge.ros.webrtc_process import WebrtcProcess

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = [
    pytest.mark.real_programs,
    pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning"),
]

PATIENCE_S = 60.0
NOBODY = 'http://127.0.0.1:9'
WITHOUT_REALTIME = ('setpriv', '--bounding-set=-sys_nice', '--inh-caps=-sys_nice')
MEMORY_BYTES = 100 * 2**20


def webrtc_half(bridge: Program) -> psutil.Process:
    (half,) = wait_for(psutil.Process(bridge.pid).children, what='the WebRTC half')
    return half


@contextmanager
def bridge_of_nobody(folder: Path, launcher: Sequence[str] = ()) -> Iterator[Program]:
    """Start a bridge without a broker."""
    key_file = folder / 'key'
    key_file.write_text('the-key-of-nobody')
    started = Programs(folder, launcher=launcher)
    try:
        bridge = started.start_bridge(NOBODY, key_file, 'alone')
        bridge.wait_for_line('event=state')
        yield bridge
    finally:
        started.end()


def test_a_half_that_hangs_is_replaced(tmp_path: Path) -> None:
    with bridge_of_nobody(tmp_path) as bridge:
        half = webrtc_half(bridge)
        # It has said how it is.
        bridge.wait_for_line('state="backing_off"', timeout_s=PATIENCE_S)
        half.send_signal(signal.SIGSTOP)
        silent = f'event=webrtc_process_given_up pid={half.pid} reason="it has reported nothing'
        killed = f'event=webrtc_process_ended pid={half.pid} status=-9'
        for line in (silent, killed):
            bridge.wait_for_line(line, timeout_s=PATIENCE_S)
        wait_for(lambda: half.pid != webrtc_half(bridge).pid, what='another one')
        # A terminal's Ctrl-C would break off its start with a traceback.
        assert os.getpgid(webrtc_half(bridge).pid) != os.getpgid(bridge.pid)


def test_a_half_that_takes_all_memory_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTHONPATH', str(SUPPORT))
    complaints: list[str] = []
    links: list[socket.socket] = []
    slot, wake = create_slot(), os.eventfd(0)
    process = WebrtcProcess(
        Configure(configuration=configuration(NOBODY, 'the-key-of-nobody', 'greedy')),
        memories=(slot,),
        wake=wake,
        on_link=links.append,
        warn=complaints.append,
        words=lambda: 0,
        program='greedy_half',
        largest_bytes=MEMORY_BYTES,
    )
    process.start()
    try:
        wait_for(lambda: len(links) > 1, what='another one')
    finally:
        process.end()
        for link in links:
            link.close()
        os.close(slot)
        os.close(wake)
    assert 'event=webrtc_process_given_up' in complaints[0]
    assert 'of memory' in complaints[0]
    assert 'status=-9' in complaints[1]
    assert process.restarts >= 1
    assert not psutil.Process().children()
    assert 'webrtc_process' not in {thread.name for thread in threading.enumerate()}


def test_the_kernel_ends_the_webrtc_half_first_when_memory_runs_out(tmp_path: Path) -> None:
    def score(pid: int) -> int:
        return int(Path(f'/proc/{pid}/oom_score_adj').read_text('ascii'))

    with bridge_of_nobody(tmp_path) as bridge:
        half = webrtc_half(bridge)
        wait_for(lambda: score(half.pid) == score(bridge.pid) + 500, what='the higher score')


def realtime_threads(bridge: Program) -> int:
    threads = [int(task.name) for task in Path(f'/proc/{bridge.pid}/task').iterdir()]
    return sum(os.sched_getscheduler(thread) == os.SCHED_FIFO for thread in threads)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root may')
def test_the_drive_thread_alone_has_real_time_priority_where_that_is_allowed(
    tmp_path: Path,
) -> None:
    with bridge_of_nobody(tmp_path) as bridge:
        assert realtime_threads(bridge) == 1
        assert 'no_realtime_priority' not in bridge.output()
        half = webrtc_half(bridge)
        assert os.sched_getscheduler(half.pid) == os.SCHED_OTHER


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which('setpriv') is None, reason='root needs setpriv for it'
)
def test_where_it_is_not_allowed_that_is_said(tmp_path: Path) -> None:
    launcher = WITHOUT_REALTIME if os.geteuid() == 0 else ()
    with bridge_of_nobody(tmp_path, launcher) as bridge:
        assert 'WARN' in bridge.wait_for_line('event=no_realtime_priority')
        assert realtime_threads(bridge) == 0
