"""
The program teleop_bridge with :mod:`benchmark.soak_feeder` in place of its WebRTC half.

``python3 -m benchmark.soak_node FOLDER --ros-args …``
"""

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
import sys

from teleop_webrtc_bridge.bridge.ros.main import main as bridge

FEEDER = """#!/bin/sh
# In place of the interpreter: -m MODULE LINK SLOT WAKE PARENT
shift 2
exec '{python}' -m benchmark.soak_feeder "$@"
"""


def main() -> int:
    folder = Path(sys.argv.pop(1))
    feeder = folder / 'feeder'
    feeder.write_text(FEEDER.format(python=sys.executable), encoding='utf-8')
    feeder.chmod(0o700)
    # The interpreter with which the bridge starts its WebRTC half.
    sys.executable = str(feeder)
    return bridge(sys.argv)


if __name__ == '__main__':
    sys.exit(main())
