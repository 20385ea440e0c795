"""
Keeps the E-STOP latch over crashes and restarts: a file that is there while the latch holds.

Its being there is the latch. What is in it only explains it: who pressed, and when. A file that is
empty, as older bridges left it, or that cannot be read, is a latch like any other.
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

import json
import os
from pathlib import Path
import re
from typing import Final

from teleop_webrtc_bridge.bridge.ros.estop.record import EstopCause
from teleop_webrtc_bridge.core.codec import decode_origin, parse_json_object
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import Origin, OriginRole

__all__ = ['EstopFile', 'estop_path']

MAX_BYTES: Final = 4096
MAX_NAME_CHARS: Final = 255
"""Of a topic or a service."""
LATEST_S: Final = 2.0**33
"""A time beyond it, of the year 2242, is no time."""
_EXPLAIN: Final = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Names the parameter that keeps a latch whose file does not say who pressed.
_UNKNOWN: Final = EstopCause(by=Origin(sub='estop_persist', role=OriginRole.ROBOT), since_s=None)


def estop_path(robot_id: str, fully_qualified_name: str) -> Path:
    """
    Return the file of one robot, in ROS's folder for state.

    :param fully_qualified_name: The node's: robots without an id must not share a latch.
    """
    # ROS expands it for its logs, too.
    home = Path(os.path.expanduser(os.environ.get('ROS_HOME') or '~/.ros'))
    name = re.sub(r'[^\w.-]', '_', robot_id or fully_qualified_name.strip('/'))
    return home / 'teleop_webrtc_bridge' / f'{name}.estop'


class EstopFile:
    """
    One robot's latch on disk; used from one thread, never from the drive thread.

    :param path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_latched(self, *, if_unreadable: bool = True) -> bool:
        """
        Return whether the latch held when the robot was last heard of.

        :param if_unreadable: Returned where that cannot be known.
        """
        try:
            self._path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return if_unreadable
        return True

    def cause(self) -> EstopCause:
        """Return who set the latch, as far as the file says it."""
        try:
            fields = parse_json_object(self._read(), max_bytes=MAX_BYTES)
        except (OSError, ProtocolError):
            return _UNKNOWN
        by = decode_origin(fields.get('by'), max_chars=MAX_NAME_CHARS)
        return _UNKNOWN if by is None else EstopCause(by=by, since_s=_time(fields.get('since_s')))

    def _read(self) -> bytes:
        # Whatever lies in its place, a pipe too, must not hold up the start.
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(file, MAX_BYTES)
        finally:
            os.close(file)

    def explain(self, cause: EstopCause) -> None:
        """
        Write into the file who set the latch.

        :raises OSError: It cannot be written; the latch is kept all the same.
        """
        text = json.dumps({'by': cause.by.as_fields(), 'since_s': cause.since_s})
        # Never one that is not there: that would be a latch.
        file = os.open(self._path, _EXPLAIN)
        try:
            os.write(file, text.encode())
            os.fsync(file)
        finally:
            os.close(file)

    def write(self, latched: bool) -> None:
        """
        Record the latch, for good.

        :raises OSError: The folder cannot be written to.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Its being there is the whole message, so no half-written file can lie.
        if latched:
            self._path.touch()
        else:
            self._path.unlink(missing_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0.0 <= value <= LATEST_S else None
