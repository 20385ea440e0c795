"""Every branch of the core is taken by the tests of the core alone."""

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

import importlib.util
import json
import os
from pathlib import Path
import subprocess
import sys

import pytest
from tree import ROOT

pytestmark = pytest.mark.real_programs

CORE = (
    'codec',
    'configuration',
    'messages',
    'frame_pacer',
    'rate_limit',
    'sdp',
    'session',
    'telemetry',
    'texts',
    'motion/command_frames',
    'motion/command_gate',
    'motion/freshness',
    'motion/velocity_limits',
    'video/compressed_header',
    'video/pixel_formats',
    'video/serialized_image',
)
#: The gate's tests need not all be repeated: these take long, and no branch for themselves.
SLOW = (
    'test_gate_any_order.py',
    'test_gate_lease.py::test_no_false_stop_in_half_an_hour_at_20_percent_loss',
    'test_gate_freshness.py::test_a_live_stream_is_accepted_at_any_skew_and_drift',
    'test_gate_freshness.py::test_a_drift_of_500_ppm_changes_nothing_within_half_an_hour',
)


def core_tests() -> list[str]:
    """Return the tests of each module, which have its name; those of the gate have a folder."""
    names = [Path(name) for name in CORE if name != 'motion/command_gate']
    files = [f'test/core/{name.with_name(f"test_{name.name}.py")}' for name in names]
    assert [file for file in files if not (ROOT / file).exists()] == []
    return [*files, 'test/core/motion/gate']


@pytest.mark.timeout(900)
def test_every_branch_of_the_core_is_taken_by_its_own_tests(tmp_path: Path) -> None:
    if importlib.util.find_spec('pytest_cov') is None:
        pytest.skip('pytest-cov is not installed, see requirements-dev.txt')
    report = tmp_path / 'coverage.json'
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *core_tests()]
    command += [f'--deselect=test/core/motion/gate/{name}' for name in SLOW]
    command += ['--cov=teleop_webrtc_bridge', '--cov-branch', f'--cov-report=json:{report}']
    found = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {'COVERAGE_FILE': str(tmp_path / 'coverage')},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    files = json.loads(report.read_text('utf-8'))['files']
    for name in CORE:
        file = files[f'teleop_webrtc_bridge/core/{name}.py']
        assert (file['missing_lines'], file['missing_branches']) == ([], []), name
