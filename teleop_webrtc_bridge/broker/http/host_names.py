"""The host names under which the broker may be reached, checked against DNS rebinding."""

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

from collections.abc import Iterable, Sequence
import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ['HostNames', 'is_ip_literal', 'name_of_host']

HOST: Final = re.compile(r'(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+)(?::\d{1,5})?')
ORIGIN: Final = re.compile(r'https?://[^/?#@\s]+')
DEFAULT_PORTS: Final = {'http': 80, 'https': 443}


class HostNames:
    """
    Distinguishes our own host names from names that others point at our address.

    The owner of a web site can serve a page and then point the site's name at our address: for the
    browser, our answers then belong to that page. Such an attack needs a name, so IP addresses are
    always ours, and so is localhost, which is never looked up in DNS.

    :param listen_host: The ``--host``, which is one of our names.
    :param public_urls: Other URLs at which clients reach the broker.
    """

    def __init__(self, listen_host: str, public_urls: Iterable[str]) -> None:
        urls = tuple(public_urls)
        self._names = {listen_host.lower(), *(_origin(url)[1] for url in urls)}
        self._origins = {_origin(url) for url in urls}

    def serves(self, hosts: Sequence[str]) -> bool:
        """
        Return whether a request is for us.

        :param hosts: All ``Host`` headers of the request.
        """
        if len(hosts) != 1:
            return False
        name = name_of_host(hosts[0])
        if name is None:
            return False
        is_loopback = name == 'localhost' or name.endswith('.localhost')
        return is_loopback or is_ip_literal(name) or name in self._names

    def is_own_origin(self, origin: str) -> bool:
        """Return whether a page of ``public_urls`` sent a request."""
        try:
            return ORIGIN.fullmatch(origin) is not None and _origin(origin) in self._origins
        except ValueError:
            return False


def name_of_host(host: str) -> str | None:
    """
    Return the name or address in a ``Host`` header, in lower case and without its port.

    :returns: ``None`` if it is malformed.
    """
    match = HOST.fullmatch(host)
    if match is None:
        return None
    return match[1].lower().removesuffix('.')


def is_ip_literal(name: str) -> bool:
    """Return whether the result of :func:`name_of_host` is an address rather than a name."""
    is_bracketed = name.startswith('[')
    try:
        version = ipaddress.ip_address(name.strip('[]')).version
    except ValueError:
        return False
    return is_bracketed == (version == 6)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, (parts.hostname or '').removesuffix('.'), port
