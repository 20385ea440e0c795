"""ICE: which candidates are tried, which servers, and in which order."""

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

from hypothesis import given
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.ice import (
    choose_addresses,
    choose_candidates,
    HostAddress,
    MAX_CANDIDATES,
    MAX_HOST_ADDRESSES,
    parse_ice_url,
    Relay,
    RelayOrder,
    relays_of,
    stun_servers_of,
)
from teleop_webrtc_bridge.core.messages import IceServer


def line(
    address: str, *, port: int = 5000, kind: str = 'host', priority: int = 1, foundation: int = 1
) -> str:
    return f'a=candidate:{foundation} 1 udp {priority} {address} {port} typ {kind}'


def hosts(count: int, network: str = '10.98.1.') -> list[str]:
    return [line(f'{network}{number}') for number in range(1, count + 1)]


# --- a peer's --------------------------------------------------------------------------------


def test_as_many_as_can_be_tried_are_all_kept() -> None:
    assert choose_candidates(hosts(MAX_CANDIDATES)) == hosts(MAX_CANDIDATES)


def test_the_same_path_counts_once_however_often_it_is_named() -> None:
    named = hosts(12)
    again = [
        other.replace('candidate:1 ', 'candidate:2 ').replace(' udp ', ' UDP ') for other in named
    ]
    assert choose_candidates([*named, *again, *named]) == named


def test_another_port_is_another_path() -> None:
    both = [line('10.98.1.1', port=5000), line('10.98.1.1', port=5001)]
    assert choose_candidates(both) == both


@pytest.mark.parametrize('kind', ['srflx', 'relay'])
def test_what_leads_furthest_is_kept_before_any_host_address(kind: str) -> None:
    far = line('192.0.2.7', kind=kind, priority=0)
    chosen = choose_candidates([*hosts(60), far])
    assert len(chosen) == MAX_CANDIDATES
    assert far in chosen


def test_many_reflexive_ones_leave_room_for_host_addresses() -> None:
    many = [line(f'192.0.2.{n}', kind='srflx', priority=9) for n in range(60)]
    assert line('10.98.1.1', priority=10) in choose_candidates(
        [*many[:40], line('10.98.1.1', priority=10), *many[40:]]
    )


def test_the_peers_own_favourites_are_kept() -> None:
    favourite = line('10.99.0.1', priority=9)
    assert favourite in choose_candidates([*hosts(60), favourite])


def test_what_cannot_be_used_displaces_nothing() -> None:
    useless = [line(f'fe80::{n:x}', priority=9) for n in range(1, 30)]
    useless += [line(f'{n}.local', priority=9) for n in range(30)]
    useless += [line(f'10.0.0.{n}', priority=9).replace('udp', 'tcp') for n in range(30)]
    useful = hosts(20) + hosts(8, '2001:db8::')
    chosen = choose_candidates([*useless, *useful])
    assert set(useful) <= set(chosen)


@pytest.mark.parametrize('rare', ['2001:db8::7', '192.0.2.7'])
def test_neither_ip_family_displaces_the_other(rare: str) -> None:
    many = hosts(60, '2001:db8:1::' if '.' in rare else '10.98.1.')
    assert line(rare, priority=0) in choose_candidates([*many, line(rare, priority=0)])


@given(
    st.lists(
        st.builds(
            line,
            st.sampled_from(
                [f'10.0.0.{n}' for n in range(50)] + [f'fd00::{n}' for n in range(50)]
            ),
            kind=st.sampled_from(['host', 'srflx', 'prflx', 'relay']),
            priority=st.integers(0, 2**31),
            port=st.integers(1, 3),
        )
        | st.text(max_size=30).map(lambda rest: 'a=candidate:' + rest),
        max_size=200,
    )
)
def test_any_candidates_are_bounded_and_none_is_made_up(lines: list[str]) -> None:
    chosen = choose_candidates(lines)
    assert len(chosen) <= MAX_CANDIDATES
    assert set(chosen) <= set(lines)
    assert choose_candidates(chosen) == chosen
    assert bool(chosen) == bool(lines)


# --- one's own --------------------------------------------------------------------------------


def present(*named: str, interface: str = 'eth0') -> list[HostAddress]:
    return [HostAddress(address=address, interface=interface) for address in named]


DOCKER = [
    HostAddress(address=f'172.{17 + number}.0.1', interface=f'br-{number}') for number in range(12)
]


def test_a_few_addresses_are_all_offered() -> None:
    few = present('192.0.2.1', '2001:db8::1', '10.0.0.1')
    assert set(choose_addresses(few)) == {host.address for host in few}


def test_container_networks_do_not_displace_the_real_one() -> None:
    chosen = choose_addresses([*DOCKER, *present('192.0.2.1')])
    assert chosen[0] == '192.0.2.1'
    assert len(chosen) == MAX_HOST_ADDRESSES


def test_a_bridge_over_which_the_peer_is_reached_comes_first() -> None:
    chosen = choose_addresses(
        [*present('192.0.2.1'), *DOCKER], reaching=['172.28.0.1'], default=['192.0.2.1']
    )
    assert chosen[:2] == ['172.28.0.1', '192.0.2.1']


def test_the_address_of_the_default_route_comes_before_other_networks() -> None:
    others = present(*(f'10.0.{n}.1' for n in range(20)))
    vpn = present('10.8.0.2', interface='tun0')
    wifi = present('192.168.1.5', interface='wlan0')
    chosen = choose_addresses([*others, *vpn, *wifi], default=['192.168.1.5'])
    assert chosen[0] == '192.168.1.5'


def test_loopback_comes_first_where_it_is_offered_at_all() -> None:
    chosen = choose_addresses(
        [*DOCKER, *present('127.0.0.1', interface='')], reaching=['172.17.0.1']
    )
    assert chosen[0] == '127.0.0.1'


def test_privacy_addresses_of_ipv6_leave_room_for_ipv4() -> None:
    many = present(*(f'2001:db8::{n:x}' for n in range(1, 20)))
    chosen = choose_addresses([*many, *present('192.0.2.1')], default=['2001:db8::1'])
    assert '192.0.2.1' in chosen
    assert chosen[0] == '2001:db8::1'


def test_what_is_down_or_deprecated_comes_last() -> None:
    down = HostAddress(address='10.9.9.9', interface='eth1', is_up=False)
    old = HostAddress(address='2001:db8::9', interface='eth0', is_preferred=False)
    chosen = choose_addresses([down, old, *present('192.0.2.1', '2001:db8::1')])
    assert chosen == ['192.0.2.1', '2001:db8::1', '2001:db8::9', '10.9.9.9']


def test_an_address_that_two_interfaces_have_counts_once() -> None:
    assert choose_addresses([*present('10.0.0.1'), *present('10.0.0.1', interface='eth1')]) == [
        '10.0.0.1'
    ]


# --- servers ------------------------------------------------------------------------------------


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
