"""
The early refusal of a bad configuration, before ROS is loaded, which takes five times as long.

It reads the parameters on the command line as rclpy will read them, and only where their values
are certain: rclpy alone decides about everything unusual, and the node checks all values again.
test/bridge/ros/parameters/test_early_refusal.py compares the two.
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

from collections.abc import Iterator, Sequence
import dataclasses
from dataclasses import dataclass, field
import enum
import os
from pathlib import Path
import re
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from teleop_webrtc_bridge.bridge.ros.parameters.row import Parameter
from teleop_webrtc_bridge.bridge.ros.parameters.table import (
    camera_rows,
    checked_names,
    checked_pair,
    PARAMETERS,
    read_api_key,
    refuse_unknown,
)
from teleop_webrtc_bridge.core.configuration import check_broker_url
from teleop_webrtc_bridge.core.exceptions import ConfigurationError

__all__ = ['UNCERTAIN', 'read_arguments', 'refuse_early']


class _Uncertain(enum.Enum):
    UNCERTAIN = enum.auto()


UNCERTAIN: Final = _Uncertain.UNCERTAIN

_LOADER: Final = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
_NAME: Final = r'[A-Za-z]\w*(?:\.[A-Za-z]\w*)*'
_ASSIGNMENT: Final = re.compile(rf'({_NAME}):=(.*)', re.ASCII | re.DOTALL)
#: Other ROS options that take a value; none of them affects sections for all nodes.
_OTHER_OPTIONS: Final = frozenset({'-r', '--remap', '--log-level'})
#: The section of a file for all nodes; ``-p`` sets parameters there, too.
_ALL_NODES: Final = '/**'
_PARAMETERS: Final = 'ros__parameters'

#: Scalars that rcl and YAML read alike. 1e3 or 1_000, for instance, are text for one of them.
_INTEGER: Final = re.compile(r'-?(?:0[0-7]*|[1-9][0-9]{0,17})')
_FLOAT: Final = re.compile(r'-?[0-9]+\.[0-9]*|-?\.inf|\.nan')
_TEXT: Final = re.compile(r'[A-Za-z/~_].*', re.ASCII)
_NO_TEXT: Final = re.compile(r'[yn]|(?:nan|inf).*', re.IGNORECASE)
_TAG: Final = 'tag:yaml.org,2002:'


class _NotCertain(Exception):
    """Only rclpy can tell what the arguments mean."""


def refuse_early(arguments: Sequence[str]) -> None:
    """
    Refuse a configuration that rclpy or the node would refuse.

    :param arguments: After the program's name.
    :raises ConfigurationError: A parameter or the API key cannot work.
    """
    given = read_arguments(arguments)
    if given is None:
        return
    values = {row.name: _checked(row, given) for row in PARAMETERS}
    url, insecure = values['broker_url'], values['allow_insecure_broker']
    if UNCERTAIN not in (url, insecure):
        check_broker_url(url, allow_insecure=insecure)
    if values['cameras'] is not UNCERTAIN:
        _check_cameras(values, given)
    if values['api_key_file'] is not UNCERTAIN and not _is_special(values['api_key_file']):
        read_api_key(values['api_key_file'])


def _checked(row: Parameter, given: Given) -> Any:
    """
    Return the value of a parameter, or UNCERTAIN.

    :raises ConfigurationError: It is not allowed.
    """
    value = given.value(row.name, row.default)
    if value is UNCERTAIN or row.name not in given.values:
        return value
    if not row.fits(value):
        raise ConfigurationError(row.name, str(value), row.allowed())
    return dataclasses.replace(row, check=None if row.is_check_slow else row.check).checked(value)


def _check_cameras(values: dict[str, Any], given: Given) -> None:
    defaults = {row.name: row.default for row in PARAMETERS}
    common = {
        name: defaults[name] if value is UNCERTAIN else value for name, value in values.items()
    }
    names = checked_names(values['cameras'])
    if values['stereo_cameras'] is not UNCERTAIN:
        checked_pair(values['stereo_cameras'], names)
    for name in names:
        for row in camera_rows(name, common):
            _checked(dataclasses.replace(row, name=f'{name}.{row.name}'), given)
    refuse_unknown(list(given.values), names)


def _is_special(path: str) -> bool:
    """Return whether a file is a pipe, for instance, which can be read only once."""
    path = os.path.expanduser(path)
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


@dataclass(frozen=True, slots=True)
class Given:
    """The given parameters, as far as they are certain."""

    values: dict[str, Any] = field(default_factory=dict)
    """The value of each, of type str, bool, int, float or list, or UNCERTAIN."""
    doubtful: set[str] = field(default_factory=set)
    """Names in sections for particular nodes, which may or may not be this node."""

    def add(self, name: str, value: Any) -> None:
        """Add a value of a parameter; of several values of one type, the last one counts."""
        if name in self.values and _kind(self.values[name]) != _kind(value):
            # rcl keeps a value of each type, and uses one or the other.
            value = UNCERTAIN
        self.values[name] = value

    def value(self, name: str, default: Any) -> Any:
        """Return the value in force, or UNCERTAIN."""
        return UNCERTAIN if name in self.doubtful else self.values.get(name, default)


def read_arguments(arguments: Sequence[str]) -> Given | None:
    """
    Return the parameters that are certain; ``None`` if the arguments are unusual.

    :param arguments: After the program's name.
    :raises ConfigurationError: rclpy would refuse them.
    """
    given = Given()
    try:
        _read(arguments, given)
    except _NotCertain:
        return None
    return given


def _read(arguments: Sequence[str], given: Given) -> None:
    rest = iter(arguments)
    first = next(rest, '--ros-args')
    if first != '--ros-args':
        raise ConfigurationError('argument', first, 'ROS arguments, after --ros-args')
    for option in rest:
        value = next(rest, None)
        if value is None:
            raise _NotCertain
        if option in ('-p', '--param'):
            assignment = _ASSIGNMENT.fullmatch(value)
            if assignment is None:
                raise _NotCertain
            given.add(assignment[1], _value(_composed(assignment[2])))
        elif option == '--params-file':
            _read_file(value, given)
        elif option not in _OTHER_OPTIONS:
            raise _NotCertain


def _read_file(path: str, given: Given) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        # A pipe can be read only once.
        raise _NotCertain
    try:
        text = Path(path).read_text(encoding='utf-8')
    except OSError as error:
        allowed = f'a readable file ({error.strerror})'
        raise ConfigurationError('--params-file', path, allowed) from error
    except ValueError as error:
        raise _NotCertain from error
    for section, content in _items(_composed(text)):
        for name, value in _section(content):
            if section == _ALL_NODES and re.fullmatch(_NAME, name, re.ASCII):
                given.add(name, value)
            else:
                given.doubtful.add(name)


def _section(node: Any) -> Iterator[tuple[str, Any]]:
    """Return the parameters in the section of a node or, recursively, of a namespace."""
    for key, content in _items(node):
        yield from _leaves(content) if key == _PARAMETERS else _section(content)


def _leaves(node: Any, group: str = '') -> Iterator[tuple[str, Any]]:
    for key, content in _items(node):
        if isinstance(content, yaml.MappingNode):
            yield from _leaves(content, f'{group}{key}.')
        else:
            yield f'{group}{key}', _value(content)


def _composed(text: str) -> Any:
    try:
        return yaml.compose(text, Loader=_LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        raise _NotCertain from error


def _items(node: Any) -> list[tuple[str, Any]]:
    if not isinstance(node, yaml.MappingNode):
        raise _NotCertain
    items = [(str(key.value), content) for key, content in node.value]
    if len({key for key, _ in items}) < len(items):
        raise _NotCertain
    return items


def _value(node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        items = [_value(item) for item in node.value]
        kinds = {type(item) for item in items}
        return items if len(kinds) == 1 and kinds <= {str, bool, int, float} else UNCERTAIN
    raise _NotCertain


def _kind(value: Any) -> tuple[type, ...]:
    return (list, type(value[0])) if isinstance(value, list) else (type(value),)


def _scalar(node: yaml.ScalarNode) -> Any:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if kind == 'str' and node.style in ('"', "'"):
        return text
    if node.style:
        return UNCERTAIN
    if kind == 'str' and _TEXT.fullmatch(text) and not _NO_TEXT.fullmatch(text):
        return text
    if kind == 'bool':
        return text.lower() in ('true', 'yes', 'on')
    if kind == 'int' and _INTEGER.fullmatch(text):
        return int(text, 8 if text.lstrip('-').startswith('0') else 10)
    if kind == 'float' and _FLOAT.fullmatch(text):
        return float(text.replace('.inf', 'inf').replace('.nan', 'nan'))
    return UNCERTAIN
