"""
Actions that inject faults into the rig, for :mod:`benchmark.faults.table`.

Each takes the rig and returns the time from which the fault holds, in seconds of
``time.monotonic``. Whatever must be undone goes on ``rig.undo``; the rig itself restarts killed
programs.
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
import resource
import signal
import time
from typing import Final
import uuid

import psutil
import wall_clock

from benchmark.faults.network import Conditions, Host
from benchmark.faults.rig import Rig

__all__ = ['Action']

Action = Callable[[Rig], float]

_STOP_SIGNALS: Final = (signal.SIGSTOP, signal.SIGTSTP)


# --- processes -------------------------------------------------------------------------------


def signalled(process: str, number: signal.Signals) -> Action:
    """Send a signal to a program of the rig, given by the name of its attribute."""

    def act(rig: Rig) -> float:
        target = getattr(rig, process)
        if number in _STOP_SIGNALS:
            rig.undo.callback(target.signal, signal.SIGCONT)
        return float(target.signal(number))

    return act


def webrtc_half_signalled(number: signal.Signals) -> Action:
    def act(rig: Rig) -> float:
        half = rig.webrtc_half()
        if number in _STOP_SIGNALS:
            rig.undo.callback(_send, half, signal.SIGCONT)
        return _send(half, number)

    return act


def robot_suspended(rig: Rig) -> float:
    """Stop both halves, as if the computer were suspended."""
    half = rig.webrtc_half()
    rig.undo.callback(_send, half, signal.SIGCONT)
    rig.undo.callback(rig.bridge.signal, signal.SIGCONT)
    _send(half, signal.SIGSTOP)
    return rig.bridge.signal(signal.SIGSTOP)


def webrtc_half_out_of_memory(rig: Rig) -> float:
    """Limit the memory of the WebRTC half to what it uses now."""
    half = rig.webrtc_half()
    # The lack of memory may have broken it without ending it.
    rig.undo.callback(_send, half, signal.SIGKILL)
    size = half.memory_info().vms
    resource.prlimit(half.pid, resource.RLIMIT_AS, (size, size))
    return time.monotonic()


def broker_restarted(rig: Rig) -> float:
    """Stop the broker as its administrator would, and restart it at once."""
    now = rig.broker.signal(signal.SIGTERM)
    rig.broker.wait()
    rig.restart_what_ended()
    return now


def _send(process: psutil.Process, number: signal.Signals) -> float:
    now = time.monotonic()
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return now
    return now


# --- network ---------------------------------------------------------------------------------


def spoilt(source: Host, target: Host, conditions: Conditions) -> Action:
    """Impair a link in one direction."""
    return lambda rig: rig.network.spoil(source, target, conditions)


def spoilt_both(one: Host, other: Host, conditions: Conditions) -> Action:
    """Impair a link in both directions."""
    return lambda rig: rig.network.spoil_both(one, other, conditions)


def flooded(rig: Rig) -> float:
    """Send noise to every open UDP port of the robot."""
    with open(f'/proc/{rig.webrtc_half().pid}/net/udp', encoding='ascii') as table:
        rows = [line.split()[1].split(':') for line in table.readlines()[1:]]
    # DDS listens on loopback and on the network; only the latter can be reached.
    reachable = {str(int(port, 16)) for address, port in rows if address != '0100007F'}
    rig.start_beside(
        Host.OPERATOR, 'benchmark.faults.flooder', Host.ROBOT.value, *sorted(reachable)
    )
    return time.monotonic()


# --- machine ---------------------------------------------------------------------------------


def hogged(hogs: int, then: Action) -> Action:
    """Start programs that use a whole core each, and then do the given action."""

    def act(rig: Rig) -> float:
        for _ in range(hogs):
            rig.start_beside(Host.ROBOT, 'benchmark.faults.hog')
        time.sleep(HOGS_SETTLE_S)
        return then(rig)

    return act


HOGS_SETTLE_S: Final = 1.0


def clock_stepped(offset_s: float) -> Action:
    """Step the wall clock of the robot."""

    def act(rig: Rig) -> float:
        rig.undo.callback(wall_clock.step, rig.folder, 0.0)
        wall_clock.step(rig.folder, offset_s)
        return time.monotonic()

    return act


def simulation_paused(rig: Rig) -> float:
    """Pause ``/clock``."""
    begun_s = time.monotonic()
    rig.undo.callback(rig.recorder.order, 'resume')
    rig.recorder.order('pause')
    rig.recorder.wait_for_event('clock', begun_s)
    return time.monotonic()


def disk_filled(rig: Rig) -> float:
    """Fill the small disk."""
    filler = rig.disk / 'filler'
    rig.undo.callback(filler.unlink, missing_ok=True)
    with filler.open('wb', buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return time.monotonic()


# --- operator and administrator --------------------------------------------------------------


def wishes(wish: str) -> Action:
    """Make the operator do something else."""

    def act(rig: Rig) -> float:
        begun_s = time.monotonic()
        rig.tell(wish)
        return float(rig.operator.wait_for_event('wants', begun_s)['at_s'])

    return act


def estop_pressed(rig: Rig) -> float:
    """Make the operator press E-STOP with the key held; return when it was pressed."""
    begun_s = time.monotonic()
    rig.tell('estop', nonce=uuid.uuid4().hex)
    return float(rig.operator.wait_for_event('estop_pressed', begun_s)['at_s'])


def key_revoked(rig: Rig) -> float:
    """Revoke the robot's key; the robot then gets a new one."""
    (row,) = rig.manage('keys', 'list').splitlines()[1:]
    rig.manage('keys', 'revoke', row.split()[0])
    now = time.monotonic()

    def give_another() -> None:
        rig.key_file.write_text(rig.manage('keys', 'add', 'another'), encoding='ascii')
        rig.bridge.end()

    rig.undo.callback(give_another)
    return now


def token_revoked(rig: Rig) -> float:
    """Revoke the operator's token; the operator then gets a new one."""
    rig.manage('operators', 'revoke', 'owner')
    now = time.monotonic()

    def give_another() -> None:
        rig.token = rig.manage('operators', 'add', 'owner')
        rig.operator.end()

    rig.undo.callback(give_another)
    return now


# --- browser ---------------------------------------------------------------------------------


def page_does(wish: str, and_back: str | None = None) -> Action:
    """Do something to the page; ``and_back`` undoes it, if it does not end by itself."""

    def act(rig: Rig) -> float:
        if and_back is None:
            rig.undo.callback(rig.operator.end)
        else:
            rig.undo.callback(rig.tell, and_back)
        return wishes(wish)(rig)

    return act


def browser_signalled(kind: str, number: signal.Signals) -> Action:
    """Signal Chromium's processes of one kind (``--type=renderer``), or all of them."""

    def act(rig: Rig) -> float:
        family = psutil.Process(rig.operator.pid).children(recursive=True)
        chosen = [p for p in family if 'chrom' in p.name() and kind in ' '.join(p.cmdline())]
        if number not in _STOP_SIGNALS:
            rig.undo.callback(rig.operator.end)
        now = time.monotonic()
        for process in chosen:
            if number in _STOP_SIGNALS:
                rig.undo.callback(_send, process, signal.SIGCONT)
            _send(process, number)
        return now

    return act
