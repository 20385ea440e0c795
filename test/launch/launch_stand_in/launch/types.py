"""Checks of arguments that the real ``launch`` refuses when an action is created."""

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

from collections.abc import Iterable
from typing import Any

from launch import LaunchDescriptionEntity, Substitution


def texts(value: Any) -> Any:
    """Accept a text: a string, a substitution, or several of these."""
    parts = [value] if isinstance(value, str | Substitution) else list(value)
    for part in parts:
        if not isinstance(part, str | Substitution):
            raise TypeError(f"Failed to normalize given item of type '{type(part)}'")
    return value


def of_type(value: Any, kinds: type | tuple[type, ...], name: str) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(f'{name}: expected {kinds}, got {type(value)}')
    return value


def called(value: Any, name: str) -> Any:
    if not callable(value):
        raise TypeError(f'{name}: expected a callable, got {type(value)}')
    return value


def entities(value: Any) -> Any:
    """
    Accept an event handler: a callable, one or more entities, or nothing.

    The real one takes an empty list for a callable, which fails when the event occurs; here it
    fails at once.
    """
    if callable(value) or value is None or isinstance(value, LaunchDescriptionEntity):
        return value
    found = list(of_type(value, Iterable, 'on_event'))
    if not found:
        raise AttributeError("'OnProcessExit' object has no attribute '__on_event'")
    return [of_type(it, LaunchDescriptionEntity, 'on_event') for it in found]
