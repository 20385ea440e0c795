"""Parser of the transition table in a state machine's docstring, for its test."""

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

import re
from types import ModuleType

__all__ = ['drawn_transitions']

ROW = re.compile(r'^    (\w+) +(\w+(?:, \w+)*) +(\w+)$', re.MULTILINE)


def drawn_transitions(module: ModuleType, states: set[str]) -> dict[tuple[str, str], str]:
    """
    Return the transitions of the table: (state, event) → new state.

    :param states: All states, which the table calls ``any``.
    """
    rows = ROW.findall(module.__doc__ or '')
    return {
        (state, event): new_state
        for event, old_states, new_state in rows
        for state in (states if old_states == 'any' else old_states.split(', '))
    }
