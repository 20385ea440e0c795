"""
The filter for commands that are not for the base, by the device in their ``frame_id``; pure.

Consoles send jogs of an arm on the same channel and in the same message as velocities of the
base; only the ``frame_id`` distinguishes them. A command whose ``frame_id`` matches no pattern is
for the base, as old consoles expect.

Names are compared word by word: ``left_arm``, ``Left Arm`` and ``leftArm`` are the words ``left``
and ``arm``. One word that a pattern refuses is enough. Patterns that begin with ``!`` exempt
words, as in ``hand_held``.
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

from collections.abc import Iterable, Mapping, Sequence
import fnmatch
import functools
import re
from typing import Final
import unicodedata

from teleop_webrtc_bridge.core.exceptions import ConfigurationError
from teleop_webrtc_bridge.core.messages import DriveCommand
from teleop_webrtc_bridge.core.texts import shown

__all__ = ['DEFAULT_REFUSED', 'CommandFrames', 'check_frames']

DEFAULT_REFUSED: Final = (
    *('arm*', '*arm', '*arms', '*manipulator*', 'bimanual*'),
    *('!alarm', '!alarms', '!armed', '!armor', '!armored', '!army', '!charm', '!disarm'),
    *('!farm', '!farms', '!swarm', '!swarms', '!warm'),
    *('left*', '*left', 'right*', '*right', '!bright', '!upright'),
    *('!left_stick', '!left_joystick', '!left_thumbstick', '!leftstick', '!leftjoystick'),
    *('!right_stick', '!right_joystick', '!right_thumbstick', '!rightstick', '!rightjoystick'),
    *('*hand', '*hands', 'handleft*', 'handright*', '*wrist*'),
    *('!hand_controller', '!hand_held', '!hand_touch*'),
    *('*gripper*', '*finger*', 'jaw*', '*jaw', 'claw*', '*claw'),
    *('!*fingertouch*', '!finger*_touch*', '!fingerprint*'),
    *('ee*', '*eef', '[lr]ee', '*effector*', 'tool*', 'tcp*', '[lr]tcp', '*flange*'),
    *('!tool_box', '!tool_bar', '!tool_kit', '!toolbar', '!toolbox', '!toolkit'),
)
"""End effectors, arms, hands and their tools; ``!`` exempts words that only look like these."""
ALL: Final = '*'
MAX_PATTERNS: Final = 128
MAX_PATTERN_CHARS: Final = 64
MAX_FRAME_CHARS: Final = 128
"""Length of the beginning of a ``frame_id`` that is compared and shown."""
REMEMBERED: Final = 64
"""Number of names whose result is cached; an operator's devices use a few."""

_HUMP: Final = re.compile('(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[0-9])(?=[a-z])')
_SEPARATORS: Final = re.compile(r'[\W_]+')
_PATTERN_SEPARATORS: Final = re.compile(r'(?:[^\w*?\[\]]|_)+')
_SETS: Final = re.compile(r'(\[[^\]]*\])')
#: Unicode categories of invisible characters: format characters, and marks on others.
_UNSEEN: Final = frozenset({'Cf', 'Me', 'Mn'})


def _words(name: str) -> list[str]:
    """Return the words of a name, normalized: case, separators, compatibility characters."""
    plain = unicodedata.normalize('NFKC', name[:MAX_FRAME_CHARS])[:MAX_FRAME_CHARS]
    if not plain.isascii():
        plain = ''.join(c for c in plain if unicodedata.category(c) not in _UNSEEN)
    return [word for word in _SEPARATORS.split(_HUMP.sub('_', plain).casefold()) if word]


def _pattern_words(pattern: str) -> list[str]:
    """Return the words of a pattern, normalized like names; sets such as ``[0-9]`` stay."""
    plain = ''.join(
        part if number % 2 else _PATTERN_SEPARATORS.sub('_', _HUMP.sub('_', part))
        for number, part in enumerate(_SETS.split(pattern))
    )
    return [word for word in plain.casefold().split('_') if word]


def check_frames(patterns: list[str]) -> list[str]:
    """
    Check the patterns of the parameter ``command_frames_refused`` and return them.

    :raises ConfigurationError: There are too many, or one is too long, is unprintable, or would
        match everything by mistake.
    """
    allowed = (
        f'up to {MAX_PATTERNS} texts of up to {MAX_PATTERN_CHARS} printable characters with a '
        "letter or digit in each, for example ['left', '*arm', '!alarm']; '*' refuses everything"
    )
    if len(patterns) > MAX_PATTERNS:
        raise ConfigurationError('command_frames_refused', f'{len(patterns)} texts', allowed)
    for pattern in patterns:
        plain = pattern.strip()
        says = plain in ('', ALL) or re.search(r'[^\W_]', plain)
        if len(pattern) > MAX_PATTERN_CHARS or not pattern.isprintable() or not says:
            raise ConfigurationError('command_frames_refused', pattern, allowed)
    return patterns


class CommandFrames:
    """
    Tells which commands are not for the base.

    :param patterns: Shell patterns of refused words, and with ``!`` of exempted words; a pattern
        of several words matches consecutive words. Empty ones are ignored.
    """

    def __init__(self, patterns: Iterable[str] = DEFAULT_REFUSED) -> None:
        plain = [pattern.strip() for pattern in patterns]
        self._refuses_all = ALL in plain
        self._refused = _by_length(pattern for pattern in plain if pattern[:1] != '!')
        self._meant = _by_length(pattern[1:] for pattern in plain if pattern[:1] == '!')
        self._is_refused = functools.lru_cache(maxsize=REMEMBERED)(self._judge)

    def refused(self, command: DriveCommand) -> str | None:
        """Return the name for which a command is refused; ``None``: it is for the base."""
        names = (command.frame_id, command.channel) if command.channel else (command.frame_id,)
        for name in names:
            if self._is_refused(name):
                return shown(name, MAX_FRAME_CHARS).strip()
        return None

    def _judge(self, name: str) -> bool:
        words = _words(name)
        if not words:
            return self._refuses_all
        refused = list(_found(words, self._refused))
        if not refused:
            return False
        meant = {place for places in _found(words, self._meant) for place in places}
        return any(not meant.issuperset(places) for places in refused)


def _by_length(patterns: Iterable[str]) -> dict[int, re.Pattern[str]]:
    """Return one expression for all patterns of each number of words."""
    texts: dict[int, set[str]] = {}
    for pattern in patterns:
        if words := _pattern_words(pattern):
            texts.setdefault(len(words), set()).add('_'.join(words))
    return {
        length: re.compile('|'.join(map(fnmatch.translate, sorted(those))))
        for length, those in texts.items()
    }


def _found(words: Sequence[str], patterns: Mapping[int, re.Pattern[str]]) -> Iterable[range]:
    """Yield the positions of words that a pattern matches; digits at their end are ignored."""
    for length, pattern in patterns.items():
        for begin in range(len(words) - length + 1):
            text = '_'.join(words[begin : begin + length])
            if pattern.match(text) or pattern.match(text.rstrip('0123456789')):
                yield range(begin, begin + length)
