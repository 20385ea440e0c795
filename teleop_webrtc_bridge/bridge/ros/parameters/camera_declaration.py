"""Declares the parameters of the cameras on the node."""

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

from typing import Any

from rclpy.node import Node

from teleop_webrtc_bridge.bridge.ros.camera.camera import CameraSettings
from teleop_webrtc_bridge.bridge.ros.parameters.camera_rows import (
    camera_rows,
    checked_names,
    INHERITED,
)
from teleop_webrtc_bridge.bridge.ros.parameters.declaration import declare_row
from teleop_webrtc_bridge.bridge.ros.parameters.table import Settings

__all__ = ['declare_cameras']


def declare_cameras(node: Node, settings: Settings) -> tuple[CameraSettings, ...]:
    """
    Declare the parameters of every camera and return the cameras, in their order.

    :raises ConfigurationError: A name or a value cannot be used.
    """
    names = checked_names(settings.cameras)
    common = {name: getattr(settings, name) for name in INHERITED}
    if not names:
        return (_camera('image', {'topic': 'image', **common}, is_named=False),)
    return tuple(
        _camera(
            name, {row.name: declare_row(node, row, name) for row in camera_rows(name, common)}
        )
        for name in names
    )


def _camera(name: str, values: dict[str, Any], *, is_named: bool = True) -> CameraSettings:
    return CameraSettings(
        name=name,
        topic=values['topic'],
        transport=values['image_transport'],
        reliability=values['image_reliability'],
        fps=values['video_fps'],
        max_width_px=values['video_max_width'],
        is_named=is_named,
    )
