"""Host names of STUN and TURN servers, asked for without holding up anything else."""

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
import ipaddress
import socket
import threading
import time
from typing import Final

__all__ = ['Resolver']

KEEP_S: Final = 60.0
"""Two dials in a row ask once."""
MAX_NAMES: Final = 64
"""The newest; a broker may hand out others with each dial."""

_Answer = list[str] | OSError


class Resolver:
    """
    Asks the system for the addresses of names.

    A name server that does not answer holds up the thread that asks for half a minute. In the
    event loop's executor a few of these would hold up all other names, the broker's too, and the
    end of the program. So each name has a thread of its own, at most one, which nobody waits for.
    """

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, asyncio.Future[_Answer]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """
        Return a host's addresses, the best first; the caller has a time-out.

        :raises OSError: It has none, or the name server has trouble.
        """
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        asked_s, answer = self._asked.get(host, (0.0, None))
        now = time.monotonic()
        if answer is None or (answer.done() and now - asked_s > KEEP_S):
            asked_s = now
            answer = asyncio.get_running_loop().create_future()
            self._asked.pop(host, None)
            self._asked[host] = (now, answer)
            if len(self._asked) > MAX_NAMES:
                # Whoever waits for its answer has it all the same.
                del self._asked[next(iter(self._asked))]
            threading.Thread(target=_ask, args=(host, answer), daemon=True).start()
        found = await asyncio.shield(answer)
        if isinstance(found, OSError):
            if self._asked.get(host) == (asked_s, answer):
                del self._asked[host]
            raise found
        return found


def _ask(host: str, answer: asyncio.Future[_Answer]) -> None:
    found: _Answer
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    except OSError as error:
        found = error
    except UnicodeError:
        found = socket.gaierror(socket.EAI_NONAME, 'not a host name')

    def tell() -> None:
        if not answer.done():
            answer.set_result(found)

    try:
        answer.get_loop().call_soon_threadsafe(tell)
    except RuntimeError:
        return  # the loop has ended: nobody waits any more
