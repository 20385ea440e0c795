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

from pathlib import Path

import pytest

from teleop_webrtc_bridge.demo.shared_memory import large_shared_memory


@pytest.mark.parametrize(
    ('distribution', 'name'),
    [
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_the_profile_exists_only_inside_and_then_the_environment_is_as_before(
    distribution: str, name: str
) -> None:
    environment = {'ROS_DISTRO': distribution}
    with large_shared_memory(environment, segment_bytes=12345):
        assert set(environment) == {'ROS_DISTRO', name}
        path = Path(environment[name])
        assert '<segment_size>12345</segment_size>' in path.read_text()
    assert environment == {'ROS_DISTRO': distribution}
    assert not path.exists()


@pytest.mark.parametrize('name', ['FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS'])
def test_a_profile_of_the_user_stands(name: str) -> None:
    environment = {name: 'mine'}
    with large_shared_memory(environment):
        assert environment == {name: 'mine'}
