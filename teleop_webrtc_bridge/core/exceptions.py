"""
Every exception of this package.

::

    TeleopError
    ├── ConfigurationError    the user's settings cannot work; the program exits with status 2
    ├── ProtocolError         a peer sent bytes that break docs/protocol.md
    ├── PeerConnectionLost    the WebRTC connection failed, closed or was never established
    ├── EncoderUnusable       a video encoder is installed, but its output is unusable
    ├── PictureUndecodable    an image of a camera cannot be decoded
    └── BrokerError           a call to the broker failed
        ├── BrokerUnreachable     no answer: DNS, connection, TLS, timeout
        ├── BrokerRefused         401, 403: the API key is not accepted
        ├── SessionGone           404: the broker does not know the session
        ├── SessionLapsed         the broker may have ended it: no heartbeat arrived for too long
        └── SessionSuperseded     409: another instance of the same robot took over
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

__all__ = [
    'BrokerError',
    'BrokerRefused',
    'BrokerUnreachable',
    'ConfigurationError',
    'EncoderUnusable',
    'PeerConnectionLost',
    'PictureUndecodable',
    'ProtocolError',
    'SessionGone',
    'SessionLapsed',
    'SessionSuperseded',
    'TeleopError',
]


class TeleopError(Exception):
    """Base of the exceptions below; never raised itself."""


class ConfigurationError(TeleopError):
    """
    A setting is missing or out of bounds.

    :param name: The parameter, option or file that is wrong.
    :param value: The value that was given; its ``repr`` is shown.
    :param allowed: The accepted values, in words.
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f'{name}: {value!r} is not usable; allowed: {allowed}')
        self.name = name
        self.value = value
        self.allowed = allowed


class ProtocolError(TeleopError):
    """Bytes from a peer cannot be understood; drop and count them, never crash."""


class PeerConnectionLost(TeleopError):
    """The WebRTC connection failed, was closed, or was never established."""


class EncoderUnusable(TeleopError):
    """
    A video encoder is installed and opens, but its output is unusable.

    :param name: Its name in FFmpeg.
    :param reason: Its fault.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f'{name} {reason}')


class PictureUndecodable(TeleopError):
    """An image cannot be decoded; drop and count it."""


class BrokerError(TeleopError):
    """
    A call to the broker failed.

    :param retry_after_s: The delay that the broker asked for, in seconds; ``None``: none.
    """

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class BrokerUnreachable(BrokerError):
    """The broker did not answer: DNS, connection, TLS, time-out."""


class BrokerRefused(BrokerError):
    """The broker does not accept the API key (401, 403)."""


class SessionGone(BrokerError):
    """The broker no longer knows the session (404): dial again."""


class SessionLapsed(BrokerError):
    """The broker may have ended the session, for lack of heartbeats: dial again."""


class SessionSuperseded(BrokerError):
    """Another instance that uses the same ``robot_id`` took the session over (409)."""
