"""
The program that runs as a media process; only the broker starts it.

``python3 -m teleop_webrtc_bridge.broker.media.process LINK PARENT LOOPBACK NETWORK LOG_LEVEL``: an
inherited descriptor, the parent's process id, whether to offer 127.0.0.1 to peers (0 or 1), the
network settings, and the log level. It serves an
:class:`~teleop_webrtc_bridge.broker.media.embedded.EmbeddedMedia` over
:mod:`~teleop_webrtc_bridge.broker.media.process_link`.
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
from collections.abc import Callable, Coroutine
from contextlib import suppress
import functools
import gc
import logging
import socket
import sys
from typing import Any, Final

from teleop_webrtc_bridge.broker.log import start_logging
from teleop_webrtc_bridge.broker.media.backend import (
    Media,
    MediaBug,
    MediaError,
    MediaSession,
    MediaSessionGone,
)
from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.broker.media.process_link import (
    as_codecs,
    as_identity,
    as_request,
    error_kind,
    MAX_LINE_BYTES,
    NetworkSettings,
    read_line,
    write_line,
)
from teleop_webrtc_bridge.processes.child_process import live_as_child

__all__ = ['serve']

REPORT_PERIOD_S: Final = 0.25
"""Short compared with the 3 s after which the broker evicts a silent operator."""
GOODBYE_TIMEOUT_S: Final = 0.8
"""How long closing the connections may take."""

_log = logging.getLogger(__name__)

_CALLS: Final[dict[str, Callable[[Media, dict[str, Any]], Coroutine[Any, Any, Any]]]] = {
    'new_session': lambda media, args: media.new_session(
        **{**args, 'video_codecs': as_codecs(args.get('video_codecs')) or ()}
    ),
    'close_session': lambda media, args: media.close_session(**args),
    'pull_video': lambda media, args: media.pull_video(**args),
    'renegotiate': lambda media, args: media.renegotiate(**args),
    'new_data_channels': lambda media, args: media.new_data_channels(
        args['media_id'], [as_request(item) for item in args['requests']]
    ),
    'open_for_viewers': lambda media, args: media.open_for_viewers(**args),
    'watch_channels': lambda media, args: media.watch_channels(
        **{**args, 'by': as_identity(args['by'])}
    ),
    'close_data_channels': lambda media, args: media.close_data_channels(**args),
}


async def serve(media: EmbeddedMedia, link: socket.socket) -> None:
    """Serve the broker's calls until it closes the link."""
    reader, writer = await asyncio.open_unix_connection(sock=link, limit=MAX_LINE_BYTES)
    try:
        async with asyncio.TaskGroup() as tasks:
            working: list[asyncio.Task[None]] = [
                tasks.create_task(media.run(lambda stop: write_line(writer, {'stop': stop}))),
                tasks.create_task(_report(media, writer)),
            ]
            calls: dict[int, asyncio.Task[str | None]] = {}
            while (message := await read_line(reader)) is not None:
                if 'cancel' in message:
                    if (call := calls.get(message['cancel'])) is not None:
                        call.cancel()
                elif message['method'] == 'subscriber_ready':
                    media.subscriber_ready(**message['arguments'])
                else:
                    task = tasks.create_task(_carry_out(media, writer, message))
                    if (number := message.get('call')) is not None:
                        calls[number] = task
                        task.add_done_callback(functools.partial(calls.pop, number))
                    if message['method'] == 'new_session':
                        working.append(tasks.create_task(_tell_connected(media, writer, task)))
                        working = [task for task in working if not task.done()]
            for task in [*working, *calls.values()]:
                task.cancel()
    finally:
        writer.close()


async def _report(media: EmbeddedMedia, writer: asyncio.StreamWriter) -> None:
    """Report when each peer was last heard; the reports are also our sign of life."""
    while True:
        heard = {media_id: media.last_heard_s(media_id) for media_id in media.media_ids}
        # A broker that does not read, because it is suspended or overloaded, misses reports.
        if writer.transport.get_write_buffer_size() < MAX_LINE_BYTES:
            arrived = {it: found for it in heard if (found := media.arrived(it)) is not None}
            write_line(writer, {'heard': heard, 'arrived': arrived})
        await asyncio.sleep(REPORT_PERIOD_S)


async def _carry_out(
    media: EmbeddedMedia, writer: asyncio.StreamWriter, message: dict[str, Any]
) -> str | None:
    """
    Carry out a call of the broker, and send the result if it waits for one.

    :returns: The new media session, if the call has created one.
    """
    result = None
    try:
        result = await _CALLS[message['method']](media, message['arguments'])
        answer = {'result': result}
    except MediaError as error:
        answer = {'error': error_kind(error), 'text': str(error)}
    except Exception as error:  # noqa: BLE001
        # The outermost boundary: one call fails, and all other peers go on.
        _log.exception('event=media_call_failed method=%s', message['method'])
        answer = {'error': MediaBug.__name__, 'text': repr(error)}
    if 'call' in message:
        write_line(writer, {'call': message['call'], **answer})
    return result.media_id if isinstance(result, MediaSession) else None


async def _tell_connected(
    media: EmbeddedMedia, writer: asyncio.StreamWriter, making: asyncio.Task[str | None]
) -> None:
    """Tell the broker when a new session is connected, if it ever is."""
    await asyncio.wait([making])
    media_id = None if making.cancelled() else making.result()
    if media_id is None:
        return
    with suppress(MediaSessionGone):
        await media.connected(media_id)
        write_line(writer, {'connected': media_id})


async def _run(media: EmbeddedMedia, link: socket.socket) -> None:
    # All objects so far are permanent. Scanning them takes the garbage collector 30 ms, during
    # which no command is forwarded.
    gc.collect()
    gc.freeze()
    try:
        await serve(media, link)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await media.close()


def main(make_media: Callable[..., EmbeddedMedia] = EmbeddedMedia) -> None:
    link, parent, loopback, network, level = sys.argv[1:]
    live_as_child(int(parent))
    start_logging(level)
    media = make_media(
        include_loopback=loopback == '1', network=NetworkSettings.from_argument(network)
    )
    asyncio.run(_run(media, socket.socket(fileno=int(link))))


if __name__ == '__main__':
    main()
