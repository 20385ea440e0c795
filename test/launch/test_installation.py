"""What colcon installs, with and without --symlink-install."""

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

from package_setup import entry_points, ROOT
import pytest

pytestmark = pytest.mark.real_programs

PACKAGE = 'teleop_webrtc_bridge'
LOOK_INSIDE = f"""
import importlib.resources, json, sys
import {PACKAGE}
modules = [name for name in ('rclpy', 'aiortc', 'cv_bridge') if name in sys.modules]
page = importlib.resources.files('{PACKAGE}') / 'operator_page'
typed = (importlib.resources.files('{PACKAGE}') / 'py.typed').is_file()
files = [str(path.relative_to(page)) for path in page.rglob('*') if path.is_file()]
found = {{'modules': modules, 'page': files, 'typed': typed}}
print(json.dumps({{'from': {PACKAGE}.__file__, **found}}))
"""


@pytest.fixture(scope='module', params=[(), ('--symlink-install',)], ids=['plain', 'symlink'])
def install(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec('colcon_core') is None:
        pytest.skip('colcon is not installed for this python')
    base = tmp_path_factory.mktemp('colcon')
    build = subprocess.run(
        [
            *(sys.executable, '-m', 'colcon', '--log-base', str(base / 'log'), 'build'),
            *('--base-paths', str(ROOT), '--build-base', str(base / 'build')),
            *('--install-base', str(base / 'install'), *request.param),
        ],
        cwd=base,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout
    return base / 'install'


def test_everything_is_installed(install: Path) -> None:
    share = install / PACKAGE / 'share' / PACKAGE
    for folder in ('config', 'launch'):
        source = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert {path.name for path in (share / folder).iterdir()} == source
    assert (share / 'package.xml').is_file()
    programs = install / PACKAGE / 'lib' / PACKAGE
    assert {path.name for path in programs.iterdir()} == set(entry_points())
    assert all(os.access(path, os.X_OK) for path in programs.iterdir())


def test_the_package_is_importable_with_its_page(install: Path) -> None:
    environment = {name: it for name, it in os.environ.items() if name != 'PYTHONPATH'}
    found = subprocess.run(
        [
            *('bash', '-c', '. "$0/setup.bash" && exec "$1" -c "$2"'),
            *(install, sys.executable, LOOK_INSIDE),
        ],
        cwd=install,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(found.stdout)
    assert Path(answer['from']).is_relative_to(install.parent)
    assert answer['modules'] == []
    assert answer['typed']
    page = ROOT / PACKAGE / 'operator_page'
    source = {str(path.relative_to(page)) for path in page.rglob('*') if path.is_file()}
    assert 'index.html' in source
    assert set(answer['page']) == source
