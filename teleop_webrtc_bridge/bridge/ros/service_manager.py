"""
The notifications to systemd: the node is ready, its executor runs, it stops.

The protocol is sd_notify(3): one datagram per message, to the socket in ``NOTIFY_SOCKET``. Without
that variable nothing is sent.

``STOPPING`` and ``WATCHDOG`` apply to a whole unit. Only the process that systemd itself started
sends them, never a child of ``ros2 launch``: one bridge of several would stop all of them, or hide
that another one hangs. Each bridge sends ``READY``, because ``ros2 launch`` does not.
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

from collections.abc import Mapping
import os
import socket
from typing import Final

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.timer import Timer

__all__ = ['ServiceManager']

SLOWEST_S: Final = 1.0
FEEDS: Final = 4.0
"""Messages per watchdog period: a busy computer may delay some of them."""


class ServiceManager:
    """
    The systemd that started this process, if any.

    :param environment: The environment of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get('NOTIFY_SOCKET', ''))
        self._period_s = _period_s(environment.get('WATCHDOG_USEC', ''))
        self._is_of_systemd = all(
            environment.get(name, '') in ('', str(os.getpid()))
            # Before version 248 systemd sets only the first one, and only with WatchdogSec.
            for name in ('WATCHDOG_PID', 'SYSTEMD_EXEC_PID')
        )
        self._timer: Timer | None = None
        self._is_up = False

    def follow(self, node: Node) -> None:
        """
        Notify that the node is ready and, from now on, that its executor runs.

        A timer of that executor does it, on the steady clock: the node's clock stands still with
        use_sim_time and no /clock.
        """
        if self._address is None:
            return
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(self._period_s, self._feed, clock=clock)
        self._is_up = self._say('READY=1')

    def leave(self) -> None:
        """Notify that the node stops on purpose."""
        if self._is_of_systemd:
            self._say('STOPPING=1')

    def _feed(self) -> None:
        # Repeated until it is sent, or systemd would kill a healthy node.
        self._is_up = self._is_up or self._say('READY=1')
        if self._is_of_systemd:
            self._say('WATCHDOG=1')

    def _say(self, text: str) -> bool:
        """Send a message without waiting, and return whether it was sent."""
        if self._address is None:
            return False
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as end:
                end.sendto(text.encode('ascii'), self._address)
        except OSError:
            return False
        return True


def _address(text: str) -> bytes | None:
    """Return the address of a socket: a path, or an abstract name, which begins with ``@``."""
    if len(text) < 2 or text[0] not in '/@':
        return None
    name = text.encode('utf-8', 'surrogateescape')
    return b'\0' + name[1:] if text[0] == '@' else name


def _period_s(watchdog_usec: str) -> float:
    """Return the period of the messages; the default if there is no watchdog."""
    if not watchdog_usec.isdecimal() or not int(watchdog_usec):
        return SLOWEST_S
    return min(SLOWEST_S, int(watchdog_usec) / 1e6 / FEEDS)
