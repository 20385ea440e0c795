"""The robot's knowledge of its network, from one connection to the next."""

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
from typing import Final
from urllib.parse import urlsplit

from teleop_webrtc_bridge.aiortc_support.gathering import Gathering
from teleop_webrtc_bridge.aiortc_support.ice_servers import OutsideAddress, RelaySearch, Resolver
from teleop_webrtc_bridge.core.exceptions import PeerConnectionLost, ProtocolError
from teleop_webrtc_bridge.core.ice import (
    IceUrl,
    parse_ice_url,
    RelayOrder,
    relays_of,
    stun_servers_of,
)
from teleop_webrtc_bridge.core.messages import IceServer

__all__ = ['RobotNetwork']

BROKER_NAME_S: Final = 1.0
"""Time limit for resolving the broker's name, which is only a hint."""
MOST_TOLD: Final = 100
"""Limit of logged unusable addresses: a broker may name new ones each time."""

_logger = logging.getLogger(__name__)


class RobotNetwork:
    """
    Plans how each connection gathers candidates, and learns from the previous ones.

    :param broker_url: The robot's broker.
    """

    def __init__(self, broker_url: str) -> None:
        self._broker_host = urlsplit(broker_url).hostname or ''
        self._resolver = Resolver()
        self._order = RelayOrder()
        self._stun: list[IceUrl] = []
        self._outside = OutsideAddress((), self._resolver)
        self._told_relays = ''
        self._told_urls: set[str] = set()

    async def plan(self, servers: Sequence[IceServer]) -> Gathering:
        """
        Return how the next connection gathers its candidates.

        :param servers: The broker's STUN and TURN servers.
        """
        self._name_unusable(servers)
        stun = stun_servers_of(servers)
        if stun != self._stun:
            self._stun, self._outside = stun, OutsideAddress(stun, self._resolver)
        relays = self._order.sort(relays_of(servers))
        return Gathering(
            peers=await self._broker_addresses(),
            outside=self._outside,
            relays=RelaySearch(relays, self._resolver) if relays else None,
        )

    def gathered(self, gathering: Gathering) -> None:
        """Log once which relays were tried if no relay gave an address."""
        search = gathering.relays
        text = '' if search is None or search.found is not None else str(search)
        if text and text != self._told_relays:
            _logger.warning('event=no_relay tried="%s"', text)
        self._told_relays = text

    def connected(self, gathering: Gathering) -> None:
        """Try this relay first next time."""
        if gathering.relays is not None and gathering.relays.found is not None:
            self._order.worked(gathering.relays.found.url)

    def failed(self, gathering: Gathering, error: PeerConnectionLost) -> PeerConnectionLost:
        """
        Try this relay last next time.

        :returns: The reason for the failure, including what happened with the relays.
        """
        search = gathering.relays
        if search is None:
            return error
        if search.found is None:
            return PeerConnectionLost(f'{error}; no relay: {search}')
        self._order.failed(search.found.url)
        return PeerConnectionLost(f'{error}, directly or over {search.found.url}')

    async def _broker_addresses(self) -> list[str]:
        try:
            async with asyncio.timeout(BROKER_NAME_S):
                return await self._resolver.addresses(self._broker_host)
        except OSError:  # and TimeoutError, which is one
            return []

    def _name_unusable(self, servers: Sequence[IceServer]) -> None:
        """Log once which addresses cannot be used, and why."""
        for url in (url for server in servers for url in server.urls):
            try:
                parse_ice_url(url)
            except ProtocolError as error:
                # There may be a password before the host.
                shown = '(with a user, not shown)' if '@' in url else url
                if shown not in self._told_urls and len(self._told_urls) < MOST_TOLD:
                    self._told_urls.add(shown)
                    _logger.warning('event=ice_server_ignored url=%r reason="%s"', shown, error)
