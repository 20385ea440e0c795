"""Every branch of the core and of the registry is taken by their own tests."""

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
    'frame_pacer',
    'ice',
    'messages',
    'rate_limit',
    'sdp',
    'session',
    'telemetry',
    'texts',
    'motion/command_frames',
    'motion/command_gate',
    'motion/freshness',
    'motion/latency_limit',
    'motion/other_devices',
    'motion/step_bound',
    'motion/velocity_limits',
    'video/compressed_header',
    'video/h264',
    'video/h264_syntax',
    'video/pixel_formats',
    'video/serialized_image',
)
#: Pure modules outside the core.
PURE = ('aiortc_support/retransmission',)
#: The registry's own tests, without those that try random orders.
REGISTRY = tuple(
    f'test/broker/{name}.py'
    for name in (
        'registry/test_registry',
        'registry/test_registry_people',
        'registry/test_registry_viewers',
        'registry/test_video_choice',
        'test_split_sessions',
    )
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
    names = [Path('core', name) for name in CORE if name != 'motion/command_gate']
    names += map(Path, PURE)
    files = [f'test/{name.with_name(f"test_{name.name}.py")}' for name in names]
    assert [file for file in files if not (ROOT / file).exists()] == []
    return [*files, 'test/core/motion/gate', *REGISTRY]


@pytest.mark.timeout(900)
def test_every_branch_of_the_core_is_taken_by_its_own_tests(tmp_path: Path) -> None:
    if importlib.util.find_spec('pytest_cov') is None:
        pytest.skip('pytest-cov is not installed, see requirements-dev.txt')
    report = tmp_path / 'coverage.json'
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *core_tests()]
    command += [f'--deselect=test/core/motion/gate/{name}' for name in SLOW]
    command += ['--cov=teleop_webrtc_bridge', '--cov-branch', f'--cov-report=json:{report}']
    # The options of colcon and of scripts/test --coverage are for their own run.
    others = ('PYTEST_ADDOPTS', 'COVERAGE_PROCESS_START')
    environment = {name: value for name, value in os.environ.items() if name not in others}
    found = subprocess.run(
        command,
        cwd=ROOT,
        env=environment | {'COVERAGE_FILE': str(tmp_path / 'coverage')},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    files = json.loads(report.read_text('utf-8'))['files']
    registry = [name for name in files if '/broker/registry/' in name]
    assert registry
    for name in (
        *(f'teleop_webrtc_bridge/core/{name}.py' for name in CORE),
        *(f'teleop_webrtc_bridge/{name}.py' for name in PURE),
        *registry,
        'teleop_webrtc_bridge/broker/split_sessions.py',
    ):
        file = files[name]
        assert (file['missing_lines'], file['missing_branches']) == ([], []), name
