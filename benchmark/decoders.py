"""
The slowest input of the largest size for each decoder: ``python3 -m benchmark.decoders``.

For each decoder of external data: the processor time of the slowest input, the median of three
runs. The inputs are those of test/fuzz, which counts executed lines of Python instead.
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

import statistics
import time
from typing import Final

from campaign import largest
from decoders import Decoder, DECODERS

import benchmark  # noqa: F401 - finds test/fuzz

RUNS: Final = 3


def cpu_ms(decoder: Decoder, data: bytes) -> float:
    """Return the processor time of one input, the median of some runs."""
    taken = []
    for _ in range(RUNS):
        began_s = time.process_time()
        decoder.check(data)
        taken.append(1e3 * (time.process_time() - began_s))
    return statistics.median(taken)


def main() -> None:
    print(f'{"decoder":<20}{"bytes":>8}{"ms":>8}  slowest input')
    for name, decoder in sorted(DECODERS.items()):
        longest_ms, data = max((cpu_ms(decoder, data), data) for data in largest(decoder))
        print(f'{name:<20}{len(data):>8}{longest_ms:>8.2f}  {data[:40]!r}')


if __name__ == '__main__':
    main()
