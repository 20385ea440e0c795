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

"""
Which commands mean the base, by the ``frame_id`` that names their device; pure.

Consoles send the jogs of an arm on the same channel and in the same message as velocities of the
base; only the ``frame_id`` tells them apart. What is not known to mean something else means the
base, as old consoles expect.
"""

from __future__ import annotations

from collections.abc import Iterable
import fnmatch
import re
from typing import Final
import unicodedata

from teleop_webrtc_bridge.exceptions import ConfigurationError
from teleop_webrtc_bridge.messages import DriveCommand

__all__ = ['DEFAULT_REFUSED', 'CommandFrames', 'check_frames']

DEFAULT_REFUSED: Final = (
    *('eef*', '*_eef', '*_eef_*', 'ee', 'ee_*', '*_ee', 'end_effector*'),
    *('arm', 'arm[0-9]*', 'arm_*', '*_arm', '*_arm[0-9]*', '*_arm_*', 'xarm*', '*manipulator*'),
    *('left', 'right', 'hand', 'hand_*', '*_hand', '*_hand_*', 'wrist*', '*_wrist*'),
    *('gripper*', '*_gripper*', 'finger*', '*_finger*', 'tool', 'tool[0-9]*', 'tool_*', 'tcp'),
)
"""End effectors, arms, hands and what they hold."""
MAX_PATTERNS: Final = 128
MAX_FRAME_CHARS: Final = 128
"""A longer ``frame_id`` is compared, and shown, by its beginning."""

_HUMP: Final = re.compile(r'(?<=[a-z0-9])(?=[A-Z])')
_SEPARATORS: Final = re.compile(r'[\s\0\-./:_]+')


def _normal(name: str) -> str:
    """Return a name without what is spelled differently by everybody: ``/Left-Arm `` and so on."""
    plain = unicodedata.normalize('NFKC', name[:MAX_FRAME_CHARS])
    words = _SEPARATORS.sub('_', _HUMP.sub('_', plain))
    return words.strip('_').casefold()


def check_frames(patterns: list[str]) -> list[str]:
    """
    Return the patterns of the parameter ``command_frames_refused``.

    :raises ConfigurationError: Too many, too long, or with characters that cannot be printed.
    """
    allowed = (
        f'up to {MAX_PATTERNS} texts of up to {MAX_FRAME_CHARS} printable characters, '
        "for example ['left', '*_arm']"
    )
    if len(patterns) > MAX_PATTERNS:
        raise ConfigurationError('command_frames_refused', f'{len(patterns)} texts', allowed)
    for pattern in patterns:
        if len(pattern) > MAX_FRAME_CHARS or not pattern.isprintable():
            raise ConfigurationError('command_frames_refused', pattern, allowed)
    return patterns


class CommandFrames:
    """
    Tells which commands do not mean the base.

    :param patterns: Shell patterns of what is refused, compared without regard to case, spaces
        and kind of separator; empty ones say nothing.
    """

    def __init__(self, patterns: Iterable[str] = DEFAULT_REFUSED) -> None:
        plain = sorted({normal for pattern in patterns if (normal := _normal_pattern(pattern))})
        self._refused = re.compile('|'.join(map(fnmatch.translate, plain))) if plain else None

    def refused(self, command: DriveCommand) -> str | None:
        """Return the name by which a command means something else; ``None``: it means the base."""
        if self._refused is None:
            return None
        for name in (command.frame_id, command.channel):
            if name and self._refused.match(_normal(name)):
                shown = ''.join(c if c.isprintable() else '?' for c in name[:MAX_FRAME_CHARS])
                return shown.strip()
        return None


def _normal_pattern(pattern: str) -> str:
    """Return a pattern as names are compared with; a set such as ``[0-9]`` stays as it is."""
    parts = re.split(r'(\[[^\]]*\])', pattern.strip())
    return ''.join(
        part if number % 2 else _SEPARATORS.sub('_', _HUMP.sub('_', part)).casefold()
        for number, part in enumerate(parts)
    ).strip('_')
