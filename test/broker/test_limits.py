"""The division of open files, and the limit on logged refusals."""

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
import logging
from pathlib import Path
import resource
import subprocess
import sys

import pytest
from rig import running
from tree import ROOT, SUPPORT

from teleop_webrtc_bridge.broker.limits import connections_within, raise_open_files
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

PROGRAM = SUPPORT / 'broker_on_fake_media.py'


@pytest.fixture
def soft_limit() -> Iterator[None]:
    """Restore the soft limit of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def lower(soft: int) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return hard


@pytest.mark.usefixtures('soft_limit')
def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    hard = lower(200)
    raise_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


@pytest.mark.usefixtures('soft_limit')
def test_connections_take_what_is_not_reserved() -> None:
    lower(256)
    assert connections_within(None) == 192
    assert connections_within(50) == 50
    with pytest.raises(ConfigurationError, match='caps.connections: 193 .* at most 192 .*ulimit'):
        connections_within(193)
    lower(1024)
    assert connections_within(None) == 960
    lower(70)
    with pytest.raises(ConfigurationError, match='ulimit -n: 70 .* at least 80'):
        connections_within(None)


@pytest.mark.real_programs
@pytest.mark.parametrize(
    ('open_files', 'settings', 'named'),
    [(70, '', 'ulimit -n'), (256, 'caps: {connections: 5000}', 'caps.connections')],
)
def test_too_few_open_files_are_one_line_and_status_2(
    tmp_path: Path, open_files: int, settings: str, named: str
) -> None:
    (tmp_path / 'a.yaml').write_text(settings)
    ended = subprocess.run(
        [
            *('bash', '-c', f'ulimit -n {open_files}; exec "$@"', 'limited'),
            *(sys.executable, str(PROGRAM), '--state-dir', str(tmp_path / 'state')),
            *('--config', str(tmp_path / 'a.yaml'), '--port', '0'),
        ],
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, '')
    assert ended.stderr.startswith(f'teleop_broker: {named}: ')
    assert ended.stderr.count('\n') == 1


async def test_refusals_do_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(tmp_path) as rig:
        for _ in range(60):
            await rig.get('/nowhere')
    lines = [line for line in caplog.messages if 'event=request ' in line]
    assert 10 <= len(lines) < 20
    assert 'status=404' in lines[0]
