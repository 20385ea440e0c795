"""The program ``teleop_bridge``: runs the node until a signal or a failure."""

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

from collections.abc import Callable, Sequence
import ctypes
import os
import signal
import sys
import threading
from typing import Final, TYPE_CHECKING

from teleop_webrtc_bridge.bridge.ros.nonblocking_stdio import output_that_never_blocks
from teleop_webrtc_bridge.bridge.ros.parameters.early_refusal import refuse_early
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.processes.hang_guard import exit_within, FREED_S, give_up_when_spinning

if TYPE_CHECKING:
    from teleop_webrtc_bridge.bridge.ros.node import TeleopBridge

__all__ = ['main']

FAILED: Final = 1
MISCONFIGURED: Final = 2
LARGEST_HEAP_BUFFER: Final = 32 * 1024 * 1024
"""The maximum that glibc accepts; a 4K image in RGBA is larger and unaffected."""
KEPT_BYTES: Final = 256 * 1024 * 1024

#: malloc.h
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Ending:
    """
    Ends the executor's loop on a signal.

    rclpy's own handlers invalidate the context before the last zero is published, and a Python
    handler does not run while the executor waits in C. The write to the wake-up descriptor runs
    at once, in any thread, and wakes up a thread that waits for it. A second signal has no effect:
    the end takes a limited time anyway.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self._read, True)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in _SIGNALS:
            # Explicitly: a shell without job control starts its children with SIGINT ignored.
            signal.signal(number, lambda number, frame: None)

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when a signal arrives."""

        def wait() -> None:
            os.read(self._read, 1)
            self.requested.set()
            wake()

        threading.Thread(target=wait, name='signals', daemon=True).start()


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the node until SIGINT, SIGTERM or SIGHUP.

    :returns: 0 after a signal, 1 after a failure, 2 when the configuration cannot work.
    """
    arguments = list(sys.argv if argv is None else argv)
    ending = _Ending()
    _keep_freed_memory()
    give_up_when_spinning()
    with output_that_never_blocks():
        return _main(arguments, ending)


def _main(arguments: list[str], ending: _Ending) -> int:
    try:
        refuse_early(arguments[1:])
    except ConfigurationError as error:
        return _refuse(error)
    # After the signal handlers: these imports take a good part of a second.
    import rclpy
    from rclpy.exceptions import ParameterException

    from teleop_webrtc_bridge.bridge.ros.node import TeleopBridge

    try:
        _init(arguments)
        node = TeleopBridge()
    except (ConfigurationError, ParameterException) as error:
        rclpy.try_shutdown()
        return _refuse(error)
    return _run(node, ending)


def _refuse(error: Exception) -> int:
    print(f'teleop_bridge: {error}', file=sys.stderr)
    return MISCONFIGURED


def _keep_freed_memory() -> None:
    """
    Let glibc keep the buffers of an image for the next one.

    DDS, and rclpy if it takes the images, allocate and free buffers for each image. By default
    glibc returns them to the kernel each time, and page faults double the processor time.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGEST_HEAP_BUFFER)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def _init(arguments: list[str]) -> None:
    """
    Initialise rclpy.

    :raises ConfigurationError: It refuses the ROS arguments, for instance a parameter file.
    """
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

    try:
        unknown = remove_ros_args(arguments)[1:]
        if unknown:
            raise ConfigurationError('argument', unknown[0], 'ROS arguments, after --ros-args')
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        text = ' '.join(str(error).split())
        raise ConfigurationError('--ros-args', ' '.join(arguments[1:]), text) from error


def _run(node: TeleopBridge, ending: _Ending) -> int:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from teleop_webrtc_bridge.bridge.ros.service_manager import ServiceManager

    manager = ServiceManager(os.environ)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ending.watch(node.wake)
    node.start()
    manager.follow(node)
    status = FAILED
    try:
        while not ending.requested.is_set() and node.failure is None:
            executor.spin_once()
        if node.failure is None:
            status = 0
        else:
            print(f'teleop_bridge: a thread failed: {node.failure!r}', file=sys.stderr)
    finally:
        manager.leave()
        executor.shutdown()
        node.leave(in_good_order=status == 0)
        exit_within(FREED_S, status)
        node.free()
        rclpy.try_shutdown()
    return status


if __name__ == '__main__':
    sys.exit(main())
