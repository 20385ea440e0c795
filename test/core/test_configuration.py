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

from importlib import metadata

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from teleop_webrtc_bridge.core.configuration import (
    BridgeConfiguration,
    check_aiortc,
    check_broker_url,
    check_name,
    check_robot_id,
    is_loopback_url,
    shown_name,
    VideoConfiguration,
)
from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import VideoCodec

#: A busy machine makes slow examples, not wrong ones.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize('good', ['', '007', 'go2-a', 'Go2 "A" / 7', 'Müller', '犬', 'x' * 64])
def test_a_printable_robot_id_is_taken_as_it_is(good: str) -> None:
    assert check_robot_id(good) == good


@pytest.mark.parametrize(
    'bad', ['x' * 65, 'a\nb', 'a\tb', '\0', 'a\x1b[31m', 'a\u202eb', 'a\u200bb', '\ud800', '\x7f']
)
def test_what_cannot_be_shown_in_one_line_is_refused(bad: str) -> None:
    with pytest.raises(ConfigurationError, match='robot_id: .*64 printable'):
        check_robot_id(bad)
    with pytest.raises(ConfigurationError, match='robot_type: .*up to 64 letters'):
        check_name('robot_type', bad)


@pytest.mark.parametrize('good', ['', 'Go2 A', 'Müller: no. 7', '犬', 'a-b_c', 'x' * 64])
def test_a_name_that_the_broker_takes_is_taken_as_it_is(good: str) -> None:
    assert check_name('robot_name', good) == good


@pytest.mark.parametrize('bad', ['<b>', 'a/b', '"', "'", 'a;b', 'a\\b', '&amp;', '🤖'])
def test_a_name_that_the_broker_would_not_take_is_refused(bad: str) -> None:
    with pytest.raises(ConfigurationError, match='robot_name: .*up to 64 letters'):
        check_name('robot_name', bad)


@pytest.mark.parametrize(
    ('robot_id', 'shown'),
    [('', 'robot'), ('go2-a', 'go2-a'), ('Go2 "A" / 7', 'Go2 -A- - 7'), ('🤖', '-')],
)
def test_an_id_is_shown_as_a_name_that_the_broker_takes(robot_id: str, shown: str) -> None:
    assert shown_name(robot_id) == shown
    assert check_name('robot_name', shown) == shown


@pytest.mark.parametrize(
    ('good', 'taken'),
    [
        ('https://broker.example', 'https://broker.example'),
        ('https://broker.example/', 'https://broker.example'),
        ('https://broker.example:8443/teleop/', 'https://broker.example:8443/teleop'),
        ('https://192.0.2.7', 'https://192.0.2.7'),
        ('https://[2001:db8::7]:8443', 'https://[2001:db8::7]:8443'),
        ('HTTPS://broker.example', 'HTTPS://broker.example'),
        ('http://127.0.0.1:8765', 'http://127.0.0.1:8765'),
        ('http://127.8.8.8', 'http://127.8.8.8'),
        ('http://localhost:8765/', 'http://localhost:8765'),
        ('http://LOCALHOST', 'http://LOCALHOST'),
        ('http://[::1]:8765', 'http://[::1]:8765'),
    ],
)
def test_https_and_loopback_are_taken(good: str, taken: str) -> None:
    assert check_broker_url(good) == taken


@pytest.mark.parametrize(
    'bad',
    [
        '',
        'broker.example',
        '//broker.example',
        'https://',
        'https:///path',
        'https://:8443',
        'http://broker.example',
        'http://192.0.2.7:8765',
        'http://10.0.0.1',
        'http://0.0.0.0:8765',
        'http://[::]:8765',
        'http://[2001:db8::7]',
        'http://localhost.example',
        'http://127.0.0.1.example',
        'http://127.0.0.1@evil.example',
        'https://user@broker.example',
        'https://user:password@broker.example',
        'https://:password@broker.example',
        'https://broker.example?key=1',
        'https://broker.example#token=1',
        'https://broker.example:0',
        'https://broker.example:65536',
        'https://broker.example:x',
        'https://broker.example:-1',
        'https://[::1',
        'https://bro ker.example',
        'https://broker.example/a b',
        'https://broker.example\n',
        'https://broker\n.example',
        ' https://broker.example',
        'https://broker\u0000.example',
        'ftp://127.0.0.1',
        'ws://127.0.0.1',
        'file:///etc/passwd',
        'javascript:alert(1)',
    ],
)
def test_an_address_that_is_neither_https_nor_loopback_is_refused(bad: str) -> None:
    with pytest.raises(ConfigurationError, match='broker_url: .*https://HOST') as refused:
        check_broker_url(bad)
    assert '\n' not in str(refused.value)
    assert 'password' not in str(refused.value)


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f'https://{text}'))
@settings(RELAXED)
def test_any_address_is_taken_or_refused(value: str) -> None:
    try:
        taken = check_broker_url(value)
    except ConfigurationError:
        return
    assert taken.lower().startswith('https://') or is_loopback_url(taken)


def test_an_api_key_is_not_shown() -> None:
    configuration = BridgeConfiguration(
        robot_id='a',
        robot_name='a',
        robot_type='',
        broker_url='https://broker.example',
        instance_id='i',
        api_key='dtk_live_secret',
        clock_ahead_s=0.0,
        video=VideoConfiguration(codec='h264', bitrate_bps=1, fps=1.0, max_width_px=2),
    )
    assert 'secret' not in repr(configuration)


# --- aiortc ----------------------------------------------------------------------------------


def install(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    """Pretend that this version of aiortc is installed."""

    def stated(name: str) -> str:
        assert name == 'aiortc'
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, 'version', stated)


@pytest.mark.parametrize('version', ['1.16', '1.16.0', '1.16.3.post1', '1.17.0', '2.0', '1.100'])
def test_a_new_enough_aiortc_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version)
    check_aiortc()


@pytest.mark.parametrize('version', [None, '1.15.0', '1.9.0', '0.9.28', '1', '1.6'])
def test_an_old_or_missing_aiortc_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    install(monkeypatch, version)
    with pytest.raises(ConfigurationError, match=r'aiortc: .*aiortc >= 1\.16') as refused:
        check_aiortc()
    assert '\n' not in str(refused.value)
    assert (version or 'not installed') in str(refused.value)


def test_the_aiortc_that_is_installed_here_is_accepted() -> None:
    check_aiortc()


@pytest.mark.parametrize(
    ('codec', 'codecs'),
    [('h264', (VideoCodec.H264, VideoCodec.VP8)), ('vp8', (VideoCodec.VP8,))],
)
def test_vp8_stands_in_for_h264_and_nothing_for_vp8(
    codec: str, codecs: tuple[VideoCodec, ...]
) -> None:
    video = VideoConfiguration(codec=codec, bitrate_bps=1, fps=1.0, max_width_px=2)
    assert video.codecs == codecs
