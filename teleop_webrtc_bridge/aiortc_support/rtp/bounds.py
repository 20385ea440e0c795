"""
What a sender of video may do to the event loop, bounded.

A sequence number that jumps, a pause of an hour, and time stamps that say nothing make aiortc
count for 10 ms, for a second, and until its reports end in a traceback.

Tested with aiortc 1.16; ``test/aiortc_support/rtp/test_rtp_bounds.py`` tells what broke when
aiortc moves.
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

from typing import Any, Final

from aiortc import rate, RTCCertificate, rtcdtlstransport, rtcrtpreceiver
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket

__all__ = ['bound_rtp', 'refuse_renegotiation']

_HIGHEST_JITTER: Final = 2**32 - 1
_Nacks: Final[Any] = rtcrtpreceiver.NackGenerator
_Statistics: Final[Any] = rtcrtpreceiver.StreamStatistics
_Rate: Final[Any] = rate.RateCounter
_Certificate: Final[Any] = RTCCertificate
_dtls: Final[Any] = rtcdtlstransport
_add: Final = _Nacks.add
_jitter: Final = _Statistics.jitter
_erase_old: Final = _Rate._erase_old
_create_ssl_context: Final = _Certificate._create_ssl_context


def bound_rtp() -> None:
    """Change aiortc for the whole process; calling it again changes nothing."""
    _Nacks.add = _add_near
    _Statistics.jitter = property(_possible_jitter)
    _Rate._erase_old = _erase_all_old


def refuse_renegotiation() -> None:
    """Have no peer ask for another DTLS handshake; calling it again changes nothing."""
    _Certificate._create_ssl_context = _create_final_context


def _add_near(generator: Any, packet: RtpPacket) -> bool:
    """Note a packet; of a jump, only what is kept of it."""
    newest = generator.max_seq
    gap = 0 if newest is None else (packet.sequence_number - newest) & 0xFFFF
    if RTP_HISTORY_SIZE + 1 < gap < 0x8000:
        generator.missing.clear()
        generator.max_seq = (packet.sequence_number - RTP_HISTORY_SIZE - 1) & 0xFFFF
    return bool(_add(generator, packet))


def _possible_jitter(statistics: Any) -> int:
    return min(int(_jitter.fget(statistics)), _HIGHEST_JITTER)


def _erase_all_old(counter: Any, now_ms: int) -> None:
    if now_ms - counter._origin_ms >= 2 * counter._window_size:
        counter.reset()
        counter._origin_ms = now_ms - counter._window_size + 1
    else:
        _erase_old(counter, now_ms)


def _create_final_context(certificate: Any, srtp_profiles: Any) -> Any:
    context = _create_ssl_context(certificate, srtp_profiles)
    context.set_options(_dtls.SSL.OP_NO_RENEGOTIATION)
    return context
