"""Quality is reported for settled frames, separately for those after a keyframe."""

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

import numpy as np

from benchmark.encode import FRAMES, KEYFRAMES, measure, ours, psnr_figures, SETTLED


def test_frames_after_a_keyframe_are_told_apart() -> None:
    later = max(KEYFRAMES)
    quality = [10.0] * SETTLED + [40.0] * (FRAMES - SETTLED)
    quality[later : later + SETTLED] = [30.0] * SETTLED
    figures = psnr_figures(quality)
    assert figures['psnr_db_without_keyframes'] == 40.0
    assert figures['psnr_db_after_a_keyframe'] == 30.0
    assert figures['worst_psnr_db'] == 30.0
    assert 30.0 < figures['psnr_db'] < 40.0


def test_an_encoder_is_measured() -> None:
    import av

    carpet = np.random.default_rng(2).integers(0, 255, (18, 32), np.uint8).repeat(8, 0)
    pictures = []
    for number in range(FRAMES):
        luma = np.roll(carpet.repeat(8, 1), number, 1)
        planes = np.vstack([luma, np.full((luma.shape[0] // 2, luma.shape[1]), 128, np.uint8)])
        pictures.append(av.VideoFrame.from_ndarray(planes, format='yuv420p'))
    figures = measure(ours(256, 144, 300_000), pictures)
    assert 0.0 < figures['kbit_s'] < 400.0
    assert 20.0 < figures['psnr_db'] < 60.0
    assert 0.5 < figures['ssim'] <= 1.0
    assert figures['cpu_ms_a_frame'] > 0.0
