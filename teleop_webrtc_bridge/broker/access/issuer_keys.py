"""The public keys of an OIDC issuer: fetched when they are needed, and kept."""

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
from collections.abc import Callable
import logging
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from teleop_webrtc_bridge.broker.configuration import is_loopback_host
from teleop_webrtc_bridge.core.codec import parse_json_object
from teleop_webrtc_bridge.core.exceptions import ProtocolError

__all__ = ['IssuerKeys']

FETCH_TIMEOUT_S: Final = 5.0
"""For both documents together."""
MAX_DOCUMENT_BYTES: Final = 256 * 1024
FETCH_PAUSE_S: Final = 30.0
"""Whatever callers send, the issuer is not asked more often."""
KEYS_AGE_S: Final = 600.0
"""Older ones are fetched again, so that a key that the issuer has withdrawn goes out of use."""

_log = logging.getLogger(__name__)


class IssuerKeys:
    """
    The key set that an issuer publishes; used by one event loop.

    Nothing is fetched before the first token comes. While the issuer cannot be reached, the keys
    that are there stay in force.

    :param issuer: Its address, exactly as its tokens have it in ``iss``.
    :param clock: Monotonic seconds.
    :param timeout_s: How long one fetch may take.
    """

    def __init__(
        self, issuer: str, clock: Callable[[], float], *, timeout_s: float = FETCH_TIMEOUT_S
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._timeout_s = timeout_s
        self._keys: dict[str, dict[str, Any]] = {}
        self._fetched_at_s = float('-inf')
        self._asked_at_s = float('-inf')
        self._asking = asyncio.Lock()

    def get(self, key_id: str) -> dict[str, Any] | None:
        """Return the key of a name, as a JSON Web Key that nobody has checked yet."""
        return self._keys.get(key_id)

    async def look_for(self, key_id: str) -> None:
        """Ask the issuer, unless the key is there and fresh, or it was asked just now."""
        # One request of many waits for fresher keys, and nobody whose key is there waits for it.
        if key_id in self._keys and (self._are_fresh() or self._asking.locked()):
            return
        async with self._asking:
            if key_id in self._keys and self._are_fresh():
                return
            if self._clock() - self._asked_at_s < FETCH_PAUSE_S:
                return
            self._asked_at_s = self._clock()
            try:
                self._keys = await self._fetch()
            except (aiohttp.ClientError, OSError, ValueError, ProtocolError) as error:
                # A timeout is an OSError, an address that is none a ValueError.
                _log.warning('event=issuer_keys_failed issuer=%s error=%r', self._issuer, error)
            else:
                self._fetched_at_s = self._clock()
                _log.info('event=issuer_keys issuer=%s count=%d', self._issuer, len(self._keys))

    def _are_fresh(self) -> bool:
        return self._clock() - self._fetched_at_s < KEYS_AGE_S

    async def _fetch(self) -> dict[str, dict[str, Any]]:
        # No connection is kept: this happens a few times an hour.
        async with asyncio.timeout(self._timeout_s), _client() as http:
            base = self._issuer.rstrip('/')
            discovery = await _get(http, f'{base}/.well-known/openid-configuration')
            if discovery.get('issuer') != self._issuer:
                raise ProtocolError('the discovery document names another issuer')
            address = discovery.get('jwks_uri')
            if not isinstance(address, str) or not self._may_be_asked(address):
                raise ProtocolError('jwks_uri: no address with https')
            listed = (await _get(http, address)).get('keys')
        if not isinstance(listed, list):
            raise ProtocolError('keys: no list')
        keys: dict[str, dict[str, Any]] = {}
        for key in listed:
            if isinstance(key, dict) and isinstance(key.get('kid'), str):
                keys.setdefault(key['kid'], key)
        return keys

    def _may_be_asked(self, address: str) -> bool:
        """Return whether nobody on the way can change what is answered there."""
        parts = urlsplit(address)
        if parts.scheme == 'https':
            return True
        # Only for an issuer that is on this machine itself.
        own = urlsplit(self._issuer)
        return parts.scheme == own.scheme == 'http' and is_loopback_host(parts.hostname or '')


def _client() -> aiohttp.ClientSession:
    # What is compressed could become large.
    return aiohttp.ClientSession(
        auto_decompress=False,
        headers={'Accept': 'application/json', 'Accept-Encoding': 'identity'},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _get(http: aiohttp.ClientSession, address: str) -> dict[str, Any]:
    async with http.get(address, allow_redirects=False) as response:
        if response.status != 200:
            raise ProtocolError(f'status {response.status}')
        data = bytearray()
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > MAX_DOCUMENT_BYTES:
                raise ProtocolError(f'more than {MAX_DOCUMENT_BYTES} bytes')
    return parse_json_object(bytes(data), max_bytes=MAX_DOCUMENT_BYTES)
