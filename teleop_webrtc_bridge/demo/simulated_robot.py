"""
The program ``simulated_robot``: a robot with cameras, to drive when there is no real one.

::

    ros2 run teleop_webrtc_bridge simulated_robot --ros-args -r __ns:=/go2_a -p fps:=15.0
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

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from teleop_webrtc_bridge.processes.hang_guard import exit_within, FREED_S

if TYPE_CHECKING:
    from teleop_webrtc_bridge.demo.robot_node import SimulatedRobot

__all__ = ['main']


def _block_signals() -> set[signal.Signals]:
    # Blocked before anything else starts, so that every thread inherits the mask: the executor
    # waits in C, where a Python handler would not run, and a second Ctrl-C must not break the
    # clean-up.
    signals = {signal.SIGINT, signal.SIGTERM}
    # `nohup` asks us to survive the terminal. A shell's `&` ignores SIGINT too, but a SIGINT that
    # is sent on purpose should still end the program.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.add(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    for number in signals:
        # An ignored signal may be discarded before `sigtimedwait` sees it.
        signal.signal(number, signal.SIG_DFL)
    return signals


def main(argv: list[str] | None = None) -> int:
    """
    Run the robot until a signal ends it.

    :param argv: Arguments after the program's name; those of the process if ``None``.
    :returns: The exit status: 0 after a signal, 1 if a ROS callback failed, 2 if a parameter is
        invalid.
    """
    signals = _block_signals()
    # Loading numpy and rclpy takes a third of a second; Ctrl-C must work during it too.
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from teleop_webrtc_bridge.core.exceptions import ConfigurationError
    from teleop_webrtc_bridge.demo.robot_node import SimulatedRobot
    from teleop_webrtc_bridge.demo.shared_memory import large_shared_memory

    context = rclpy.Context()
    arguments = None if argv is None else [sys.argv[0], *argv]
    rclpy.init(args=arguments, context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        with large_shared_memory(os.environ):
            robot = SimulatedRobot(context=context)
        return _run(robot, signals)
    except ConfigurationError as error:
        print(f'simulated_robot: {error}', file=sys.stderr)
        return 2
    finally:
        context.try_shutdown()


def _run(robot: SimulatedRobot, signals: set[signal.Signals]) -> int:
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor(context=robot.context)
    executor.add_node(robot)
    spinning = threading.Thread(target=executor.spin, name='executor', daemon=True)
    spinning.start()
    # The pause between two steps is also the wait for a signal; it needs no handler or thread.
    while not _arrived(signals, robot.step()) and spinning.is_alive():
        pass
    # A callback that raises ends the executor's thread and prints why. A robot that no longer
    # listens must not look alive.
    status = 0 if spinning.is_alive() else 1
    executor.shutdown()
    spinning.join(timeout=0.5)
    exit_within(FREED_S, status)
    robot.destroy_node()
    return status


def _arrived(signals: set[signal.Signals], timeout_s: float) -> bool:
    """Wait for a signal; after SIGCONT, CPython may return a signal that was not asked for."""
    info = signal.sigtimedwait(signals, timeout_s)
    return info is not None and info.si_signo in signals


if __name__ == '__main__':
    sys.exit(main())
