"""
The embedded SFU in separate processes, each with some robots and their operators.

Load on the broker's HTTP side does not slow down the media, because they share no interpreter. A
crash in a codec or a parser ends the sessions of one process and not the broker. All processor
cores are used.
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

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
import itertools
import logging
import os
import socket
import sys
import time
from typing import Any, Final

from teleop_webrtc_bridge.broker.identity import Identity
from teleop_webrtc_bridge.broker.media.backend import (
    Arrived,
    DataChannelRequest,
    MediaError,
    MediaSession,
    MediaSessionGone,
    StopSeen,
)
from teleop_webrtc_bridge.broker.media.process_link import (
    as_codecs,
    as_session,
    as_stop,
    MAX_LINE_BYTES,
    NetworkSettings,
    read_line,
    refusal,
    write_line,
)
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import VideoCodec
from teleop_webrtc_bridge.processes.child_process import (
    back_off_s,
    child_environment,
    ChildWatch,
    memory_bytes,
    TURN_S,
)

__all__ = ['MediaProcess', 'MediaProcesses', 'Start']

MEDIA_HUNG_S: Final = 5.0
"""Silence after which a process counts as hung. Its robots stop after a quarter of a second."""
MEDIA_LARGEST_BYTES: Final = 2 * 2**30
"""Limit on a process's own memory. 20 robots and their operators take 0.2 GB."""
END_TIMEOUT_S: Final = 0.9
"""How long a process may take to close its connections and end."""
READY_S: Final = 10.0
"""How long a call waits for a process that is starting."""
MOST_FALSE_STARTS: Final = 3
"""If the first process has not become ready after this many starts, it never will."""
MOST_CALLS: Final = 256
"""Pending calls to one process; further ones fail."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a media process is started."""

    include_loopback: bool
    """Offer 127.0.0.1 to peers on this machine."""
    log_level: str
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """The same for all processes: they share one range of ports."""
    program: str = 'teleop_webrtc_bridge.broker.media.process'
    hung_s: float = MEDIA_HUNG_S

    def command(self, link: int) -> list[str]:
        loopback = str(int(self.include_loopback))
        network = self.network.as_argument()
        arguments = [str(link), str(os.getpid()), loopback, network, self.log_level]
        return [sys.executable, '-m', self.program, *arguments]


class MediaProcess:
    """
    One media process, restarted whenever it ends, and the state of its sessions.

    :param on_stop: Called for each E-STOP that passes.
    :param must_start: Fail if it does not start, instead of trying for ever.
    """

    def __init__(
        self, start: Start, on_stop: Callable[[StopSeen], None], *, must_start: bool = False
    ) -> None:
        self.heard_s: dict[str, float] = {}
        """Media session → when its peer was last heard, in seconds of ``time.monotonic``."""
        self.arrived: dict[str, dict[str, bool]] = {}
        self.pid: int | None = None
        """The id of the newest process."""
        self._start = start
        self._on_stop = on_stop
        self._robots: set[str] = set()
        self._dialling = 0
        self._writer: asyncio.StreamWriter | None = None
        self._is_ready = asyncio.Event()
        self._connections: dict[str, asyncio.Event] = {}
        """Media session → an event that is set when it is connected or gone."""
        self._must_start = must_start
        self._false_starts = 0
        self._calls: dict[int, asyncio.Future[Any]] = {}
        """Each gets its result, or an error when the process ends."""
        self._numbers = itertools.count()
        self._reports = 0
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def robots(self) -> int:
        """How many robots it serves, including those that are connecting."""
        return len(self._robots & self.heard_s.keys()) + self._dialling

    @property
    def is_ready(self) -> bool:
        """Whether it serves calls."""
        return self._is_ready.is_set()

    async def run(self) -> None:
        """
        Keep the process running; ends after :meth:`close`, or by cancellation.

        :raises ConfigurationError: It must start and does not.
        """
        pause_s = 0.0
        try:
            while not self._closing.is_set():
                started_s = time.monotonic()
                status = await self._try_to_live()
                if self._closing.is_set():
                    return
                lived_s = time.monotonic() - started_s
                pause_s = back_off_s(pause_s, lived_s)
                _log.error(
                    'event=media_process_ended pid=%s status=%s lived_s=%.1f restart_in_s=%.1f',
                    *(self.pid, status, lived_s, pause_s),
                )
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._closing.wait()
        finally:
            self._ended.set()

    async def _try_to_live(self) -> object:
        """Run the process once; returns its exit status, or why it could not be started."""
        self._false_starts += 1
        try:
            status: object = await self._live()
        except OSError as error:  # out of descriptors, processes or memory: may be temporary
            status = error.strerror
        if self._must_start and self._false_starts >= MOST_FALSE_STARTS:
            allowed = 'a program that starts (its output is in the log)'
            raise ConfigurationError(self._start.program, f'ended with {status}', allowed)
        return status

    async def close(self) -> None:
        """Have the process close its connections, and wait until it has ended."""
        self._closing.set()
        if self._writer is not None:
            self._writer.close()
        await self._ended.wait()

    async def new_session(
        self, sdp_offer: str, beside: str | None, video_codecs: Sequence[VideoCodec]
    ) -> MediaSession:
        """
        Answer an offer.

        :raises MediaError: See :meth:`call`.
        """
        self._dialling += beside is None
        try:
            answer = await self.call(
                'new_session', sdp_offer=sdp_offer, beside=beside, video_codecs=video_codecs
            )
            session = as_session(answer)
            self._connections.setdefault(session.media_id, asyncio.Event())
            self.heard_s[session.media_id] = time.monotonic()
            if beside is None:
                self._robots.add(session.media_id)
            return session
        finally:
            self._dialling -= beside is None

    def close_session(self, media_id: str) -> None:
        """Close a peer connection; wakes the tasks that wait for it to connect."""
        self.heard_s.pop(media_id, None)
        self._gone(media_id)
        self.tell('close_session', media_id=media_id)

    async def connected(self, media_id: str) -> None:
        """
        Wait until a session is connected.

        :raises MediaSessionGone: It ended instead.
        """
        connection = self._connections.get(media_id)
        if connection is not None:
            await connection.wait()
        if media_id not in self._connections:
            raise MediaSessionGone('the connection ended')

    def _gone(self, media_id: str) -> None:
        connection = self._connections.pop(media_id, None)
        if connection is not None:
            connection.set()

    async def call(self, method: str, **arguments: Any) -> Any:
        """
        Call a method in the process and wait for the result; the caller sets a time-out.

        :raises MediaError: The error of the process, or that it has ended.
        """
        try:
            async with asyncio.timeout(READY_S):
                await self._is_ready.wait()
        except TimeoutError:
            raise MediaError('the media process does not start') from None
        if self._writer is None or len(self._calls) >= MOST_CALLS:
            raise MediaError('the media process has ended, or has too much to do')
        number = next(self._numbers)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self._send({'call': number, 'method': method, 'arguments': arguments})
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.done() or answer.cancelled():
                self._send({'cancel': number})
            elif answer.exception() is None:
                self._close_unwanted(answer.result())
            raise
        finally:
            self._calls.pop(number, None)

    def tell(self, method: str, **arguments: Any) -> None:
        """Call a method that has no result."""
        self._send({'method': method, 'arguments': arguments})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            write_line(self._writer, message)

    # --- one run of the process ----------------------------------------------------------------

    async def _live(self) -> int | None:
        """Start the process and read from it until it ends; returns its exit status."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = await asyncio.create_subprocess_exec(
                    *self._start.command(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=child_environment(),
                    # Ctrl-C in a terminal must reach only us, even while the child is starting.
                    process_group=0,
                )
        except BaseException:
            ours.close()
            raise
        self.pid = child.pid
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        if self._closing.is_set():
            self._writer.close()
        watching = asyncio.create_task(self._watch(child))
        try:
            await self._listen(reader)
        finally:
            watching.cancel()
            self._forget()
            await _end(child)
        return child.returncode

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        """Kill a process that hangs or takes too much memory."""
        watch = ChildWatch(
            time.monotonic(),
            self._reports,
            largest_bytes=MEDIA_LARGEST_BYTES,
            hung_s=self._start.hung_s,
        )
        reason = None
        while reason is None:
            await asyncio.sleep(TURN_S)
            reason = watch.turn(
                time.monotonic(), words=self._reports, memory_bytes=memory_bytes(child.pid)
            )
        _log.error('event=media_process_given_up pid=%d reason="%s"', child.pid, reason)
        child.kill()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while (message := await read_line(reader)) is not None:
            if 'heard' in message:
                self._reports += 1
                self.heard_s = message['heard']
                self.arrived = message.get('arrived', {})
                self._robots &= self.heard_s.keys()
                for media_id in self._connections.keys() - self.heard_s.keys():
                    self._gone(media_id)
                self._must_start = False
                self._is_ready.set()
            elif 'connected' in message:
                self._connections.setdefault(message['connected'], asyncio.Event()).set()
            elif 'stop' in message:
                self._on_stop(as_stop(message['stop']))
            else:
                self._take_answer(message)

    def _take_answer(self, message: dict[str, Any]) -> None:
        answer = self._calls.pop(message['call'], None)
        result = message.get('result')
        if answer is None or answer.done():
            self._close_unwanted(result)
        elif 'error' in message:
            answer.set_exception(refusal(message['error'], message['text']))
        else:
            answer.set_result(result)

    def _close_unwanted(self, result: object) -> None:
        """Close a new session whose caller no longer waits; nothing else would close it."""
        if isinstance(result, dict) and 'media_id' in result:
            self.close_session(result['media_id'])

    def _forget(self) -> None:
        """Drop the sessions and the calls of a process that has closed the link."""
        self._is_ready.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.heard_s = {}
        self.arrived = {}
        self._robots.clear()
        for media_id in list(self._connections):
            self._gone(media_id)
        calls, self._calls = self._calls, {}
        for answer in calls.values():
            if not answer.done():
                answer.set_exception(MediaError('the media process has ended'))


async def _end(child: asyncio.subprocess.Process) -> None:
    """Wait for a process whose link is closed, and kill it if it does not end."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await child.wait()
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
    await child.wait()


class MediaProcesses:
    """
    Implements :class:`~teleop_webrtc_bridge.broker.media.backend.Media` and ``CountsArrivals``.

    :param start: How each process is started.
    :param most: The largest number of processes. The first is started at once, each further one
        when a robot connects and every process already serves one.
    """

    def __init__(self, start: Start, *, most: int) -> None:
        self._start = start
        self._most = most
        self._on_stop: Callable[[StopSeen], None] = lambda stop: None
        self._tasks: asyncio.TaskGroup | None = None
        self._processes: list[MediaProcess] = []

    async def run(self, on_stop: Callable[[StopSeen], None]) -> None:
        self._on_stop = on_stop
        async with asyncio.TaskGroup() as self._tasks:
            self._add_process()
            await asyncio.get_running_loop().create_future()

    def _add_process(self) -> MediaProcess:
        assert self._tasks is not None
        # The first one shows whether such a process can run here at all.
        process = MediaProcess(self._start, self._on_stop, must_start=not self._processes)
        self._tasks.create_task(process.run())
        self._processes.append(process)
        return process

    def _place_for_robot(self) -> MediaProcess:
        """
        Return the process with the fewest robots, or a new one if all have some.

        A process that is starting, perhaps again and again, is used only if none is ready.
        """
        if not self._processes:
            raise MediaError('the broker is starting')
        ready = [process for process in self._processes if process.is_ready]
        emptiest = min(ready or self._processes, key=lambda process: process.robots)
        is_one_starting = 0 < len(ready) < len(self._processes)
        if emptiest.robots and len(self._processes) < self._most and not is_one_starting:
            return self._add_process()
        return emptiest

    def _find(self, media_id: str) -> MediaProcess | None:
        return next((it for it in self._processes if media_id in it.heard_s), None)

    def _process_of(self, media_id: str) -> MediaProcess:
        process = self._find(media_id)
        if process is None:
            raise MediaSessionGone('the media session is gone')
        return process

    # --- the interface -------------------------------------------------------------------------

    async def new_session(
        self,
        sdp_offer: str,
        *,
        beside: str | None = None,
        video_codecs: Sequence[VideoCodec] = (),
    ) -> MediaSession:
        process = self._place_for_robot() if beside is None else self._process_of(beside)
        return await process.new_session(sdp_offer, beside, video_codecs)

    async def close_session(self, media_id: str) -> None:
        process = self._find(media_id)
        if process is not None:
            process.close_session(media_id)

    async def pull_video(self, media_id: str, *, publisher: str) -> str:
        process = self._process_of(media_id)
        return str(await process.call('pull_video', media_id=media_id, publisher=publisher))

    async def renegotiate(self, media_id: str, sdp_answer: str) -> tuple[VideoCodec, ...] | None:
        process = self._process_of(media_id)
        taken = await process.call('renegotiate', media_id=media_id, sdp_answer=sdp_answer)
        return as_codecs(taken)

    async def new_data_channels(
        self, media_id: str, requests: Sequence[DataChannelRequest]
    ) -> dict[str, int]:
        process = self._process_of(media_id)
        opened = await process.call('new_data_channels', media_id=media_id, requests=requests)
        return dict(opened)

    async def open_for_viewers(self, media_id: str) -> dict[str, int]:
        return dict(await self._process_of(media_id).call('open_for_viewers', media_id=media_id))

    async def watch_channels(
        self, media_id: str, *, publisher: str, by: Identity, may_stop: bool
    ) -> dict[str, int]:
        process = self._process_of(media_id)
        opened = await process.call(
            'watch_channels', media_id=media_id, publisher=publisher, by=by, may_stop=may_stop
        )
        return dict(opened)

    async def close_data_channels(self, media_id: str, stream_ids: Sequence[int]) -> None:
        process = self._find(media_id)
        if process is not None:
            process.tell('close_data_channels', media_id=media_id, stream_ids=stream_ids)

    def subscriber_ready(self, media_id: str) -> None:
        process = self._find(media_id)
        if process is not None:
            process.tell('subscriber_ready', media_id=media_id)

    async def connected(self, media_id: str) -> None:
        await self._process_of(media_id).connected(media_id)

    def last_heard_s(self, media_id: str) -> float | None:
        process = self._find(media_id)
        return None if process is None else process.heard_s[media_id]

    def arrived(self, media_id: str) -> Arrived | None:
        process = self._find(media_id)
        # A new session may not have been reported yet.
        found = None if process is None else process.arrived.get(media_id)
        return None if found is None else Arrived(**found)

    async def close(self) -> None:
        async with asyncio.TaskGroup() as closing:
            for process in self._processes:
                closing.create_task(process.close())
