"""Logging of the broker and its media processes."""

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

import logging

__all__ = ['start_logging']


def start_logging(level: str) -> None:
    """
    Log to standard error from now on.

    :param level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    logging.basicConfig(
        level=level.upper(), format='%(asctime)s %(levelname)s %(name)s: %(message)s'
    )
    # At level info, aioice logs every pair of addresses that it tries.
    logging.getLogger('aioice').setLevel(logging.DEBUG if level == 'debug' else logging.WARNING)
