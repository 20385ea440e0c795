"""
Sender of noise: ``python3 -m benchmark.faults.flooder ADDRESS PORT ...``.

Sends datagrams of random bytes at a rate that a small machine's network can carry. The receivers
must not be affected.
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

import random
import socket
import sys
import time
from typing import Final

RATE_HZ: Final = 4000.0
BURST: Final = 20
LARGEST_BYTES: Final = 600


def main() -> None:
    address, *ports = sys.argv[1:]
    source = random.Random(1)
    noise = [source.randbytes(source.randrange(1, LARGEST_BYTES)) for _ in range(100)]
    # Data that looks like DTLS, RTP or STUN gets further than data that looks like nothing.
    noise += [bytes([first]) + data for data in noise for first in (0x00, 0x16, 0x17, 0x80)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        due_s = time.monotonic()
        while True:
            for _ in range(BURST):
                sender.sendto(source.choice(noise), (address, int(source.choice(ports))))
            due_s = max(due_s + BURST / RATE_HZ, time.monotonic())
            time.sleep(due_s - time.monotonic())


if __name__ == '__main__':
    main()
