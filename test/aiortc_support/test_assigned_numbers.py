"""The video offer keeps the meaning of the numbers of the first offer."""

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

from collections.abc import Iterator

from aiortc.sdp import SessionDescription
import pytest
from tree import SDP_FILES

from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia
from teleop_webrtc_bridge.core.sdp import strip_forbidden_candidates

OPERATORS = (
    'offer_browser_data',
    'offer_browser_microphone',
    'offer_operator',
    'offer_operator_old',
    'offer_page',
)
ONE_BYTE_IDS = range(1, 15)


def description(name: str) -> str:
    sdp = (SDP_FILES / f'{name}.sdp').read_text()
    return strip_forbidden_candidates(sdp, allow_local=True)


def extensions(sdp: str) -> Iterator[tuple[int, str]]:
    for media in SessionDescription.parse(sdp).media:
        yield from ((item.id, item.uri) for item in media.rtp.headerExtensions)


def codecs(sdp: str) -> Iterator[tuple[int, str]]:
    for media in SessionDescription.parse(sdp).media:
        for codec in media.rtp.codecs:
            apt = codec.parameters.get('apt', '')
            yield codec.payloadType, f'{codec.mimeType} {codec.clockRate} {apt}'.lower()


def meanings(pairs: Iterator[tuple[int, str]]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for number, meaning in pairs:
        found.setdefault(number, set()).add(meaning)
    return found


@pytest.mark.parametrize('operator', OPERATORS)
async def test_the_video_offer_keeps_the_numbers_of_the_first_offer(operator: str) -> None:
    media = EmbeddedMedia(include_loopback=True)
    try:
        robot = await media.new_session(description('offer_robot'))
        offer = description(operator)
        joined = await media.new_session(offer, beside=robot.media_id)
        video = await media.pull_video(joined.media_id, publisher=robot.media_id)
    finally:
        await media.close()
    for numbers in (extensions, codecs):
        first, all_ = meanings(numbers(offer)), meanings(numbers(offer + video))
        assert {n: all_[n] for n in first} == first
        assert all(len(meaning) == 1 for meaning in meanings(numbers(video)).values())
    ids = {uri: number for number, uri in extensions(offer)}
    for number, uri in extensions(video):
        assert number == ids.get(uri, number)
        assert number in ONE_BYTE_IDS


async def test_an_extension_that_no_number_is_left_for_takes_one_that_is_out_of_use() -> None:
    offer = description('offer_browser_microphone').replace(
        'a=extmap:11 ', 'a=extmap:12 urn:example:12\r\na=extmap:13 urn:example:13\r\na=extmap:11 '
    )
    media = EmbeddedMedia(include_loopback=True)
    try:
        robot = await media.new_session(description('offer_robot'))
        joined = await media.new_session(offer, beside=robot.media_id)
        video = await media.pull_video(joined.media_id, publisher=robot.media_id)
    finally:
        await media.close()
    answered = dict(extensions(joined.sdp_answer))
    assert all(answered.get(number, uri) == uri for number, uri in extensions(video))
    assert all(len(meaning) == 1 for meaning in meanings(extensions(video)).values())
