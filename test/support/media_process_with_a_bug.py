"""A media process with a deliberate bug, to be run as a program."""

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

from typing import Any

from teleop_webrtc_bridge.broker.media import process as media_process
from teleop_webrtc_bridge.broker.media.backend import MediaSession
from teleop_webrtc_bridge.broker.media.embedded import EmbeddedMedia


class Wrong(EmbeddedMedia):
    """Fails in an unexpected way."""

    async def new_session(self, sdp_offer: str, **_: Any) -> MediaSession:
        raise AttributeError('ours')


if __name__ == '__main__':
    media_process.main(Wrong)
