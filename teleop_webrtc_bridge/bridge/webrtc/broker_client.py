"""The robot's client of the broker's HTTP API (docs/protocol.md §2)."""

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
from collections.abc import Mapping
import ssl
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from teleop_webrtc_bridge.core.codec import (
    decode_heartbeat_answer,
    decode_ice_servers,
    decode_session_answer,
    MAX_HTTP_BODY_BYTES,
    parse_json_object,
)
from teleop_webrtc_bridge.core.configuration import BridgeConfiguration, is_loopback_url
from teleop_webrtc_bridge.core.exceptions import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    ProtocolError,
    SessionGone,
    SessionSuperseded,
)
from teleop_webrtc_bridge.core.messages import HeartbeatAnswer, IceServer, SessionAnswer
from teleop_webrtc_bridge.core.texts import shown

__all__ = ['GOODBYE_S', 'BrokerClient']

CALL_S: Final = 10.0
"""Time limit of a call: the broker gathers candidates before it answers an offer."""
HEARTBEAT_S: Final = 3.0
GOODBYE_S: Final = 2.0
"""Time limit of the goodbye, whatever the broker does."""
MAX_RETRY_AFTER_S: Final = 300.0


class BrokerClient:
    """
    Calls the broker for one robot; an async context manager.

    Redirects are refused: aiohttp would send the API key to the host in the answer.
    """

    def __init__(self, configuration: BridgeConfiguration) -> None:
        self._configuration = configuration
        self._base = f'{configuration.broker_url}/api/v1'
        self._host = urlsplit(configuration.broker_url).netloc
        self._http = aiohttp.ClientSession(
            headers={'X-Robot-API-Key': configuration.api_key},
            timeout=aiohttp.ClientTimeout(total=CALL_S),
            # Not aiohttp's default context, which ignores a later SSL_CERT_FILE.
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context()),
            # A proxy would see the API key over plain http, and cannot reach our loopback.
            trust_env=not is_loopback_url(configuration.broker_url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.close()

    async def ice_servers(self) -> tuple[IceServer, ...] | None:
        """Return the broker's STUN and TURN servers; ``None`` if it names none."""
        try:
            return decode_ice_servers(await self._call('GET', '/sessions/turn-credentials'))
        except BrokerRefused:
            raise
        except (BrokerError, ProtocolError):
            return None

    async def create_session(self, sdp_offer: str) -> SessionAnswer:
        """
        Announce the robot.

        :raises BrokerError: The broker cannot be reached or refuses the robot.
        :raises ProtocolError: The answer is invalid.
        """
        robot = self._configuration
        body = {
            'robot_id': robot.robot_id,
            'robot_name': robot.robot_name,
            'robot_type': robot.robot_type,
            'instance_id': robot.instance_id,
            'video_codecs': [codec.value for codec in robot.video.codecs],
            'sdp_offer': sdp_offer,
        }
        try:
            return decode_session_answer(await self._call('POST', '/sessions', body))
        except SessionGone as error:
            raise SessionGone(f'no broker at this address: {error}') from None

    async def heartbeat(
        self, session_id: str, report: Mapping[str, float], *, wait_s: float
    ) -> HeartbeatAnswer:
        """
        Report that the robot is alive and return the broker's answer.

        :param wait_s: How long the broker may hold the answer while nothing changes, in seconds;
            old brokers answer at once.
        :raises BrokerError: As for any call.
        :raises ProtocolError: The answer is invalid; the last one stays in force.
        """
        body = {**report, 'wait_s': wait_s, 'instance_id': self._configuration.instance_id}
        path = f'/sessions/{session_id}/heartbeat'
        answer = await self._call('POST', path, body, timeout_s=wait_s + HEARTBEAT_S)
        if answer.get('ack') is not True:
            raise ProtocolError(f'{self._host}: not an answer to a heartbeat')
        return decode_heartbeat_answer(answer)

    async def answer_renegotiation(self, session_id: str, sdp_answer: str) -> None:
        """
        Answer the offer that came with a heartbeat.

        :raises BrokerError: As for any call, or the offer is out of date.
        """
        body = {'sdp_answer': sdp_answer}
        try:
            await self._call('POST', f'/sessions/{session_id}/renegotiate-robot', body)
        except SessionSuperseded as error:
            raise BrokerError('the offer is out of date') from error

    async def delete_session(self, session_id: str) -> None:
        """
        Say goodbye; best effort, bounded.

        :raises SessionSuperseded: Another instance has taken the session over.
        """
        try:
            await self._call('DELETE', f'/sessions/{session_id}', timeout_s=GOODBYE_S)
        except SessionSuperseded:
            raise
        except (BrokerError, ProtocolError):
            return  # the broker will notice by itself

    async def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        timeout_s: float = CALL_S,
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout_s):
                async with self._http.request(
                    method, self._base + path, json=body, allow_redirects=False
                ) as response:
                    text = await _read(response)
        except TimeoutError:
            raise BrokerUnreachable(f'{self._host}: no answer within {timeout_s:g} s') from None
        except (aiohttp.ClientError, OSError) as error:
            raise BrokerUnreachable(f'{self._host}: {_cause(error)}') from error
        self._check(response, text)
        return parse_json_object(text, max_bytes=MAX_HTTP_BODY_BYTES) if text else {}

    def _check(self, response: aiohttp.ClientResponse, text: bytes) -> None:
        """Raise an exception unless the status means success."""
        if response.status in (200, 201, 204):
            return
        said = f'{self._host}: HTTP {response.status} {_detail(text)}'.rstrip()
        if response.status in (401, 403):
            raise BrokerRefused(f'API key refused by {said}')
        if response.status == 404:
            raise SessionGone(said)
        if response.status == 409:
            robot_id = self._configuration.robot_id
            raise SessionSuperseded(
                f'robot_id {robot_id!r} is used by another robot or program as well; '
                f'give one of them another robot_id ({said})'
            )
        if 300 <= response.status < 400:
            raise BrokerError(f'{said}: redirects are refused; name the final address')
        raise BrokerError(said, retry_after_s=_retry_after(response))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, whose size is limited."""
    body = await response.content.read(MAX_HTTP_BODY_BYTES + 1)
    while len(body) <= MAX_HTTP_BODY_BYTES:
        more = await response.content.read(MAX_HTTP_BODY_BYTES + 1 - len(body))
        if not more:
            return body
        body += more
    raise BrokerUnreachable(f'an answer of more than {MAX_HTTP_BODY_BYTES} bytes')


def _detail(text: bytes) -> str:
    """Return the broker's own explanation, printable and short."""
    try:
        detail = parse_json_object(text, max_bytes=MAX_HTTP_BODY_BYTES).get('detail', '')
    except ProtocolError:
        return ''
    return shown(str(detail))


def _cause(error: Exception) -> str:
    """Return why a connection failed, without the address, which the caller adds."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f'proxy {error.host}:{error.port} cannot be reached: {error.os_error}'
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f'the proxy refuses: HTTP {error.status} {error.message}'
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f'certificate refused: {error.certificate_error}'
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f'host name not found: {error.os_error.strerror or error.os_error}'
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(error.os_error.strerror or error.os_error)
    return str(error) or type(error).__name__


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds of a ``Retry-After`` header; brokers do not use dates."""
    value = response.headers.get('Retry-After', '')
    return min(float(value), MAX_RETRY_AFTER_S) if value.isdecimal() else None
