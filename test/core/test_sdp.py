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
from tree import SDP_FILES

from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.sdp import (
    check_sdp,
    MAX_CANDIDATE_BYTES,
    MAX_CANDIDATES,
    MAX_SDP_BYTES,
    MAX_SECTIONS,
    offered_by,
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


def test_many_candidates_are_accepted_and_bounded_in_bytes() -> None:
    line = candidate('192.0.2.1')
    many = [line] * (MAX_CANDIDATE_BYTES // (len(line) + 2))
    check_sdp(text(*SESSION, *VIDEO, *many))
    # They do not take the room of the rest.
    start = text(*SESSION, *VIDEO, *many[:100])
    check_sdp(start + 'x' * (MAX_SDP_BYTES - len(text(*SESSION, *VIDEO))))
    with pytest.raises(ProtocolError, match=f'candidates; at most {MAX_CANDIDATE_BYTES}'):
        check_sdp(text(*SESSION, *VIDEO, *many, line))


def test_the_number_of_sections_is_capped() -> None:
    full = [*SESSION, *VIDEO * MAX_SECTIONS]
    check_sdp(text(*full))
    with pytest.raises(ProtocolError, match='9 media sections'):
        check_sdp(text(*full, *VIDEO))


def test_what_would_take_seconds_to_parse_is_refused() -> None:
    codecs = ['a=rtpmap:0 a/1'] * 256
    feedback = ['a=rtcp-fb:* x'] * 1000
    for lines in (codecs, feedback, codecs[:45] + feedback[:150]):
        check_sdp(text(*SESSION, *VIDEO, *lines))
    check_sdp(text(*SESSION, *VIDEO, *codecs, *DATA, *feedback))
    for many in (feedback, ['a=fmtp:0 a=b'] * 1000):
        with pytest.raises(ProtocolError, match='pairs'):
            check_sdp(text(*SESSION, *VIDEO, *codecs, *many))
    with pytest.raises(ProtocolError, match='257 codecs'):
        check_sdp(text(*SESSION, *VIDEO, *codecs, *DATA, codecs[0]))
    with pytest.raises(ProtocolError, match='129 ssrc lines'):
        check_sdp(text(*SESSION, *VIDEO, *['a=ssrc:1 cname:a'] * 129))


def test_the_size_is_capped_in_bytes() -> None:
    start = text(*SESSION, *VIDEO)
    check_sdp(start + 'x' * (MAX_SDP_BYTES - len(start)))
    with pytest.raises(ProtocolError, match=f'at most {MAX_SDP_BYTES}'):
        check_sdp(start + 'x' * (MAX_SDP_BYTES - len(start) + 1))
    with pytest.raises(ProtocolError, match=f'at most {MAX_SDP_BYTES}'):
        check_sdp(start + '\N{SNOWMAN}' * (MAX_SDP_BYTES // 2))


# --- the form of lines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('line', 'allowed'),
    [
        ('a=setup:holdconn', 'active, passive or actpass'),
        ('a=setup', 'active, passive or actpass'),
        ('a=fingerprint:sha-256', 'hex pairs'),
        ('a=fingerprint:sha-256 0G', 'hex pairs'),
        ('a=fingerprint:sha-256 00 11', 'hex pairs'),
        ('a=ice-ufrag:abc', '4 to 256'),
        ('a=ice-ufrag:ab\N{SNOWMAN}d', '4 to 256'),
        ('a=ice-pwd:' + 'a' * 21, '22 to 256'),
        ('a=ice-pwd:' + 'a' * 257, '22 to 256'),
        ('a=mid', '1 to 16'),
        ('a=mid:', '1 to 16'),
        ('a=mid:a b', '1 to 16'),
        ('a=mid:' + 'm' * 17, '1 to 16'),
        ('a=group', 'section names'),
        ('a=candidate:1 1 udp 1 192.0.2.1 65536 typ host', 'port'),
        ('a=candidate:1 1 udp 1 192.0.2.1 -1 typ host', 'port'),
        ('a=candidate:1 1 udp 1 192.0.2.1 9', 'port'),
        ('a=candidate', 'port'),
        ('a=sctp-port:0', '1 to 65535'),
        ('a=sctp-port:65536', '1 to 65535'),
        ('a=max-message-size:-1', 'number of bytes'),
        ('a=extmap:0 urn:a', '1 to 255'),
        ('a=extmap:256 urn:a', '1 to 255'),
        ('a=extmap:-1 urn:a', '1 to 255'),
        ('a=rtpmap:96 VP8', 'rate'),
        ('a=rtpmap:128 VP8/90000', 'rate'),
        ('a=fmtp:96', 'parameters'),
        ('a=rtcp-fb:96', 'feedback'),
        ('a=ssrc:1 cname', 'SSRC'),
        ('a=ssrc:4294967296 cname:a', 'SSRC'),
        ('a=ssrc-group:FID x', 'SSRCs'),
        ('a=msid:', 'stream'),
        ('a=rtcp:x', 'port'),
        ('m=text 9 UDP/TLS/RTP/SAVPF 96', 'audio, video or application'),
        ('m=video 65536 UDP/TLS/RTP/SAVPF 96', 'port'),
        ('m=video x UDP/TLS/RTP/SAVPF 96', 'port'),
        ('m=video 9 UDP/TLS/RTP/SAVPF', 'formats'),
        ('c=IN', 'IN IP4'),
        ('a=sctp-port:\N{FULLWIDTH DIGIT FIVE}', '1 to 65535'),
        ('a=sctp-port:' + '9' * 5000, '1 to 65535'),
    ],
)
def test_a_line_of_another_form_is_named(line: str, allowed: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        check_sdp(text(*SESSION, *VIDEO, line))
    assert f'line 7 of the SDP is {line[:60]!r}'[:-1] in str(refusal.value)
    assert allowed in str(refusal.value)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize('odd', ['\0', '\r', '\v', '\x1c', '\x85', '\u2028', '\ud800', '\x7f'])
def test_an_odd_character_is_named(odd: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        check_sdp(text(*SESSION, *VIDEO, f'a=x:a{odd}b'))
    assert repr(odd) in str(refusal.value)


@pytest.mark.parametrize('name', sorted(path.stem for path in SDP_FILES.iterdir()))
def test_what_real_peers_send_has_the_right_form(name: str) -> None:
    check_sdp((SDP_FILES / f'{name}.sdp').read_bytes().decode())


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
        # What is there, but of no use.
        candidate('192.0.2.1', port=0),
        candidate('192.0.2.1').replace(' udp ', ' tcp '),
        candidate('192.0.2.1').replace('1 1 udp', '1 2 udp'),
    ],
)
def test_a_candidate_without_an_address_that_can_be_used_is_left_out(line: str) -> None:
    kept = [*SESSION, *VIDEO, candidate('192.0.2.1'), *DATA]
    sdp = text(*SESSION, *VIDEO, line, candidate('192.0.2.1'), *DATA, line)
    assert strip_forbidden_candidates(sdp, allow_local=True) == text(*kept)


def test_other_lines_with_a_host_name_are_kept() -> None:
    sdp = text('v=0', 'o=- 1 1 IN IP4 example.local', *VIDEO, 'c=IN IP4 x.local')
    assert strip_forbidden_candidates(sdp, allow_local=True) == sdp


# --- forbidden addresses ---------------------------------------------------------------------

LOCAL = ['127.0.0.1', '127.8.8.8', '169.254.7.7', '::1', 'fe80::1']
LOCAL_INSIDE = ['::ffff:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::']
NEVER = [
    *('169.254.169.254', 'fd00:ec2::254', 'fd20:ce::254', '100.100.100.200', '168.63.129.16'),
    *('::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '2002:a9fe:a9fe::1'),
    *('0.0.0.0', '0.1.2.3', '::', '::ffff:0.0.0.0', '255.255.255.255'),
    *('fd00:ec2::254%1', 'fd20:ce::254%eth0', '::%1', 'fe80::1%eth0', '2001:db8::1%a'),
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


def test_sections_with_different_candidates_share_them() -> None:
    both = [candidate('192.0.2.1'), candidate('192.0.2.2')]
    sdp = text(*SESSION, *VIDEO, both[0], *DATA, both[1])
    assert spread_candidates(sdp) == text(*SESSION, *VIDEO, *both, *DATA, *both)


def test_of_a_host_with_many_addresses_the_surplus_is_left_out() -> None:
    named = [candidate(f'10.98.1.{number}') for number in range(40)]
    spread = spread_candidates(text(*SESSION, *VIDEO, *named, *DATA, *named))
    assert spread == text(
        *SESSION, *VIDEO, *named[:MAX_CANDIDATES], *DATA, *named[:MAX_CANDIDATES]
    )


def test_the_end_of_candidates_is_not_said_twice() -> None:
    first = [*VIDEO, candidate('192.0.2.1'), 'a=end-of-candidates']
    spread = spread_candidates(text(*SESSION, *first, *DATA, 'a=end-of-candidates'))
    assert spread.count('a=end-of-candidates') == 2
    assert spread.count('a=candidate:') == 2


def test_candidates_of_a_later_section_reach_the_others() -> None:
    shared = [candidate('192.0.2.1'), 'a=end-of-candidates']
    sdp = text(*SESSION, *VIDEO, *DATA, *shared, 'm=audio 9 X 0', 'a=mid:2')
    assert spread_candidates(sdp) == text(
        *SESSION, *VIDEO, *shared, *DATA, *shared, 'm=audio 9 X 0', 'a=mid:2', *shared
    )


def test_a_peer_that_names_no_address_is_waited_for() -> None:
    end = 'a=end-of-candidates'
    assert spread_candidates(text(*SESSION, *VIDEO, end, *DATA, end)) == text(
        *SESSION, *VIDEO, *DATA
    )


@pytest.mark.parametrize('sdp', ['', text(*SESSION), text(*SESSION, *VIDEO, *DATA)])
def test_without_sections_or_candidates_there_is_nothing_to_spread(sdp: str) -> None:
    assert spread_candidates(sdp) == sdp


def test_who_may_have_more_candidates_than_are_kept_has_not_named_all() -> None:
    end = 'a=end-of-candidates'
    hidden = text(*SESSION, *VIDEO, candidate('192.0.2.1'), candidate('x.local'), end)
    stripped = strip_forbidden_candidates(hidden, allow_local=False)
    assert stripped == text(*SESSION, *VIDEO, candidate('192.0.2.1'))
    complete = text(*SESSION, *VIDEO, candidate('192.0.2.1'), end)
    assert strip_forbidden_candidates(complete, allow_local=False) == complete


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


# --- what an offer is good for ---------------------------------------------------------------


@pytest.mark.parametrize(
    ('sections', 'video', 'channels'),
    [
        (DATA, False, True),
        ([*VIDEO, 'a=sendonly'], True, False),
        ([*VIDEO, *DATA], True, True),
        ([*VIDEO, 'a=recvonly', *DATA], False, True),
        ([*VIDEO, 'a=inactive', *DATA], False, True),
    ],
)
def test_an_offer_tells_what_it_sends(sections: list[str], video: bool, channels: bool) -> None:
    offered = offered_by(text(*SESSION, *sections))
    assert (offered.video, offered.channels, offered.hosts) == (video, channels, frozenset())


def test_an_offer_tells_the_addresses_by_which_a_machine_is_known() -> None:
    addresses = ('10.0.0.7', '2001:DB8::7', '127.0.0.1', 'fe80::1', 'x.local')
    lines = [candidate(address) for address in addresses]
    reflexive = candidate('198.51.100.7').replace('typ host', 'typ srflx')
    offer = text(*SESSION, *VIDEO, *lines, reflexive, 'a=candidate:1', *DATA, lines[0])
    assert offered_by(offer).hosts == {'10.0.0.7', '2001:db8::7'}
