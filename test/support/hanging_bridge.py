"""
The real ``teleop_bridge`` with an injected fault.

Its arguments are the fault, the path of a file, and the command line of the program that it
replaces. The fault begins as soon as the file exists. ``spins_at_the_end`` and ``spins`` hang in C
while holding the interpreter's lock; ``executor_hangs`` hangs without the lock; ``take_hangs``
does so while an image is taken; ``take_raises`` raises an unexpected exception there. ``spins``
and ``executor_hangs`` remove the file, so that the next bridge works.
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
import functools
from pathlib import Path
import re
import sys
import threading
import time
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from teleop_webrtc_bridge.bridge.ros import main
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl

SPINNING_S = 1.5
"""Limit of CPU time: as in the product, but shorter."""
ARGUMENTS_BEGIN = 5
"""Index of the module: after this program, its arguments, the interpreter, and ``-m``."""
PROBES = 1
"""Number of nodes that the bridge destroys at its start."""


def hang() -> None:
    """Hang in C, by catastrophic backtracking."""
    re.match('(a+)+$', 100 * 'a' + 'b')


def hang_as_soon_as_there_is(path: Path) -> None:
    def wait() -> None:
        while not path.exists():
            time.sleep(0.05)
        path.unlink()
        hang()

    threading.Thread(target=wait, daemon=True).start()


def hang_at_the_end() -> None:
    destroy = Node.destroy_node
    destroyed: list[Node] = []

    def destroy_or_hang(node: Node) -> None:
        destroyed.append(node)
        if len(destroyed) > PROBES:
            hang()
        destroy(node)

    patched: Any = Node
    patched.destroy_node = destroy_or_hang


def hang_in_the_executor(path: Path) -> None:
    spin_once = SingleThreadedExecutor.spin_once

    def spin_or_hang(self: SingleThreadedExecutor, timeout_sec: float | None = None) -> None:
        if path.exists():
            path.unlink()
            sleep()
        spin_once(self, timeout_sec)

    SingleThreadedExecutor.spin_once = spin_or_hang  # type: ignore[method-assign]


def fail_to_take(path: Path, fail: Callable[[], None]) -> None:
    take = Rcl.take

    def take_or_fail(self: Rcl, subscription: Any, memory: memoryview) -> int | None:
        if path.exists():
            fail()
        return take(self, subscription, memory)

    Rcl.take = take_or_fail  # type: ignore[method-assign]


def sleep() -> None:
    time.sleep(600.0)


def break_down() -> None:
    raise LookupError('nobody expects this')


if __name__ == '__main__':
    patched: Any = main
    patched.give_up_when_spinning = functools.partial(patched.give_up_when_spinning, SPINNING_S)
    fault, begin = sys.argv[1], Path(sys.argv[2])
    FAULTS: dict[str, Callable[[], None]] = {
        'spins_at_the_end': hang_at_the_end,
        'spins': lambda: hang_as_soon_as_there_is(begin),
        'executor_hangs': lambda: hang_in_the_executor(begin),
        'take_hangs': lambda: fail_to_take(begin, sleep),
        'take_raises': lambda: fail_to_take(begin, break_down),
    }
    FAULTS[fault]()
    sys.exit(main.main(sys.argv[ARGUMENTS_BEGIN:]))
