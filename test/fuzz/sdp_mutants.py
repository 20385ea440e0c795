"""Real session descriptions, and random mutations of them."""

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

from collections.abc import Callable, Sequence
import random
import re
from typing import Final

from tree import SDP_FILES

__all__ = ['ANSWERS', 'OFFERS', 'mutated', 'text_of']

OFFERS: Final = (
    'offer_page',
    'offer_browser_microphone',
    'offer_browser_data',
    'offer_browser_av1',
    'offer_robot',
    'offer_robot_old',
    'offer_operator',
    'offer_operator_old',
)
ANSWERS: Final = {
    'answer_page': 'offer_page',
    'answer_browser_data': 'offer_browser_data',
    'answer_operator': 'offer_operator',
    'answer_operator_old': 'offer_operator_old',
}
"""Answer to the broker's video offer → the offer with which the peer began."""
MUTATIONS: Final = 4
"""Maximum number of changes in one description."""
TOO_LONG: Final = 8000
ODD: Final = (
    *(
        '\0',
        '\r',
        '\n',
        '\v',
        '\x85',
        '\u2028',
        '\ud800',
        '\N{SNOWMAN}',
        '\N{FULLWIDTH DIGIT TWO}',
    ),
    *('', ' ', ':', '/', '=', ';', '%', '-', 'a' * 300, '9' * 30, '9' * 5000),
)
NUMBERS: Final = (
    *('0', '-1', '1', '2', '15', '16', '35', '72', '127', '128', '255', '256', '4096', '9999'),
    *('65535', '65536', str(2**31), str(2**32 - 1), str(2**32), str(2**64), '1e3', '0x10', '07'),
)
LINES: Final = (
    *('a=setup:active', 'a=setup:passive', 'a=setup:actpass', 'a=setup:holdconn', 'a=setup'),
    *('a=mid', 'a=mid:', 'a=mid:0', 'a=mid:1', 'a=mid:nobody', 'a=mid:' + 'm' * 40),
    *(
        'a=group:BUNDLE',
        'a=group:BUNDLE 9 0',
        'a=group:BUNDLE 0 0',
        'a=group:BUNDLE 1 0',
        'a=group',
    ),
    *(
        'a=fingerprint',
        'a=fingerprint:sha-256',
        'a=fingerprint:sha-1 00:11',
        'a=fingerprint:x y z',
    ),
    *('a=fingerprint:sha-256 00:11', 'a=fingerprint:sha-256 ' + ':'.join(['00'] * 32)),
    *('a=ice-ufrag:', 'a=ice-ufrag:abc', 'a=ice-pwd:short', 'a=ice-lite', 'a=ice-options'),
    *('a=sctp-port:0', 'a=sctp-port:70000', 'a=max-message-size:1', 'a=max-message-size:-1'),
    *('a=sctpmap:5000', 'a=sctpmap:x y', 'a=rtcp:x', 'a=rtcp-mux', 'a=rtcp-fb:96', 'a=rtcp-fb'),
    *(
        'a=sendrecv',
        'a=sendonly',
        'a=recvonly',
        'a=inactive',
        'a=bundle-only',
        'a=simulcast:send x',
    ),
    *('a=rtpmap:96', 'a=rtpmap:96 VP8', 'a=rtpmap:96 VP8/x', 'a=rtpmap:96 H264/90000', 'a=rtpmap'),
    *('a=fmtp:96', 'a=fmtp:96 apt=96', 'a=fmtp:97 apt=97', 'a=fmtp:42 a=b', 'a=fmtp:96 apt=x'),
    *('a=fmtp:99 packetization-mode', 'a=fmtp:99 packetization-mode=9;profile-level-id=zz'),
    *('a=rtpmap:97 rtx/90000', 'a=rid:x send', 'a=msid:', 'a=msid:a', 'a=msid: b', 'a=msid:* '),
    *(
        'a=msid-semantic',
        'a=msid-semantic: WMS *',
        'a=ssrc:1',
        'a=ssrc:1 cname',
        'a=ssrc:x cname:a',
    ),
    *('a=ssrc:99999999999 cname:a', 'a=ssrc-group:FID', 'a=ssrc-group:FID x', 'a=ssrc-group'),
    *('a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid', 'a=extmap:1', 'a=extmap:-1 x', 'a=extmap'),
    *('a=extmap:256 urn:ietf:params:rtp-hdrext:sdes:mid', 'a=extmap:1/x/y urn:a', 'a=extmap:a b'),
    *(
        'a=candidate:1 1 udp 1 127.0.0.1 0 typ host',
        'a=candidate:1 1 udp 1 127.0.0.1 70000 typ host',
    ),
    *(
        'a=candidate:1 2 udp 1 127.0.0.1 9 typ host',
        'a=candidate:1 1 tcp 1 ::1 9 typ host tcptype',
    ),
    *('a=candidate:1 1 udp x 127.0.0.1 9 typ host', 'a=candidate:1 1 udp 1 fe80::1%x 9 typ host'),
    *(
        'a=candidate:1 1 udp 1 127.0.0.1 9 typ prflx',
        'a=candidate',
        'a=candidate:',
        'a=end-of-candidates',
    ),
    *(
        'a=candidate:1 1 udp 1 127.0.0.1 9 typ host rport x',
        'a=candidate:1 1 udp 1 x.local 9 typ host',
    ),
    *(
        'm=audio 0 UDP/TLS/RTP/SAVPF 0',
        'm=video 9 RTP/AVP 96',
        'm=text 9 X 1',
        'm=',
        'm=audio 9 X 72',
    ),
    *(
        'm=application 9 DTLS/SCTP 5000',
        'm=application 9 DTLS/SCTP x',
        'c=IN',
        'c=IN IP4 x y',
        'v=1',
    ),
)


def text_of(name: str) -> str:
    """Return the text of a description as its peer sent it."""
    return (SDP_FILES / f'{name}.sdp').read_bytes().decode()


def mutated(sdp: str, others: Sequence[str], source: random.Random) -> str:
    """
    Return a description with a few random changes.

    :param others: Descriptions whose lines may be inserted.
    """
    lines = sdp.split('\r\n')
    for _ in range(source.randint(1, MUTATIONS)):
        source.choice(_CHANGES)(lines, others, source)
    end = '\r\n' if source.random() < 0.95 else '\n'
    return end.join(lines)


_Change = Callable[[list[str], Sequence[str], random.Random], None]


def _delete(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    if lines:
        del lines[source.randrange(len(lines))]


def _delete_kind(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    """Delete an attribute in all sections, or in all sections after some line."""
    if not lines:
        return
    kind = re.split('[: ]', source.choice(lines))[0]
    first = source.choice((0, source.randrange(len(lines))))
    lines[first:] = [line for line in lines[first:] if not line.startswith(kind)]


def _repeat(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    if lines:
        line = source.choice(lines)
        lines.insert(source.randint(0, len(lines)), line)


def _swap(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    if len(lines) > 1:
        one, other = source.sample(range(len(lines)), 2)
        lines[one], lines[other] = lines[other], lines[one]


def _insert(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    lines.insert(source.randint(0, len(lines)), source.choice(LINES))


def _replace(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    """Replace a line with an odd line of the same kind."""
    line = source.choice(LINES)
    kind = re.split('[: ]', line)[0]
    same = [place for place, present in enumerate(lines) if re.split('[: ]', present)[0] == kind]
    if same:
        lines[source.choice(same)] = line


def _cross(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    """Replace a line with one of the same kind from another description."""
    line = source.choice(source.choice(others).split('\r\n'))
    kind = line.partition(':')[0]
    same = [place for place, present in enumerate(lines) if present.partition(':')[0] == kind]
    if same:
        lines[source.choice(same)] = line


def _number(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    """Replace a number with another one."""
    places = [place for place, line in enumerate(lines) if re.search('[0-9]', line)]
    if not places:
        return
    place = source.choice(places)
    match = source.choice(list(re.finditer('[0-9]+', lines[place])))
    number = source.choice(NUMBERS)
    lines[place] = lines[place][: match.start()] + number + lines[place][match.end() :]


def _token(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    """Replace a word with something odd or with another word of the description."""
    places = [place for place, line in enumerate(lines) if line]
    if not places:
        return
    place = source.choice(places)
    words = re.split('([ :;=/])', lines[place])
    other = re.split('[ :;=/]', lines[source.choice(places)])
    words[source.randrange(len(words))] = source.choice((source.choice(ODD), source.choice(other)))
    lines[place] = ''.join(words)[:TOO_LONG]


def _character(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    places = [place for place, line in enumerate(lines) if line]
    if not places:
        return
    place = source.choice(places)
    line = lines[place]
    at = source.randrange(len(line))
    odd = source.choice((source.choice(ODD), chr(source.randrange(32, 127))))
    lines[place] = line[:at] + odd + line[at + source.randint(0, 1) :]


def _cut(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    if lines and source.random() < 0.3:
        del lines[source.randrange(len(lines)) :]


def _section(lines: list[str], others: Sequence[str], source: random.Random) -> None:
    """Delete, repeat or move a whole section."""
    starts = [place for place, line in enumerate(lines) if line.startswith('m=')]
    if not starts:
        return
    start = source.choice(starts)
    end = min((place for place in starts if place > start), default=len(lines))
    section = lines[start:end]
    match source.randrange(3):
        case 0:
            del lines[start:end]
        case 1:
            lines[end:end] = section
        case _:
            del lines[start:end]
            lines.extend(section)


_CHANGES: Final[tuple[_Change, ...]] = (
    *(_delete, _delete_kind, _repeat, _swap, _insert, _replace, _cross),
    *(_number, _number, _token, _token, _character, _cut, _section),
)
