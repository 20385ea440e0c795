"""
The drive thread: carries the operator's commands to ``cmd_vel`` and calls nothing that may hang.

It waits for the WebRTC half and for the gate's deadline at the same time (``poll``). So the zero
at a deadline depends on no ROS timer, no wall clock and no other thread. The end of the WebRTC
half (end of file on the link) causes a zero at once.
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

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
import os
import queue
import select
import socket
import threading
import time
from typing import Final

from teleop_webrtc_bridge.bridge.link.packets import (
    backlog_check,
    decode,
    encode,
    MAX_PACKET_BYTES,
    Received,
    Send,
    Show,
    Shutdown,
    Status,
)
from teleop_webrtc_bridge.bridge.ros.estop import EstopCause, EstopEvent, EstopRecord
from teleop_webrtc_bridge.bridge.ros.operator_messages import LatencyReport, OperatorMessages
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import JoyState, Origin, Pose, Velocity
from teleop_webrtc_bridge.core.motion.command_frames import CommandFrames
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate
from teleop_webrtc_bridge.core.motion.other_devices import JoyGate, PoseGate
from teleop_webrtc_bridge.core.session import BridgeState

__all__ = ['DriveSnapshot', 'DriveThread', 'OtherDevices']

BATCH_PACKETS: Final = 512
"""More than the link can hold, so that only an endless writer is interrupted."""
REALTIME_PRIORITY: Final = 10
"""Of SCHED_FIFO: above everything that is not real time, below hardware drivers."""
_DISCONNECTED: Final = Status(state=BridgeState.DIALLING, reason='', control_epoch=0, counters={})


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveSnapshot:
    """The state of the drive thread for the rest of the node; replaced, never changed."""

    status: Status
    latch: int | None = None
    """The number of the E-STOP latch that holds; ``None``: it is released."""
    cause: EstopCause | None = None
    """Who set that latch; ``None``: it is released."""
    enabled: bool = True
    link_up: bool = False
    """Whether the WebRTC half is connected."""
    blind: bool = False
    """Whether the operator has no current picture, which limits the speed."""
    blind_page: bool = False
    """Whether the operator's page reports that it shows no picture."""
    selected: tuple[str, ...] = ()
    """The cameras that the operator selected, from left to right."""
    realtime: bool | None = None
    """Whether the thread runs with SCHED_FIFO; ``None``: it has not started."""
    round_trip_s: float = 0.0
    """To the operator's page; 0.0 while unknown."""
    latency: LatencyReport = field(default_factory=LatencyReport)
    command_timeout_s: float = 0.0
    """The timeout in force."""
    counters: dict[str, int] = field(default_factory=dict)
    refused_frame: str = ''
    """The frame_id of the newest command that was refused because of it."""
    failure: BaseException | None = None
    """The exception that ended the thread; the node must end as well."""

    @property
    def estopped(self) -> bool:
        return self.latch is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDevices:
    """What the operator may control besides the base, and how it is published."""

    joy: JoyGate | None = None
    publish_joy: Callable[[JoyState], None] = lambda state: None
    poses: PoseGate | None = None
    publish_pose: Callable[[str, Pose], None] = lambda hand, pose: None


class DriveThread(threading.Thread):
    """
    Owns the gate and the link to the WebRTC half, and alone publishes on ``cmd_vel``.

    :param gate: Judges the commands.
    :param publish: Publishes a velocity immediately.
    :param on_change: Called from this thread after :attr:`snapshot` was replaced; must not block.
    :param cameras: Names of the robot's cameras; at least one.
    :param stereo: The left and the right one of a stereo pair; empty: there is none.
    :param clock_ahead_s: Offset of the clock of ``pong`` from ``time.monotonic``, in seconds.
    :param restored: The cause of the gate's initial latch.
    :param frames: Tells which commands are not for the base.
    :param others: What else the operator may control; ``None``: only the base.
    """

    def __init__(
        self,
        gate: CommandGate,
        *,
        publish: Callable[[Velocity], None],
        on_change: Callable[[], None],
        cameras: Sequence[str],
        clock_ahead_s: float,
        restored: EstopCause | None = None,
        frames: CommandFrames | None = None,
        others: OtherDevices | None = None,
        stereo: Sequence[str] = (),
    ) -> None:
        super().__init__(name='drive', daemon=True)
        self._estops = EstopRecord(clock_ahead_s=clock_ahead_s, latch=gate.latch, cause=restored)
        self.snapshot = DriveSnapshot(
            status=_DISCONNECTED,
            latch=gate.latch,
            cause=self._estops.cause(gate.latch),
            selected=tuple(cameras[:1]),
        )
        self.words = 0
        """Number of status messages from the WebRTC half."""
        self._gate = gate
        self._publish = publish
        self._on_change = on_change
        self._others = OtherDevices() if others is None else others
        self._messages = OperatorMessages(
            gate,
            estops=self._estops,
            publish=self._publish_output,
            send=self._send_to_operator,
            cameras=cameras,
            stereo=stereo,
            clock_ahead_s=clock_ahead_s,
            frames=frames,
            joy=self._others.joy,
            poses=self._others.poses,
            publish_pose=self._others.publish_pose,
        )
        self._requests: queue.SimpleQueue[Callable[[CommandGate, float], object]] = (
            queue.SimpleQueue()
        )
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._link: socket.socket | None = None
        self._is_link_behind: Callable[[], bool] = lambda: False
        self._shown: Show | None = None
        self._shown_is_told = True
        self._status = _DISCONNECTED
        self._counters: Counter[str] = Counter()
        self._realtime: bool | None = None
        self._ending = False
        self._goodbye = ''

    # --- called from other threads ---------------------------------------------------------------

    def request(self, apply: Callable[[CommandGate, float], object]) -> None:
        """Call this in the thread, with the gate and the time, then publish the gate's output."""
        self._requests.put(apply)
        os.eventfd_write(self._wake, 1)

    def press_estop(self, by: Origin, applied: Callable[[], None] | None = None) -> None:
        """
        Latch the E-STOP.

        :param by: The person or the topic that presses.
        :param applied: Called from the thread after the zero was published.
        """

        def apply(gate: CommandGate, now: float) -> None:
            gate.set_estop(now)
            self._publish_output()
            if applied is not None:
                applied()
            self._estops.pressed(now, gate.latch, by)

        self.request(apply)

    def release_estop(self, by: Origin, applied: Callable[[], None] | None = None) -> None:
        """
        Release the E-STOP latch.

        :param by: The person or the service that releases.
        :param applied: Called from the thread after the release.
        """

        def apply(gate: CommandGate, now: float) -> None:
            latch = gate.latch
            gate.clear_estop(now)
            if applied is not None:
                applied()
            self._estops.released(latch, by)

        self.request(apply)

    def take_estop_events(self) -> list[EstopEvent]:
        """Return the events of the latch since the last call; for one other thread."""
        return self._estops.take_events()

    def use_link(self, link: socket.socket) -> None:
        """Use the link to a new WebRTC half."""
        self.request(lambda gate, now: self._take_link(link))

    def show(self, cameras: tuple[str, ...]) -> None:
        """Let the present and all later WebRTC halves show these cameras."""

        def apply(gate: CommandGate, now: float) -> None:
            self._shown, self._shown_is_told = Show(cameras=cameras), False
            self._tell_shown()

        self.request(apply)

    def tell_faults(self, faults: Mapping[str, str]) -> None:
        """Report the faults of the cameras, by name, to the operator."""
        self._messages.camera_faults = faults

    def say_goodbye(self, reason: str) -> None:
        """
        Stop the robot and ask the WebRTC half to leave the broker and end.

        :param reason: The reason in the state after that.
        """

        def apply(gate: CommandGate, now: float) -> None:
            gate.begin_control(now)
            self._goodbye = reason
            self._send(encode(Shutdown()))

        self.request(apply)

    def end(self) -> None:
        """Publish the last zero and end the thread."""

        def apply(gate: CommandGate, now: float) -> None:
            self._ending = True

        self.request(apply)
        self.join()

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Drive until :meth:`end`; an exception stops the robot and goes into the snapshot."""
        failure: BaseException | None = None
        try:
            self._realtime = _become_realtime()
            self._show()
            while not self._ending:
                self._step()
        except Exception as error:  # noqa: BLE001 - the outermost boundary: the node must end
            failure = error
        finally:
            self._publish(Velocity())
            if self._others.joy is not None:
                for state in self._others.joy.end():
                    self._others.publish_joy(state)
            self._show(failure)

    def _step(self) -> None:
        now = time.monotonic()
        joy = self._others.joy
        deadlines = [
            self._gate.deadline(now),
            self._messages.deadline(),
            None if joy is None else joy.deadline(),
        ]
        waits = [deadline - now for deadline in deadlines if deadline is not None]
        # poll counts in milliseconds; rounding up avoids an iteration before the deadline.
        timeout_ms = max(0.0, min(waits)) * 1e3 + 0.5 if waits else None
        for descriptor, _ in self._poll.poll(timeout_ms):
            if descriptor == self._wake:
                self._serve_requests()
            else:
                self._receive()
        self._publish_output()
        self._messages.report(time.monotonic())
        self._tell_shown()

    def _serve_requests(self) -> None:
        os.eventfd_read(self._wake)
        while not self._requests.empty():
            self._requests.get()(self._gate, time.monotonic())
            self._publish_output()
        self._show()

    def _publish_output(self) -> None:
        now = time.monotonic()
        velocity = self._gate.output(now)
        if velocity is not None:
            self._publish(velocity)
        if self._others.joy is not None:
            for state in self._others.joy.output(now):
                self._others.publish_joy(state)
        if self._others.poses is not None:
            self._others.poses.look(now)

    # --- the link --------------------------------------------------------------------------------

    def _take_link(self, link: socket.socket) -> None:
        self._drop_link()
        self._goodbye = ''
        self._link = link
        self._is_link_behind = backlog_check(link)
        self._poll.register(link, select.POLLIN)
        self._shown_is_told = self._shown is None
        self._tell_shown()

    def _drop_link(self) -> None:
        if self._link is not None:
            self._poll.unregister(self._link)
            self._link.close()
            self._link = None

    def _receive(self) -> None:
        """
        Handle all waiting packets; the caller publishes the resulting velocity.

        So an older command is never published while a newer one waits. An E-STOP and a change of
        operator publish their zero at once.
        """
        link = self._link
        for _ in range(BATCH_PACKETS):
            if link is None or link is not self._link:
                return
            try:
                data = link.recv(MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b''
            if not data:
                self._lose_link()
                return
            self._handle(data)

    def _lose_link(self) -> None:
        """Stop the robot because the WebRTC half is gone."""
        self._drop_link()
        now = time.monotonic()
        self._gate.begin_control(now)
        self._publish_output()
        self._messages.forget_selection()
        self._messages.set_operated(now, False)
        self._status = Status(
            state=BridgeState.DIALLING,
            reason=self._goodbye or 'the WebRTC process ended',
            control_epoch=0,
            counters={},
        )
        self._show()

    def _handle(self, data: bytes) -> None:
        try:
            packet = decode(data)
        except ProtocolError:
            self._counters['broken_packets'] += 1
            return
        if isinstance(packet, Received):
            if self._messages.handle(packet, time.monotonic()):
                self._publish_output()
                self._show()
        elif isinstance(packet, Status):
            self._handle_status(packet)

    def _handle_status(self, status: Status) -> None:
        self.words += 1
        previous, self._status = self._status, status
        now = time.monotonic()
        operated = status.state is BridgeState.OPERATED
        was_operated = previous.state is BridgeState.OPERATED
        if status.control_epoch != previous.control_epoch or (was_operated and not operated):
            self._gate.begin_control(now)
            self._publish_output()
            self._messages.forget_selection()
        self._messages.path = status.path
        self._messages.set_operated(now, operated)
        self._show()

    def _send_to_operator(self, label: str, payload: bytes, text: bool, urgent: bool) -> None:
        if self._link is not None and not urgent and self._is_link_behind():
            self._counters['telemetry_lost'] += 1
            return
        self._send(encode(Send(label=label, payload=payload, text=text, urgent=urgent)))

    def _tell_shown(self) -> None:
        """Tell the WebRTC half which cameras to show; repeated until the packet is sent."""
        if not self._shown_is_told and self._shown is not None and self._link is not None:
            self._shown_is_told = self._send(encode(self._shown))

    def _send(self, packet: bytes) -> bool:
        """
        Send a packet to the WebRTC half without waiting; it is lost if the link is full.

        :returns: Whether it was sent.
        """
        if self._link is None:
            return False
        try:
            self._link.send(packet)
        except OSError:
            # The link is full or closed, or the packet too large; driving goes on.
            self._counters['link_full'] += 1
            return False
        return True

    def _show(self, failure: BaseException | None = None) -> None:
        counters = {verdict.value: count for verdict, count in self._gate.verdicts.items()}
        self.snapshot = DriveSnapshot(
            status=self._status,
            latch=self._gate.latch,
            cause=self._estops.cause(self._gate.latch),
            enabled=self._gate.enabled,
            link_up=self._link is not None,
            blind=self._gate.blind,
            blind_page=self._gate.blind_page,
            selected=self._messages.selected,
            realtime=self._realtime,
            round_trip_s=self._gate.round_trip_s(time.monotonic()),
            latency=self._messages.latency(time.monotonic()),
            command_timeout_s=self._gate.command_timeout_s(),
            counters=counters
            | dict(self._counters + self._messages.counters)
            | {'limited': self._gate.limited},
            refused_frame=self._messages.refused_frame,
            failure=failure,
        )
        self._on_change()


def _become_realtime() -> bool:
    """Request SCHED_FIFO for this thread, and return whether it was granted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except PermissionError:
        return False
    return True
