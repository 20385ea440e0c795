"""
A long fuzz run of one decoder, coverage-guided if atheris is installed.

From the root of the tree::

    PYTHONPATH=.:test/fuzz python3 -m campaign --decoder command --executions 10000000

Without atheris it uses seeded random mutations of valid messages. An input that breaks a decoder's
promises is kept in ``--artifacts`` and its name is printed; the program then exits with status 1.
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
import contextlib
import dataclasses
import mmap
import os
from pathlib import Path
import random
import sys
import time
import traceback
from types import ModuleType
from typing import Final

try:
    import atheris
except ImportError:
    atheris = None

instrumented = (
    atheris.instrument_imports(include=['teleop_webrtc_bridge'])
    if atheris
    else contextlib.nullcontext()
)
with instrumented:
    from decoders import Decoder, DECODERS

SEED: Final = 1
MUTATIONS: Final = 6
"""Maximum number of changes in one input."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--decoder', choices=sorted(DECODERS), required=True)
    parser.add_argument('--executions', type=int, default=1_000_000)
    parser.add_argument(
        '--max-bytes', type=int, help='limit the size of inputs, which allows more executions'
    )
    parser.add_argument('--artifacts', type=Path, default=Path('build/fuzz'))
    arguments = parser.parse_args()
    arguments.artifacts.mkdir(parents=True, exist_ok=True)
    # Shared with the child process, which may end in any way.
    counter = mmap.mmap(-1, 8)
    decoder = DECODERS[arguments.decoder]
    if arguments.max_bytes is not None:
        decoder = dataclasses.replace(decoder, max_bytes=arguments.max_bytes)
    start_s = time.monotonic()
    child = os.fork()
    if child == 0:
        run = _run_guided if atheris else _run_random
        run(arguments.decoder, decoder, arguments.executions, arguments.artifacts, counter)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(
        f'decoder={arguments.decoder} engine={"atheris" if atheris else "random"}'
        f' executions={int.from_bytes(counter[:], sys.byteorder)}'
        f' seconds={time.monotonic() - start_s:.0f} crashes={int(status != 0)}'
    )
    sys.exit(1 if status else 0)


def _run_guided(
    name: str, decoder: Decoder, executions: int, artifacts: Path, counter: mmap.mmap
) -> None:
    assert isinstance(atheris, ModuleType)
    corpus = artifacts / f'corpus_{name}'
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(decoder.seeds):
        (corpus / f'seed_{number}').write_bytes(seed)
    dictionary = artifacts / f'words_{name}.txt'
    dictionary.write_text(
        ''.join('"' + ''.join(f'\\x{b:02X}' for b in word) + '"\n' for word in decoder.words)
    )
    executed = memoryview(counter).cast('Q')

    def check(data: bytes) -> None:
        executed[0] += 1
        decoder.check(data)

    options = [
        f'-runs={executions}',
        f'-max_len={decoder.max_bytes}',
        f'-dict={dictionary}',
        f'-artifact_prefix={artifacts}/{name}_',
        f'-seed={SEED}',
        '-timeout=10',
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], check)
    atheris.Fuzz()


def _run_random(
    name: str, decoder: Decoder, executions: int, artifacts: Path, counter: mmap.mmap
) -> None:
    source = random.Random(SEED)
    executed = memoryview(counter).cast('Q')
    for _ in range(executions):
        data = mutated(decoder, source)
        executed[0] += 1
        try:
            decoder.check(data)
        except BaseException:  # noqa: BLE001 - any exception is a finding
            traceback.print_exc()
            broken = artifacts / f'{name}_broken'
            broken.write_bytes(data)
            print(f'input: {broken}')
            os._exit(1)


def mutated(decoder: Decoder, source: random.Random) -> bytes:
    """Return a valid message with a few random changes."""
    data = bytearray(source.choice(decoder.seeds))
    for _ in range(source.randint(0, MUTATIONS)):
        position = source.randint(0, len(data))
        match source.randrange(6):
            case 0:
                data[position : position + 1] = source.randbytes(1)
            case 1:
                data[position:position] = source.randbytes(source.randint(1, 8))
            case 2:
                del data[position : position + source.randint(1, 16)]
            case 3 if decoder.words:
                word = source.choice(decoder.words)
                data[position : position + source.choice((0, len(word)))] = word
            case 4:
                end = source.randint(position, len(data))
                data[position:position] = data[position:end] * source.choice((1, 1, 2, 30))
            case _:
                del data[position:]
        del data[decoder.max_bytes :]
    return bytes(data)


def largest(decoder: Decoder) -> list[bytes]:
    """Return inputs of the largest size, each of which repeats one element."""
    size = decoder.max_bytes
    units = [*decoder.seeds, *decoder.words]
    units += [b'[', b'{"a":', b'"a":1,', b'1', b'\\ud800', b'a\n', b'm=a\n', b'\xff', b'\0']
    heads = [b'', b'{"a":', b'{"type":"estop","nonce":"', b'v=0\nm=a\n', *decoder.seeds]
    return [(head + unit * (size // len(unit) + 1))[:size] for head in heads for unit in units]


if __name__ == '__main__':
    main()
