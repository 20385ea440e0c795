"""
Access to rcl, ROS's C library: takes messages without the interpreter lock (GIL).

Why rcl is called by ctypes: rclpy holds the GIL while DDS hands over a message. A DDS
that hangs there (Fast DDS 3.2 did, decoding one image again and again) stops every thread of the
process, including the one that stops the robot. ctypes releases the GIL during the call, so that
such a hang costs the images and nothing else. It also saves two copies of each image and a wait
set: 6.6 % instead of 9.9 % of a core for raw 720p at 30 Hz (docs/performance.md).

The risk is a layout in C that differs from the one described here. :class:`Rcl` therefore checks
it at the start by round trips through rcutils, with memory around the structures that must stay
untouched, and each subscription by its topic name. If a check fails, rclpy takes the images. The
parameter ``direct_image_take`` switches all of this off.

Source: rcl/subscription.h, rcutils/types/uint8_array.h and rcutils/allocator.h of ROS 2 Jazzy and
Kilted; the changes in Lyrical do not touch them.
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

import ctypes
import platform
from typing import Any, Final

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable, TeleopError

__all__ = ['Rcl', 'RclUnusable']

#: Machines on which eventfd_write can be the callback, see Rcl.raise_on_message.
_MACHINES: Final = ('x86_64', 'aarch64')
#: rcl/types.h
_OK: Final = 0
_TAKE_FAILED: Final = 401
#: Memory around the structures in the check of their layout, filled with different bytes.
_MARGIN_BYTES: Final = 256
_OURS: Final = b'\x5a'
_THEIRS: Final = b'\xa5'

_ALLOCATE: Final = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_DEALLOCATE: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_REALLOCATE: Final = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)
_ZERO_ALLOCATE: Final = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
)


class RclUnusable(TeleopError):
    """This rcl cannot be called as described here; the text says why."""


class _Allocator(ctypes.Structure):
    """``rcutils_allocator_t``."""

    _fields_ = (
        ('allocate', _ALLOCATE),
        ('deallocate', _DEALLOCATE),
        ('reallocate', _REALLOCATE),
        ('zero_allocate', _ZERO_ALLOCATE),
        ('state', ctypes.c_void_p),
    )


class _Bytes(ctypes.Structure):
    """``rcutils_uint8_array_t``, which is ``rcl_serialized_message_t``."""

    _fields_ = (
        ('buffer', ctypes.c_void_p),
        ('length', ctypes.c_size_t),
        ('capacity', ctypes.c_size_t),
        ('allocator', _Allocator),
    )


class _ErrorString(ctypes.Structure):
    """``rcutils_error_string_t``, 1024 bytes, with space for a longer one."""

    _fields_ = (('text', ctypes.c_char * 4096),)


class _FixedMemory:
    """
    The allocator of memory that C may fill, but neither replace nor free.

    Some RMW implementations request the size of each message, even if the memory is large enough.
    """

    def __init__(self) -> None:
        self.refused_bytes = 0
        """The last size that was requested and refused."""
        self._functions = {
            'allocate': _ALLOCATE(lambda size, capacity: None),
            'deallocate': _DEALLOCATE(lambda pointer, capacity: None),
            'reallocate': _REALLOCATE(self._reallocate),
            'zero_allocate': _ZERO_ALLOCATE(lambda count, size, capacity: None),
        }

    def of(self, memory: memoryview) -> _Bytes:
        """Return writable memory as a C array; the allocator's state is its size."""
        return _Bytes(
            buffer=ctypes.addressof(ctypes.c_char.from_buffer(memory)),
            capacity=len(memory),
            allocator=_Allocator(**self._functions, state=len(memory)),
        )

    def _reallocate(self, pointer: int | None, size: int, capacity: int) -> int | None:
        if size <= capacity:
            return pointer
        self.refused_bytes = size
        return None


class Rcl:
    """
    The functions of rcl; owned by one image thread.

    :raises RclUnusable: rcl is missing, or differs from the description here.
    """

    def __init__(self) -> None:
        if platform.machine() not in _MACHINES:
            raise RclUnusable(f'not tested on {platform.machine()}')
        try:
            # rclpy has loaded both.
            rcl, rcutils = ctypes.CDLL('librcl.so'), ctypes.CDLL('librcutils.so')
            _check_layout(rcutils)
            self._take: Any = rcl.rcl_take_serialized_message
            self._set_callback: Any = rcl.rcl_subscription_set_on_new_message_callback
            self._topic_name: Any = rcl.rcl_subscription_get_topic_name
            self._error: Any = rcutils.rcutils_get_error_string
            self._reset_error: Any = rcutils.rcutils_reset_error
            write = ctypes.CDLL(None).eventfd_write
        except (OSError, AttributeError) as error:
            raise RclUnusable(str(error)) from error
        self._take.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Bytes), *(ctypes.c_void_p,) * 2)
        self._set_callback.argtypes = (ctypes.c_void_p,) * 3
        self._topic_name.argtypes = (ctypes.c_void_p,)
        self._topic_name.restype = ctypes.c_char_p
        self._error.restype = _ErrorString
        self._reset_error.restype = None
        self._memory = _FixedMemory()
        self._eventfd_write = ctypes.cast(write, ctypes.c_void_p)

    def raise_on_message(self, subscription: Any, topic: str, descriptor: int) -> None:
        """
        Have an eventfd raised whenever a message arrives.

        DDS calls ``eventfd_write(descriptor, number of messages)`` directly: its thread does not
        need the interpreter. The types differ from those of rcl's callback (``const void *`` for
        ``int``, ``size_t`` for ``eventfd_t``), the registers of x86_64 and aarch64 do not.

        :param subscription: ``Subscription.handle`` of rclpy, entered.
        :param topic: Its topic, as rclpy knows it.
        :param descriptor: An eventfd that outlives the subscription.
        :raises RclUnusable: The handle is not a subscription to that topic, or the RMW
            implementation does not support the callback.
        """
        name = self._topic_name(subscription.pointer)
        if name != topic.encode():
            self._reset_error()
            raise RclUnusable(f'rcl subscribes to {name!r} instead of {topic}')
        code = self._set_callback(subscription.pointer, self._eventfd_write, descriptor)
        if code != _OK:
            raise RclUnusable(self._failure('rcl_subscription_set_on_new_message_callback', code))

    def take(self, subscription: Any, memory: memoryview) -> int | None:
        """
        Put the next message into memory, serialized.

        :param subscription: ``Subscription.handle`` of rclpy, entered.
        :param memory: Writable.
        :returns: Its size in bytes; ``None`` if there is none.
        :raises PictureUndecodable: It cannot be taken, and is lost.
        """
        array = self._memory.of(memory)
        code = self._take(subscription.pointer, ctypes.byref(array), None, None)
        if code == _TAKE_FAILED:
            self._reset_error()
            return None
        if code != _OK:
            reason = self._failure('rcl_take_serialized_message', code)
            refused, self._memory.refused_bytes = self._memory.refused_bytes, 0
            if refused:
                reason = f'{refused} bytes; at most {len(memory)} are allowed'
            raise PictureUndecodable(reason)
        return int(array.length)

    def _failure(self, name: str, code: int) -> str:
        """Return rcl's error message."""
        text = self._error().text.decode(errors='replace')
        self._reset_error()
        return f'{name} failed with {code}: {text}'


def _check_layout(rcutils: ctypes.CDLL) -> None:
    """
    Check size and fields of both structures by what rcutils reads from and writes into them.

    Each structure lies in larger memory, so that a wrong layout cannot damage anything here.

    :raises RclUnusable: They differ.
    :raises AttributeError: rcutils lacks a function.
    """
    calls: list[tuple[object, ...]] = []
    first, second = ctypes.create_string_buffer(16), ctypes.create_string_buffer(32)
    state = ctypes.create_string_buffer(1)
    begin, moved, state_at = map(ctypes.addressof, (first, second, state))

    def note(name: str, result: int | None) -> Any:
        def call(*arguments: int | None) -> int | None:
            calls.append((name, *arguments))
            return result

        return call

    functions = {
        'allocate': _ALLOCATE(note('allocate', begin)),
        'deallocate': _DEALLOCATE(note('deallocate', None)),
        'reallocate': _REALLOCATE(note('reallocate', moved)),
        'zero_allocate': _ZERO_ALLOCATE(note('zero_allocate', None)),
    }
    theirs, array = _with_margin(_Bytes, _THEIRS)
    ours, allocator = _with_margin(_Allocator, _OURS)
    for name, function in functions.items():
        setattr(allocator, name, function)
    allocator.state = state_at

    def found() -> tuple[object, ...]:
        end = ctypes.sizeof(_Bytes)
        return array.buffer, array.length, array.capacity, theirs.raw[end:]

    margin = _MARGIN_BYTES * _THEIRS
    pointers = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    initialise: Any = rcutils.rcutils_uint8_array_init
    resize: Any = rcutils.rcutils_uint8_array_resize
    finish: Any = rcutils.rcutils_uint8_array_fini
    initialise.argtypes, resize.argtypes, finish.argtypes = pointers, pointers[:2], pointers[:1]
    codes = [initialise(theirs, len(first), ours)]
    steps = [found()]
    is_copied = bytes(array.allocator) == bytes(allocator)
    codes.append(resize(theirs, len(second)))
    steps.append(found())
    codes.append(finish(theirs))
    expected = [(begin, 0, len(first), margin), (moved, 0, len(second), margin)]
    expected_calls = [
        ('allocate', len(first), state_at),
        ('reallocate', begin, len(second), state_at),
        ('deallocate', moved, state_at),
    ]
    if codes != [_OK] * 3 or not is_copied or (steps, calls) != (expected, expected_calls):
        raise RclUnusable('rcutils_uint8_array_t or rcutils_allocator_t has an unknown layout')


def _with_margin(kind: type[Any], fill: bytes) -> tuple[Any, Any]:
    """Return memory that is filled with a byte, and a structure at its beginning."""
    size = ctypes.sizeof(kind) + _MARGIN_BYTES
    memory = (ctypes.c_char * size).from_buffer(bytearray(fill * size))
    return memory, kind.from_buffer(memory)
