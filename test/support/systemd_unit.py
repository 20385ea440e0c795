"""Parser of our systemd unit files, limited to the syntax that they use."""

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

from dataclasses import dataclass
from pathlib import Path
import re
import signal

from tree import ROOT

FOLDER = ROOT / 'systemd'
BRIDGE = FOLDER / 'teleop-webrtc-bridge@.service'
BROKER = FOLDER / 'teleop-webrtc-broker.service'
#: Values of the specifiers in a system unit.
FOLDERS = {'%S': '/var/lib', '%L': '/var/log'}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One unit, for one instance."""

    settings: dict[str, list[str]]

    def only(self, name: str) -> str:
        """Return the value of a setting that occurs once."""
        (value,) = self.settings[name]
        return value

    @property
    def command(self) -> list[str]:
        """The command line; variables that systemd itself would expand are kept."""
        return [re.sub(r'\$\$', '$', word) for word in _words(self.only('ExecStart'))]

    @property
    def restart_s(self) -> float:
        return float(self.only('RestartSec'))

    @property
    def watchdog_s(self) -> float:
        return float(self.only('WatchdogSec'))

    @property
    def watchdog_signal(self) -> signal.Signals:
        return signal.Signals[self.only('WatchdogSignal')]

    def is_repeated(self, status: int) -> bool:
        """Return whether systemd restarts the unit; ``status`` is subprocess's return code."""
        assert self.only('Restart') == 'on-failure'
        # Signals that count as a clean exit.
        clean = {0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE}
        return status not in clean | {int(self.only('RestartPreventExitStatus'))}


def read_unit(path: Path, instance: str = '') -> Unit:
    settings: dict[str, list[str]] = {}
    text = re.sub(r'\\\n', ' ', path.read_text(encoding='utf-8'))
    for line in text.splitlines():
        if not line or line[0] in '#[':
            continue
        name, _, value = line.partition('=')
        for specifier, meaning in {**FOLDERS, '%i': instance}.items():
            value = value.replace(specifier, meaning)
        assert '%' not in value
        settings.setdefault(name, []).append(value)
    return Unit(settings=settings)


def _words(text: str) -> list[str]:
    """Split at white space outside quotes; a backslash escapes the next character."""
    words: list[str] = []
    for quoted, plain in re.findall(r"'((?:\\.|[^'\\])*)'|(\S+)", text):
        words.append(re.sub(r'\\(.)', r'\1', quoted or plain))
    return words
