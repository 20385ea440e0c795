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

import pytest

from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.ice_urls import (
    parse_ice_url,
    Relay,
    RelayOrder,
    relays_of,
    stun_servers_of,
)
from teleop_webrtc_bridge.core.messages import IceServer


@pytest.mark.parametrize(
    ('url', 'shown'),
    [
        ('stun:a.example', 'STUN/UDP a.example:3478'),
        ('stun:192.0.2.1:19302', 'STUN/UDP 192.0.2.1:19302'),
        ('stuns:a.example', 'STUN/TLS a.example:5349'),
        ('turn:a.example', 'TURN/UDP a.example:3478'),
        ('turn:a.example:80?transport=udp', 'TURN/UDP a.example:80'),
        ('turn:a.example?transport=tcp', 'TURN/TCP a.example:3478'),
        ('turns:a.example', 'TURN/TLS a.example:5349'),
        ('turns:a.example:443?transport=tcp', 'TURN/TLS a.example:443'),
        ('turn:[2001:db8::1]:3478', 'TURN/UDP [2001:db8::1]:3478'),
    ],
)
def test_a_servers_address_is_read(url: str, shown: str) -> None:
    assert str(parse_ice_url(url)) == shown


@pytest.mark.parametrize(
    ('url', 'allowed'),
    [
        ('http://a.example', 'turn[s]:HOST'),
        ('turn:', 'turn[s]:HOST'),
        ('turn://a.example', 'turn[s]:HOST'),
        ('turn:a.example:', 'turn[s]:HOST'),
        ('turn:u:p@a.example', 'turn[s]:HOST'),
        ('turn:a:b:c', 'turn[s]:HOST'),
        ('turn:a.example?transport=sctp', 'turn[s]:HOST'),
        ('turn:a.example:0', '1 to 65535'),
        ('turn:a.example:65536', '1 to 65535'),
        ('turn:[::g]', 'turn[s]:HOST'),
        ('turn:[1::2::3]', 'no IPv6 address'),
        ('stun:a.example?transport=udp', 'for turn: only'),
        ('turns:a.example?transport=udp', 'turns: over TCP'),
        ('turn:a.example\n', 'turn[s]:HOST'),
    ],
)
def test_what_is_no_servers_address_is_refused(url: str, allowed: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        parse_ice_url(url)
    assert allowed in str(refusal.value)


SERVERS = (
    IceServer(urls=('stun:s', 'stuns:t', 'turn:[')),
    IceServer(urls=('turns:a', 'turn:a?transport=tcp', 'turn:a'), username='u', credential='c'),
    IceServer(urls=('turn:b', 'turn:a'), username='v', credential='d'),
)


def order(given: RelayOrder) -> list[str]:
    return [str(relay.url) for relay in given.sort(relays_of(SERVERS))]


def test_all_urls_of_all_servers_are_relays_with_their_credentials() -> None:
    relays = relays_of(SERVERS)
    assert [str(relay.url) for relay in relays] == [
        'TURN/TLS a:5349',
        'TURN/TCP a:3478',
        'TURN/UDP a:3478',
        'TURN/UDP b:3478',
        'TURN/UDP a:3478',
    ]
    assert relays[0] == Relay(url=relays[0].url, username='u', credential='c')
    assert 'credential' not in repr(relays[0])
    assert [str(url) for url in stun_servers_of(SERVERS)] == ['STUN/UDP s:3478']


def test_udp_is_tried_before_tcp_and_tls_and_each_address_once() -> None:
    assert order(RelayOrder()) == [
        'TURN/UDP a:3478',
        'TURN/UDP b:3478',
        'TURN/TCP a:3478',
        'TURN/TLS a:5349',
    ]


def test_what_worked_last_is_tried_first_and_what_did_not_connect_last() -> None:
    remembered = RelayOrder()
    remembered.worked(parse_ice_url('turns:a'))
    assert order(remembered)[0] == 'TURN/TLS a:5349'
    remembered.failed(parse_ice_url('turn:a'))
    assert order(remembered) == [
        'TURN/TLS a:5349',
        'TURN/UDP b:3478',
        'TURN/TCP a:3478',
        'TURN/UDP a:3478',
    ]
    remembered.failed(parse_ice_url('turns:a'))
    assert order(remembered)[-2:] == ['TURN/UDP a:3478', 'TURN/TLS a:5349']
    remembered.worked(parse_ice_url('turn:a'))
    assert order(remembered)[0] == 'TURN/UDP a:3478'
    assert order(remembered)[-1] == 'TURN/TLS a:5349'


def test_of_many_that_did_not_connect_the_newest_are_remembered() -> None:
    remembered = RelayOrder()
    urls = [f'turn:r{number}' for number in range(65)]
    for url in urls:
        remembered.failed(parse_ice_url(url))
    relays = relays_of([IceServer(urls=tuple(reversed(urls)), username='u', credential='c')])
    order = [relay.url.host for relay in remembered.sort(relays)]
    # The first one is as good as new; the others in the order in which they failed.
    assert order == [f'r{number}' for number in range(65)]
    unknown = relays_of([IceServer(urls=('turn:r1', 'turn:r0'), username='u', credential='c')])
    remembered.failed(parse_ice_url('turn:r65'))
    assert [relay.url.host for relay in remembered.sort(unknown)] == ['r1', 'r0']
