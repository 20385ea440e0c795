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

import ipaddress

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.exceptions import ProtocolError
from teleop_webrtc_bridge.sdp import (
    check_sdp,
    MAX_CANDIDATES,
    MAX_SDP_BYTES,
    MAX_SECTIONS,
    spread_candidates,
    strip_forbidden_candidates,
)

#: A busy machine makes slow examples, not wrong ones.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SESSION = ['v=0', 'o=- 1 1 IN IP4 0.0.0.0', 's=-', 't=0 0']
VIDEO = ['m=video 9 UDP/TLS/RTP/SAVPF 96', 'a=mid:0']
DATA = ['m=application 9 UDP/DTLS/SCTP webrtc-datachannel', 'a=mid:1']


def text(*lines: str) -> str:
    return ''.join(f'{line}\r\n' for line in lines)


def candidate(address: str, *, port: int = 5000) -> str:
    return f'a=candidate:1 1 udp 2130706431 {address} {port} typ host'


# --- caps ------------------------------------------------------------------------------------


def test_an_ordinary_description_is_accepted() -> None:
    check_sdp(text(*SESSION, *VIDEO, candidate('192.0.2.1'), *DATA))
    check_sdp('\n'.join([*SESSION, *VIDEO]))


@pytest.mark.parametrize(
    'sdp', ['', '\r\n', 'v=1\r\n', 'hello', '<html>', text(*SESSION), 'm=video\r\nv=0\r\n']
)
def test_what_is_no_description_is_refused(sdp: str) -> None:
    with pytest.raises(ProtocolError):
        check_sdp(sdp)


def test_the_number_of_candidates_is_capped() -> None:
    full = [*SESSION, *VIDEO, *[candidate('192.0.2.1')] * MAX_CANDIDATES]
    check_sdp(text(*full))
    with pytest.raises(ProtocolError, match='33 candidates'):
        check_sdp(text(*full, candidate('192.0.2.1')))


def test_the_number_of_sections_is_capped() -> None:
    full = [*SESSION, *VIDEO * MAX_SECTIONS]
    check_sdp(text(*full))
    with pytest.raises(ProtocolError, match='9 media sections'):
        check_sdp(text(*full, *VIDEO))


def test_what_would_take_seconds_to_parse_is_refused() -> None:
    codecs = ['a=rtpmap:0 a/1'] * 1000
    feedback = ['a=rtcp-fb:* x'] * 1000
    for lines in (codecs, feedback, codecs[:45] + feedback[:150]):
        check_sdp(text(*SESSION, *VIDEO, *lines))
    check_sdp(text(*SESSION, *VIDEO, *codecs, *DATA, *feedback))
    with pytest.raises(ProtocolError, match='pairs'):
        check_sdp(text(*SESSION, *VIDEO, *codecs, *feedback))


def test_the_size_is_capped_in_bytes() -> None:
    start = text(*SESSION, *VIDEO)
    check_sdp(start + 'x' * (MAX_SDP_BYTES - len(start)))
    with pytest.raises(ProtocolError, match=f'at most {MAX_SDP_BYTES}'):
        check_sdp(start + 'x' * (MAX_SDP_BYTES - len(start) + 1))
    with pytest.raises(ProtocolError, match=f'at most {MAX_SDP_BYTES}'):
        check_sdp(start + '\N{SNOWMAN}' * (MAX_SDP_BYTES // 2))


# --- host names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'address',
    ['192.0.2.1', '127.0.0.1', '10.0.0.1', 'fe80::1', '2001:db8::7', '::1', '::ffff:192.0.2.1'],
)
def test_a_candidate_with_an_address_is_kept(address: str) -> None:
    sdp = text(*SESSION, *VIDEO, candidate(address))
    assert strip_forbidden_candidates(sdp, allow_local=True) == sdp


@pytest.mark.parametrize(
    'line',
    [
        candidate('0f14bd5a-4e33-4f26-8a4e-1d4a1e3a6b5c.local'),
        candidate('x.local'),
        candidate('example.com'),
        candidate('localhost'),
        'a=candidate:',
        'a=candidate:1 1 udp',
        'a=candidate:1 1 udp 2130706431',
    ],
)
def test_a_candidate_with_a_host_name_or_none_is_left_out(line: str) -> None:
    kept = [*SESSION, *VIDEO, candidate('192.0.2.1'), *DATA]
    sdp = text(*SESSION, *VIDEO, line, candidate('192.0.2.1'), *DATA, line)
    assert strip_forbidden_candidates(sdp, allow_local=True) == text(*kept)


def test_other_lines_with_a_host_name_are_kept() -> None:
    sdp = text('v=0', 'o=- 1 1 IN IP4 example.local', *VIDEO, 'c=IN IP4 x.local')
    assert strip_forbidden_candidates(sdp, allow_local=True) == sdp


# --- forbidden addresses ---------------------------------------------------------------------

LOCAL = ['127.0.0.1', '127.8.8.8', '169.254.7.7', '::1', 'fe80::1', 'fe80::1%eth0']
LOCAL_INSIDE = ['::ffff:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::']
NEVER = [
    *('169.254.169.254', 'fd00:ec2::254', 'fd20:ce::254', '100.100.100.200', '168.63.129.16'),
    *('::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1'),
    *('0.0.0.0', '0.1.2.3', '::', '::ffff:0.0.0.0', '255.255.255.255'),
    *('fd00:ec2::254%1', 'fd20:ce::254%eth0', '::%1'),
    *('224.0.0.1', '239.255.255.255', 'ff02::1', '::ffff:224.0.0.1'),
]


@pytest.mark.parametrize('address', LOCAL + LOCAL_INSIDE)
def test_local_addresses_are_for_brokers_of_this_machine_only(address: str) -> None:
    sdp = text(*SESSION, *VIDEO, candidate(address))
    assert strip_forbidden_candidates(sdp, allow_local=True) == sdp
    assert strip_forbidden_candidates(sdp, allow_local=False) == text(*SESSION, *VIDEO)


@pytest.mark.parametrize('address', NEVER)
@pytest.mark.parametrize('allow_local', [True, False])
def test_some_addresses_are_never_sent_to(address: str, allow_local: bool) -> None:
    sdp = text(*SESSION, *VIDEO, candidate(address))
    assert strip_forbidden_candidates(sdp, allow_local=allow_local) == text(*SESSION, *VIDEO)


@pytest.mark.parametrize(
    'address', ['127.1', '2130706433', '0x7f000001', '0177.0.0.1', '127.0.0.1.', '[::1]']
)
def test_another_spelling_of_an_address_is_none(address: str) -> None:
    sdp = text(*SESSION, *VIDEO, candidate(address))
    assert strip_forbidden_candidates(sdp, allow_local=True) == text(*SESSION, *VIDEO)


def test_an_empty_foundation_does_not_hide_the_address() -> None:
    line = candidate('127.0.0.1').replace('candidate:1', 'candidate: 1')
    assert 'candidate: 1' in line
    sdp = text(*SESSION, *VIDEO, line)
    assert strip_forbidden_candidates(sdp, allow_local=False) == text(*SESSION, *VIDEO)


@given(st.ip_addresses(), st.booleans())
@settings(RELAXED)
def test_what_is_kept_leads_to_no_forbidden_place(address: object, allow_local: bool) -> None:
    sdp = text(*SESSION, *VIDEO, candidate(str(address)))
    if strip_forbidden_candidates(sdp, allow_local=allow_local) == sdp:
        kept = ipaddress.ip_address(str(address))
        assert not kept.is_multicast
        assert not kept.is_unspecified
        assert allow_local or not kept.is_loopback
        assert allow_local or not kept.is_link_local


# --- spreading -------------------------------------------------------------------------------


def test_later_sections_without_candidates_get_those_of_the_first() -> None:
    shared = [candidate('192.0.2.1'), candidate('2001:db8::7'), 'a=end-of-candidates']
    sdp = text(*SESSION, *VIDEO, *shared, *DATA, 'm=audio 9 X 0', 'a=mid:2')
    assert spread_candidates(sdp) == text(
        *SESSION, *VIDEO, *shared, *DATA, *shared, 'm=audio 9 X 0', 'a=mid:2', *shared
    )


def test_a_section_with_candidates_of_its_own_keeps_them() -> None:
    sdp = text(*SESSION, *VIDEO, candidate('192.0.2.1'), *DATA, candidate('192.0.2.2'))
    assert spread_candidates(sdp) == sdp


def test_the_end_of_candidates_is_not_said_twice() -> None:
    first = [*VIDEO, candidate('192.0.2.1'), 'a=end-of-candidates']
    spread = spread_candidates(text(*SESSION, *first, *DATA, 'a=end-of-candidates'))
    assert spread.count('a=end-of-candidates') == 2
    assert spread.count('a=candidate:') == 2


@pytest.mark.parametrize('sdp', ['', text(*SESSION), text(*SESSION, *VIDEO, *DATA)])
def test_without_sections_or_candidates_there_is_nothing_to_spread(sdp: str) -> None:
    assert spread_candidates(sdp) == sdp


# --- whatever the text -----------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from([*SESSION, *VIDEO, *DATA, candidate('192.0.2.1'), candidate('x.local')])
    | st.text(max_size=30).map(lambda tail: f'a=candidate:{tail}')
    | st.text(max_size=40),
    max_size=30,
)
DESCRIPTIONS = st.builds(
    lambda lines, end: end.join(lines), LINES, st.sampled_from(['\r\n', '\n'])
)


@given(DESCRIPTIONS | st.text(max_size=300))
@settings(RELAXED, max_examples=300)
def test_any_text_is_accepted_or_refused(sdp: str) -> None:
    try:
        check_sdp(sdp)
    except ProtocolError:
        return
    assert sdp.splitlines()[0].strip() == 'v=0'


@given(DESCRIPTIONS)
@settings(RELAXED, max_examples=300)
def test_mending_never_fails_and_is_done_after_one_turn(sdp: str) -> None:
    stripped = strip_forbidden_candidates(sdp, allow_local=True)
    assert strip_forbidden_candidates(stripped, allow_local=True) == stripped
    spread = spread_candidates(stripped)
    assert spread_candidates(spread) == spread
    assert spread.count('m=') == stripped.count('m=')
