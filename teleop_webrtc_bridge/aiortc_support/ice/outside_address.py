"""How others see a socket of ours: what STUN servers say (RFC 8489)."""

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
from collections.abc import Sequence
import logging
import time
from typing import Final

from aioice import stun
from aioice.ice import StunProtocol

from teleop_webrtc_bridge.aiortc_support.ice.resolver import Resolver
from teleop_webrtc_bridge.core.ice_urls import IceUrl

__all__ = ['OutsideAddress']

ANSWER_S: Final = 2.0
"""Asked again after 0.5 and 1.5 s."""
REST_S: Final = 10.0
"""After all servers were silent nobody waits for them again so soon."""
MAX_SERVERS: Final = 4

_logger = logging.getLogger(__name__)


class OutsideAddress:
    """
    Asks STUN servers from sockets whose ports a NAT may have changed.

    Each socket is asked for by itself, because each has its own port outside. When no server
    answers, the next connections do without for a while.

    :param servers: All are asked at once; the first answer counts.
    :param resolver: For their names.
    """

    def __init__(self, servers: Sequence[IceUrl], resolver: Resolver) -> None:
        self._servers = servers[:MAX_SERVERS]
        self._resolver = resolver
        self._silent_until_s = {False: 0.0, True: 0.0}
        """Of each IP family: IPv6 or not."""
        self._is_silence_told = False

    async def ask(self, protocol: StunProtocol) -> tuple[str, int] | None:
        """Return the address and port that a server sees; ``None``: no server says it."""
        is_ipv6 = ':' in protocol.local_candidate.host
        if not self._servers or time.monotonic() < self._silent_until_s[is_ipv6]:
            return None
        questions = [
            asyncio.create_task(self._ask(server, protocol, is_ipv6=is_ipv6))
            for server in self._servers
        ]
        try:
            async with asyncio.timeout(ANSWER_S):
                for question in asyncio.as_completed(questions):
                    seen = await question
                    if seen is not None:
                        self._is_silence_told &= is_ipv6
                        return seen
        except TimeoutError:
            pass
        finally:
            for task in questions:
                task.cancel()
            await asyncio.gather(*questions, return_exceptions=True)
        self._silent_until_s[is_ipv6] = time.monotonic() + REST_S
        # Many servers have no IPv6 address, and many machines do not need one.
        if not is_ipv6 and not self._is_silence_told:
            self._is_silence_told = True
            servers = ', '.join(map(str, self._servers))
            _logger.warning('event=stun_silent servers="%s" again_in_s=%g', servers, REST_S)
        return None

    async def _ask(
        self, server: IceUrl, protocol: StunProtocol, *, is_ipv6: bool
    ) -> tuple[str, int] | None:
        request = stun.Message(
            message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST
        )
        try:
            addresses = await self._resolver.addresses(server.host)
            fitting = next((it for it in addresses if (':' in it) == is_ipv6), None)
            if fitting is None:
                return None
            answer, _ = await protocol.request(request, (fitting, server.port))
        except (OSError, stun.TransactionError):
            return None
        seen = answer.attributes.get('XOR-MAPPED-ADDRESS')
        return None if seen is None else (str(seen[0]), int(seen[1]))
