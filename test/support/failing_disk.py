"""Simulated disk that is slow, full or read-only, for one program's files below one folder."""

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

import errno
from pathlib import Path
import shutil
import subprocess

__all__ = ['FailingDisk']

SOURCE = Path(__file__).with_suffix('.c')


class FailingDisk:
    """
    The environment with which to start a program, and control of how its disk fails.

    A preloaded library replaces the system's functions. It needs a C compiler, but neither root
    nor a disk, and SQLite cannot tell the difference.

    :param folder: Folder for the library and its control file.
    :param concerned: Folder whose files are affected.
    """

    def __init__(self, folder: Path, concerned: Path) -> None:
        compiler = self.compiler()
        assert compiler is not None
        library = folder / 'failing_disk.so'
        words = ['-shared', '-fPIC', '-O1', '-o', str(library), str(SOURCE), '-ldl']
        subprocess.run([compiler, *words], check=True)
        self._control = folder / 'failing_disk'
        self.works()
        self.environment = {
            'LD_PRELOAD': str(library),
            'FAILING_DISK_FOLDER': str(concerned),
            'FAILING_DISK_CONTROL': str(self._control),
        }

    @staticmethod
    def compiler() -> str | None:
        """Return the C compiler, if there is one."""
        return shutil.which('cc') or shutil.which('gcc')

    def works(self) -> None:
        self._control.write_text('')

    def is_slow(self, seconds: float) -> None:
        """Make each write take this long; a transaction has several writes."""
        self._control.write_text(f'write {round(1e3 * seconds)}')

    def syncs_slowly(self, seconds: float) -> None:
        """Make each sync to the disk take this long."""
        self._control.write_text(f'sync {round(1e3 * seconds)}')

    def is_full(self) -> None:
        self._control.write_text(f'errno {errno.ENOSPC}')

    def is_read_only(self) -> None:
        self._control.write_text(f'errno {errno.EROFS}')
