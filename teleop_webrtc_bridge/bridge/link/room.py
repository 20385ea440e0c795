"""How far behind the other half is with reading the link."""

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

import select
import socket

__all__ = ['has_room']


def has_room(link: socket.socket) -> bool:
    """
    Return whether the other half has read most of what was sent.

    The kernel calls an AF_UNIX socket writable while at most a quarter of its buffer is in use
    (``unix_writable``): who sends the routine only then leaves the rest to what is urgent.
    """
    poll = select.poll()
    poll.register(link, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))
