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

import importlib.util
from pathlib import Path
import sys
import warnings

STAND_IN = Path(__file__).resolve().parent / 'launch_stand_in'


def _is_ros_launch_missing() -> bool:
    # The name of this folder may be found too, as a package without a file.
    spec = importlib.util.find_spec('launch')
    return spec is None or spec.origin is None or importlib.util.find_spec('launch_ros') is None


if _is_ros_launch_missing():
    sys.path.insert(0, str(STAND_IN))
else:
    with warnings.catch_warnings():
        # Warnings of its dependencies; pytest turns them into errors.
        warnings.simplefilter('ignore')
        import launch_ros.actions  # noqa: F401
