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

"""Keeps the E-STOP latch over restarts: a file that is there while the latch holds."""

from __future__ import annotations

import os
from pathlib import Path
import re

__all__ = ['EstopFile', 'estop_path']


def estop_path(robot_id: str, fully_qualified_name: str) -> Path:
    """
    Return the file of one robot, in ROS's folder for state.

    :param fully_qualified_name: The node's: robots without an id must not share a latch.
    """
    home = Path(os.environ.get('ROS_HOME') or Path.home() / '.ros')
    name = re.sub(r'[^\w.-]', '_', robot_id or fully_qualified_name.strip('/'))
    return home / 'teleop_webrtc_bridge' / f'{name}.estop'


class EstopFile:
    """
    One robot's latch on disk; used from one thread, never from the drive thread.

    :param path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_latched(self) -> bool:
        """Return whether the latch held when the robot was last heard of; unreadable means yes."""
        try:
            self._path.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

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
