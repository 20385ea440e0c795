"""config/go2.yaml shows every parameter, with its default, unit and allowed values."""

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

import re

import pytest
from tree import ROOT

yaml = pytest.importorskip('yaml')
pytest.importorskip('rclpy')

from teleop_webrtc_bridge.bridge.ros.parameters.table import PARAMETERS  # noqa: E402

GO2 = ROOT / 'config' / 'go2.yaml'


def test_every_parameter_has_its_default() -> None:
    content = yaml.safe_load(GO2.read_text(encoding='utf-8'))
    assert list(content) == ['/**']
    parameters = content['/**']['ros__parameters']
    assert parameters == {row.name: row.default for row in PARAMETERS}
    for row in PARAMETERS:
        # 1 and 1.0 are equal here, but not to rclpy.
        assert type(parameters[row.name]) is type(row.default)


@pytest.mark.parametrize('row', PARAMETERS, ids=lambda row: row.name)
def test_every_parameter_is_explained(row) -> None:
    lines = GO2.read_text(encoding='utf-8').splitlines()
    (line,) = [number for number, it in enumerate(lines) if it.startswith(f'    {row.name}:')]
    comment = lines[line].partition('#')[2]
    for above in reversed(lines[:line]):
        if not above.strip():
            break
        comment = f'{above} {comment}'
    assert len(comment) > 10
    if row.unit:
        assert f'[{row.unit}]' in comment
    for choice in row.choices:
        assert re.search(rf'\b{choice}\b', comment)
    if row.bounds is not None:
        assert f'{row.bounds[0]} to {row.bounds[1]}' in comment
    if not row.name.startswith('max_'):
        assert ('Read-only' in comment) is not row.dynamic
