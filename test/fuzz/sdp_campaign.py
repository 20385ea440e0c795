"""
A long run of mutated session descriptions on the live path.

From the root of the tree::

    PYTHONPATH=.:test/fuzz nice python3 -m sdp_campaign --mutants 100000

The same seed gives the same mutants. Mutants that break a promise are kept in ``--artifacts``; the
program then exits with status 1.
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
from collections import Counter
import logging
from pathlib import Path
import random
import sys
import time
from typing import Final

from sdp_live import live_path, LivePath, Outcome
from sdp_mutants import ANSWERS, mutated, OFFERS, text_of

__all__ = ['ROBOTS_ANSWER', 'check', 'kinds']

SEED: Final = 1
LOOK_EVERY: Final = 200
"""Number of mutants between two checks for leftovers."""
SLOW_S: Final = 0.5
ROBOTS_ANSWER: Final = 'answer_to_robot'


def kinds() -> tuple[str, ...]:
    """Return the names of the descriptions to mutate."""
    return (*OFFERS, *ANSWERS, ROBOTS_ANSWER)


async def check(path: LivePath, kind: str, sdp: str) -> Outcome:
    """Send one description down the live path."""
    if kind in OFFERS:
        return await path.offer(sdp)
    if kind == ROBOTS_ANSWER:
        return await path.answer_of_a_broker(sdp)
    return await path.answer(kind, sdp)


async def run(mutants: int, seed: int, artifacts: Path) -> int:
    """Run the campaign and return how many mutants broke a promise."""
    source = random.Random(seed)
    others = [text_of(kind) for kind in kinds()]
    outcomes: Counter[str] = Counter()
    broken, slowest_s, began_s = 0, 0.0, time.monotonic()
    recent: list[tuple[str, str]] = []
    async with live_path() as path:
        for number in range(1, mutants + 1):
            kind = source.choice(kinds())
            sdp = mutated(text_of(kind), others, source)
            recent = [*recent[-LOOK_EVERY + 1 :], (kind, sdp)]
            started_s = time.process_time()
            try:
                outcome = await check(path, kind, sdp)
            except Exception as error:
                logging.exception('mutant %d', number)
                path.problems.append(repr(error))
                outcome = None
            slowest_s = max(slowest_s, time.process_time() - started_s)
            outcomes[f'{kind.split("_")[0]}: {outcome.value if outcome else "broken"}'] += 1
            if number % LOOK_EVERY == 0:
                path.problems += await path.leftovers()
            if path.problems:
                broken += 1
                _keep(artifacts / f'{seed}_{number}', recent, path.problems)
                path.problems.clear()
            if number % 5000 == 0:
                _say(outcomes, number, began_s, slowest_s, broken)
        path.problems += await path.leftovers()
        if path.problems:
            broken += 1
            _keep(artifacts / f'{seed}_end', recent, path.problems)
    _say(outcomes, mutants, began_s, slowest_s, broken)
    return broken


def _keep(stem: Path, recent: list[tuple[str, str]], problems: list[str]) -> None:
    kind, sdp = recent[-1]
    stem.with_suffix('.sdp').write_text(sdp, errors='surrogatepass', newline='')
    stem.with_suffix('.txt').write_text(kind + '\n' + '\n'.join(problems))
    print(f'broken: {stem} ({kind}): {problems[0][:200]}', flush=True)


def _say(
    outcomes: Counter[str], number: int, began_s: float, slowest_s: float, broken: int
) -> None:
    counts = ', '.join(f'{name} {count}' for name, count in sorted(outcomes.items()))
    print(
        f'mutants={number} seconds={time.monotonic() - began_s:.0f} '
        f'slowest_ms={1e3 * slowest_s:.0f} broken={broken} [{counts}]',
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--mutants', type=int, default=100_000)
    parser.add_argument('--seed', type=int, default=SEED)
    parser.add_argument('--artifacts', type=Path, default=Path('build/fuzz'))
    arguments = parser.parse_args()
    arguments.artifacts.mkdir(parents=True, exist_ok=True)
    sys.exit(1 if asyncio.run(run(arguments.mutants, arguments.seed, arguments.artifacts)) else 0)


if __name__ == '__main__':
    main()
