"""CPU and memory of the programs under test, and the load of the rest of the machine."""

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

from collections.abc import Callable, Mapping
import time

import psutil

from benchmark.figures import Figures

__all__ = ['Usage', 'webrtc_half']

MIB = 2**20


def webrtc_half(bridge_pid: int) -> psutil.Process:
    """Return the child of the bridge that holds the peer connection."""
    for child in psutil.Process(bridge_pid).children():
        if 'teleop_webrtc_bridge.bridge.webrtc' in child.cmdline():
            return child
    raise ProcessLookupError(f'bridge {bridge_pid} has no WebRTC half')


class Usage:
    """
    Measures from its creation on.

    :param groups: Name → function that returns the current processes of that name.
    """

    def __init__(self, groups: Mapping[str, Callable[[], list[psutil.Process]]]) -> None:
        self._groups = groups
        self._begin_s = time.monotonic()
        self._begin_busy_s = _busy_s()
        self._begin = {name: _cpu_s(processes()) for name, processes in groups.items()}

    def figures(self) -> Figures:
        """Return CPU in per cent of one core, RSS and PSS (shared pages in equal parts) in MiB."""
        found: Figures = {}
        seconds = time.monotonic() - self._begin_s
        ours_s = 0.0
        busy_s = _busy_s() - self._begin_busy_s
        for name, processes in self._groups.items():
            now = processes()
            # The CPU time of a process that started meanwhile began at zero.
            used = {pid: s - self._begin[name].get(pid, 0.0) for pid, s in _cpu_s(now).items()}
            ours_s += sum(used.values())
            found[f'cpu_{name}_percent'] = 100.0 * sum(used.values()) / seconds
            rss, pss = _memory(now)
            found[f'rss_{name}_mib'] = rss / MIB
            found[f'pss_{name}_mib'] = pss / MIB
        found['cpu_others_percent'] = 100.0 * max(0.0, busy_s - ours_s) / seconds
        return found


def _cpu_s(processes: list[psutil.Process]) -> dict[int, float]:
    used = {}
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used[process.pid] = times.user + times.system
    return used


def _busy_s() -> float:
    """Return the CPU time that all processes of the machine have used."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _memory(processes: list[psutil.Process]) -> tuple[int, int]:
    rss = pss = 0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        rss += memory.rss
        pss += memory.pss
    return rss, pss
