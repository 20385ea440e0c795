"""
A guard that ends a process which hangs in C code while holding the interpreter's lock.

No Python runs then, so kernel timers do it. Fast DDS 3.2 was seen in endless loops
(docs/safety.md).
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

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from typing import Final

__all__ = ['FREED_S', 'exit_within', 'give_up_when_spinning']

FREED_S: Final = 1.0
"""How long to wait for DDS to shut down. Otherwise the other nodes would keep waiting for this one
until its DDS lease ends after 20 s."""

SPINNING_S: Final = 10.0
"""CPU time, not real time: a process that was stopped or suspended does not hang."""
SIGNS_OF_LIFE: Final = 10.0
"""Number of times that the timer is set again within ``spinning_s``."""

#: signal.h and time.h
_SIGEV_THREAD: Final = 2
_CLOCK_MONOTONIC: Final = 1


class _Notification(ctypes.Structure):
    """``struct sigevent`` of the GNU C library."""

    _fields_ = (
        ('value', ctypes.c_void_p),
        ('signal', ctypes.c_int),
        ('kind', ctypes.c_int),
        ('function', ctypes.c_void_p),
        ('attributes', ctypes.c_void_p),
        ('padding', ctypes.c_byte * 32),
    )


class _Time(ctypes.Structure):
    """``struct itimerspec``: the interval, which is zero, and the delay."""

    _fields_ = (
        ('interval_s', ctypes.c_long),
        ('interval_ns', ctypes.c_long),
        ('s', ctypes.c_long),
        ('ns', ctypes.c_long),
    )


def give_up_when_spinning(spinning_s: float = SPINNING_S) -> None:
    """
    Let SIGPROF kill the process, with a traceback of all threads, once no Python runs any more.

    Call it from the main thread, before standard error is redirected to a thread of this process.

    :param spinning_s: CPU time without any Python after which the process counts as hung, in
        seconds.
    """
    output = os.dup(2) if sys.stderr is not None else os.open(os.devnull, os.O_WRONLY)
    # Chained: after the traceback the default action of the signal kills the process.
    faulthandler.register(signal.SIGPROF, file=output, all_threads=True, chain=True)

    def live() -> None:
        while True:
            signal.setitimer(signal.ITIMER_PROF, spinning_s)
            time.sleep(spinning_s / SIGNS_OF_LIFE)

    signal.setitimer(signal.ITIMER_PROF, spinning_s)
    threading.Thread(target=live, name='hang_guard', daemon=True).start()


def exit_within(delay_s: float, status: int) -> None:
    """
    Exit after a delay if the process still runs then, without any clean-up.

    :param delay_s: In seconds.
    :param status: The exit status.
    """
    library = ctypes.CDLL(None, use_errno=True)
    # The C library starts a thread, which needs no interpreter, for _exit(status).
    notification = _Notification(
        value=status,
        kind=_SIGEV_THREAD,
        function=ctypes.cast(library._exit, ctypes.c_void_p).value,
    )
    timer = ctypes.c_void_p()
    if library.timer_create(_CLOCK_MONOTONIC, ctypes.byref(notification), ctypes.byref(timer)):
        raise OSError(ctypes.get_errno(), 'timer_create')
    seconds, fraction = divmod(delay_s, 1.0)
    due = _Time(s=int(seconds), ns=int(fraction * 1e9))
    if library.timer_settime(timer, 0, ctypes.byref(due), None):
        raise OSError(ctypes.get_errno(), 'timer_settime')
