"""
Two robots with the same id, through many take-overs: ``python3 -m benchmark.fleet_twins``.

One is driven until the other one dials in with the same id and supersedes it; then the other one
is driven, and so on. Prints how many commands arrived, and how many arrived at a robot that the
operator had not joined (must be 0).
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

import argparse
import asyncio
from pathlib import Path
import tempfile

from counted_broker import counted_broker
from twins import take_turns, Turn

import benchmark  # noqa: F401 - finds test/support


async def measure(takeovers: int, folder: Path) -> list[Turn]:
    """Return the result of each turn."""
    async with counted_broker(folder) as broker:
        return await take_turns(broker, folder, takeovers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--takeovers', type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        turns = asyncio.run(measure(options.takeovers, Path(folder)))
    print(
        f'{len(turns)} take-overs: {sum(turn.sent for turn in turns)} commands sent, '
        f'{sum(turn.arrived for turn in turns)} arrived, '
        f'{sum(turn.astray for turn in turns)} astray; '
        f'turns in which the robot was driven: {sum(turn.arrived > 0 for turn in turns)}'
    )


if __name__ == '__main__':
    main()
