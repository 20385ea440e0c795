"""The WebRTC half as a real process, started by a light stand-in for the ROS half."""

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

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
import os
from pathlib import Path
import socket
import subprocess
import sys
import time
from typing import Any
import uuid

import numpy as np
from tree import ROOT
from waiting import PATIENCE_S

from teleop_webrtc_bridge.bridge.link.frame_slot import create_slot, FrameHeader, FrameWriter
from teleop_webrtc_bridge.bridge.link.packets import (
    Configure,
    decode,
    encode,
    MAX_PACKET_BYTES,
    Packet,
    Received,
    Send,
    Shutdown,
    Status,
)
from teleop_webrtc_bridge.core.codec import decode_command
from teleop_webrtc_bridge.core.configuration import BridgeConfiguration, VideoConfiguration
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import CMD_UNRELIABLE, DriveCommand
from teleop_webrtc_bridge.core.session import BridgeState

END_S = 10.0
DRIVABLE = (BridgeState.CONNECTED, BridgeState.OPERATED)


def configuration(
    broker_url: str, api_key: str, robot_id: str, **fields: Any
) -> BridgeConfiguration:
    """Return the configuration of a bridge with small video."""
    video = VideoConfiguration(codec='h264', bitrate_bps=500_000, fps=15.0, max_width_px=320)
    values: dict[str, Any] = {
        'robot_id': robot_id,
        'robot_name': robot_id or 'robot',
        'robot_type': '',
        'broker_url': broker_url,
        'instance_id': uuid.uuid4().hex,
        'api_key': api_key,
        'clock_ahead_s': time.time() - time.monotonic(),
        'video': video,
    }
    return BridgeConfiguration(**values | fields)


class WebrtcHalf:
    """
    One WebRTC process and our end of its link; owned by the event loop that started it.

    :param robot: Its configuration.
    :param log: File for its output.
    :param launcher: Command before its command line, which runs it.
    """

    def __init__(
        self, robot: BridgeConfiguration, log: Path, launcher: Sequence[str] = ()
    ) -> None:
        self.robot = robot
        self.log = log
        self._launcher = launcher
        self.statuses: list[tuple[float, Status]] = []
        """Each status with its arrival, in seconds of ``time.monotonic``."""
        self.commands: list[DriveCommand] = []
        """Commands that arrived on ``cmd_unreliable``."""
        self.arrivals: list[tuple[float, DriveCommand]] = []
        """All commands with their arrival, in seconds of ``time.monotonic``."""
        self.others: list[Received] = []
        """Messages that arrived on the other channel."""
        self._news = asyncio.Event()
        self._slot = create_slot()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._writer = FrameWriter(self._slot, self._wake)
        self._start()

    def _start(self) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inherited = (theirs.fileno(), self._wake, self._slot)
        numbers = (theirs.fileno(), os.getpid(), self._wake, self._slot)
        with theirs, self.log.open('ab') as output:
            self.process = subprocess.Popen(
                [
                    *self._launcher,
                    *(sys.executable, '-m', 'teleop_webrtc_bridge.bridge.webrtc'),
                    *map(str, numbers),
                ],
                pass_fds=inherited,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        self._link.setblocking(False)
        self._link.send(encode(Configure(configuration=self.robot)))
        asyncio.get_running_loop().add_reader(self._link, self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = self._link.recv(MAX_PACKET_BYTES)
        except (BlockingIOError, ConnectionError):
            data = b''
        if data:
            self._take(decode(data))
        else:
            asyncio.get_running_loop().remove_reader(self._link)
        self._news.set()

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Status):
            self.statuses.append((time.monotonic(), packet))
        elif isinstance(packet, Received) and packet.label == CMD_UNRELIABLE:
            try:
                command = decode_command(packet.payload)
            except ProtocolError:
                return
            if isinstance(command, DriveCommand):
                self.commands.append(command)
                self.arrivals.append((packet.arrival_s, command))
        elif isinstance(packet, Received):
            self.others.append(packet)

    @property
    def status(self) -> Status | None:
        return self.statuses[-1][1] if self.statuses else None

    @property
    def state(self) -> BridgeState | None:
        return self.status.state if self.status else None

    def states(self) -> list[BridgeState]:
        """Return the sequence of states that it went through."""
        states: list[BridgeState] = []
        for _, status in self.statuses:
            if not states or states[-1] is not status.state:
                states.append(status.state)
        return states

    def counter(self, name: str) -> float:
        return self.status.counters.get(name, 0.0) if self.status else 0.0

    async def until(
        self, condition: Callable[[], Any], what: str, *, timeout_s: float = PATIENCE_S
    ) -> None:
        """Wait until a condition on the process's messages is true."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            told = [(status.state.value, status.reason) for _, status in self.statuses[-5:]]
            raise AssertionError(f'not within {timeout_s:g} s: {what}; {told}') from None

    async def connected(self, *, timeout_s: float = PATIENCE_S) -> float:
        """Wait until it is connected, and return when it reported this."""
        await self.until(lambda: self.state in DRIVABLE, 'connected', timeout_s=timeout_s)
        return self.statuses[-1][0]

    async def reconnected(self, epoch: int, *, timeout_s: float) -> float:
        """Wait for a session newer than this epoch, and return when it was reported."""

        def news() -> list[float]:
            return [
                at_s
                for at_s, status in self.statuses
                if status.state in DRIVABLE and status.control_epoch > epoch
            ]

        await self.until(news, 'a newer session', timeout_s=timeout_s)
        return news()[0]

    async def in_state(self, state: BridgeState, *, timeout_s: float = PATIENCE_S) -> Status:
        """Wait for a new status with this state, and return it."""
        seen = len(self.statuses)

        def told() -> list[Status]:
            return [status for _, status in self.statuses[seen:] if status.state is state]

        await self.until(told, state.value, timeout_s=timeout_s)
        return told()[0]

    def show(self, grey: int) -> None:
        """Put a small picture into the frame slot."""
        header = FrameHeader(
            capture_s=time.monotonic(), width=160, height=120, step=160, encoding='mono8'
        )
        self._writer.write(header, memoryview(bytes([grey % 256]) * (160 * 120)))

    def show_pixels(self, pixels: np.ndarray[Any, Any]) -> None:
        """Put a grey picture of any size into the frame slot."""
        height, width = pixels.shape
        header = FrameHeader(
            capture_s=time.monotonic(), width=width, height=height, step=width, encoding='mono8'
        )
        self._writer.write(header, memoryview(pixels.tobytes()))

    def show_colours(self, pixels: np.ndarray[Any, Any], capture_s: float | None = None) -> None:
        """
        Put a picture ``[row, column, bgr]`` into the frame slot.

        :param capture_s: When it was taken, in seconds of ``time.monotonic``; now by default.
        """
        height, width, _ = pixels.shape
        header = FrameHeader(
            capture_s=time.monotonic() if capture_s is None else capture_s,
            width=width,
            height=height,
            step=3 * width,
            encoding='bgr8',
        )
        self._writer.write(header, memoryview(pixels.data).cast('B'))

    def say(self, label: str, payload: bytes, *, urgent: bool = False) -> None:
        """Send a message to the operator."""
        self._link.send(encode(Send(label=label, payload=payload, text=True, urgent=urgent)))

    def kill(self) -> None:
        """Kill it, as in a crash, and start its successor, as the ROS half does."""
        self.process.kill()
        self.process.wait()
        self._close_link()
        self._start()

    async def end(self) -> int:
        """Request a shutdown, and return its exit status."""
        with suppress(OSError):
            self._link.send(encode(Shutdown()))
        try:
            return await asyncio.to_thread(self.process.wait, END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'did not end: {self.log.read_text()}') from None
        finally:
            self._close_link()
            self._writer.close()
            os.close(self._slot)
            os.close(self._wake)

    def _close_link(self) -> None:
        asyncio.get_running_loop().remove_reader(self._link)
        self._link.close()


@asynccontextmanager
async def webrtc_half(
    robot: BridgeConfiguration, folder: Path, launcher: Sequence[str] = ()
) -> AsyncIterator[WebrtcHalf]:
    """Start a WebRTC half, and end it whatever happens."""
    half = WebrtcHalf(robot, folder / f'webrtc_{uuid.uuid4().hex[:6]}.log', launcher)
    try:
        yield half
    finally:
        await half.end()
