"""
Which codec a robot is to send, and what those are told who cannot take it.

Whoever drives needs the picture most, so what their browser takes decides: the robot's favourite,
if it is among that. Without an operator who has said what they take, the viewers decide: the
favourite of what any of them takes. What nobody takes changes nothing.

Pure; a part of :mod:`~teleop_webrtc_bridge.broker.registry.registry`, which explains the rules.
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

from collections.abc import Collection

from teleop_webrtc_bridge.broker.registry.sessions import Session
from teleop_webrtc_bridge.core.messages import VideoCodec

__all__ = ['sent_codec', 'video_reason']


def sent_codec(session: Session) -> VideoCodec | None:
    """Return what the robot is to send; ``None``: it has no video."""
    mine = session.identity.video_codecs
    if session.operator is not None and session.operator.video_codecs is not None:
        taken = _first(mine, session.operator.video_codecs)
        if taken is not None:
            return taken
    watched = {codec for viewer in session.viewers for codec in viewer.video_codecs or ()}
    return _first(mine, watched) or next(iter(mine), None)


def video_reason(session: Session, taken: Collection[VideoCodec] | None) -> str | None:
    """
    Say why somebody sees no picture; ``None``: they should see one, or the robot has no video.

    :param taken: What they take; ``None``: that is not known.
    """
    sent = sent_codec(session)
    if sent is None or taken is None or sent in taken:
        return None
    takes = f'this browser takes {_listed(taken)} only' if taken else 'this browser takes neither'
    mine = session.identity.video_codecs
    if not set(taken) & set(mine):
        # An older robot, or its owner's choice.
        return f'No picture: this robot sends {_listed(mine)} only, and {takes}.'
    driver = session.operator
    drives = driver is not None and sent in (driver.video_codecs or ())
    whom = 'whoever drives it' if drives else 'others who watch it'
    return f'No picture: this robot sends {sent} for {whom}, and {takes}.'


def _first(preferred: Collection[VideoCodec], taken: Collection[VideoCodec]) -> VideoCodec | None:
    return next((codec for codec in preferred if codec in taken), None)


def _listed(codecs: Collection[VideoCodec]) -> str:
    return ' and '.join(sorted(map(str, codecs)))
