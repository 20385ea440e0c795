"""
Launcher of Python programs whose CLOCK_BOOTTIME jumps, as after a suspend.

``python3 suspendable.py FILE python3 -m MODULE ARGUMENT...``; the file contains the number of
seconds for which the computer has been suspended, and may change at any time. CLOCK_MONOTONIC and
timers do not jump, as they stand still during a suspend.
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
import runpy
import sys
import time

from tree import ROOT


def run(file: Path, module: str) -> None:
    """Run a module as the main program."""
    real = time.clock_gettime

    def clock_gettime(clock: int) -> float:
        return real(clock) + (float(file.read_text()) if clock == time.CLOCK_BOOTTIME else 0.0)

    time.clock_gettime = clock_gettime
    # The path must not start with this folder, as with python -m.
    sys.path[0] = str(ROOT)
    runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    _, name, _, _, program, *arguments = sys.argv
    sys.argv = [program, *arguments]
    run(Path(name), program)
