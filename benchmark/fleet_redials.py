"""
One robot that dials repeatedly: ``python3 -m benchmark.fleet_redials``.

The broker forgets each session after one heartbeat. Prints the resources of the WebRTC process at
every hundredth session, and its memory growth per session; with ``--json FILE``, writes them.
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
import dataclasses
import functools
import json
import os
from pathlib import Path
import tempfile
import time
from typing import Any

from aiohttp import web
from fleet import Resources
from old_broker import KEY, NOBODY, old_broker, OldBroker
from webrtc_half import configuration, webrtc_half

import benchmark  # noqa: F401 - finds test/support

STEPS = 10
STEP_S = 600.0


async def measure(redials: int, folder: Path) -> list[dict[str, Any]]:
    """Return the resources of the process after each tenth of the redials."""
    rows: list[dict[str, Any]] = []
    async with old_broker() as broker:

        async def forget(request: web.Request) -> web.StreamResponse:
            session = broker.sessions[int(request.match_info['session_id'][1:])]
            if len(session.beats_s) == 1:
                return web.json_response(NOBODY)
            return web.json_response({'detail': 'Session not found'}, status=404)

        broker.closes_older = True
        broker.instead['heartbeat'] = forget
        robot = configuration(broker.url, KEY, 'redials')
        async with webrtc_half(robot, folder) as half:
            for step in range(STEPS + 1):
                wanted = max(10, redials * step // STEPS)
                enough = functools.partial(_has, broker, wanted)
                await half.until(enough, f'{wanted} sessions', timeout_s=STEP_S)
                used = dataclasses.asdict(Resources.of(half.process.pid))
                rows.append(
                    {
                        'sessions': len(broker.sessions),
                        **used,
                        'tasks': half.counter('tasks'),
                        'at_s': time.monotonic() - broker.tries_s[0],
                        'load': os.getloadavg()[0],
                    }
                )
                print(rows[-1], flush=True)
    return rows


def _has(broker: OldBroker, sessions: int) -> bool:
    return len(broker.sessions) >= sessions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--redials', type=int, default=1000)
    parser.add_argument('--json', type=Path, help='write the figures here')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(options.redials, Path(folder)))
    # The second half: by then, everything that starts once has started.
    middle, last = rows[len(rows) // 2], rows[-1]
    growth = (last['rss_mb'] - middle['rss_mb']) / (last['sessions'] - middle['sessions'])
    print(f'RSS per redial over the second half: {1e3 * growth:.1f} kB')
    if options.json:
        result = {'rows': rows, 'rss_kb_per_redial': 1e3 * growth}
        options.json.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
