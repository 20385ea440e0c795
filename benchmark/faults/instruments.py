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

"""What network and recorder have in common: they measure, so the load under test is not theirs."""

from __future__ import annotations

import os
from typing import Final

__all__ = ['become_instrument']

PRIORITY: Final = 5
"""Of SCHED_FIFO: below the bridge's own drive thread, above everything else."""


def become_instrument() -> None:
    """Be on time also where every core is busy; threads that are started from now on as well."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
