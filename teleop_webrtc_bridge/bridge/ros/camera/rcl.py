"""
What rcl can do with a subscription and rclpy does not offer, without the interpreter's lock.

A message is taken undecoded into memory that is there already, and a descriptor is raised when
one arrives. rclpy's own way copies each message twice more with the interpreter's lock, for which
the thread that drives would have to wait, and builds a wait set for each.

Source: rcl/subscription.h, rcutils/types/uint8_array.h and rcutils/allocator.h, of ROS 2 Jazzy and
Kilted; the list of Lyrical's changes names none of them. What is not there is said at once
(:func:`find_rcl`), for the caller to do without.
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
import functools
from typing import Any, Final

from teleop_webrtc_bridge.core.exceptions import PictureUndecodable

__all__ = ['Rcl', 'find_rcl']

#: rcl/types.h
_OK: Final = 0
_TAKE_FAILED: Final = 401

_ALLOCATE: Final = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_DEALLOCATE: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_REALLOCATE: Final = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)
_ZERO_ALLOCATE: Final = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
)


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
    """``rcutils_error_string_t``."""

    _fields_ = (('text', ctypes.c_char * 1024),)


class _FixedMemory:
    """
    The allocator of memory that C may fill, but neither replace nor free.

    Some RMW implementations ask for the size that they need even where it is there.
    """

    def __init__(self) -> None:
        self.refused_bytes = 0
        """What was asked for at last and was not there."""
        self._functions = {
            'allocate': _ALLOCATE(lambda size, capacity: None),
            'deallocate': _DEALLOCATE(lambda pointer, capacity: None),
            'reallocate': _REALLOCATE(self._reallocate),
            'zero_allocate': _ZERO_ALLOCATE(lambda count, size, capacity: None),
        }

    def of(self, memory: memoryview) -> _Bytes:
        """Return writable memory as C wants it; its size is the state of the allocator."""
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
    The functions; raises if one of them is missing.

    :raises OSError: There is no rcl.
    :raises AttributeError: It does not have them.
    """

    def __init__(self) -> None:
        # rclpy has loaded both.
        rcl, rcutils = ctypes.CDLL('librcl.so'), ctypes.CDLL('librcutils.so')
        self._take: Any = rcl.rcl_take_serialized_message
        self._take.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Bytes), *(ctypes.c_void_p,) * 2)
        self._set_callback: Any = rcl.rcl_subscription_set_on_new_message_callback
        self._set_callback.argtypes = (ctypes.c_void_p,) * 3
        self._error: Any = rcutils.rcutils_get_error_string
        self._error.restype = _ErrorString
        self._reset_error: Any = rcutils.rcutils_reset_error
        self._reset_error.restype = None
        self._memory = _FixedMemory()
        write = ctypes.CDLL(None).eventfd_write
        self._eventfd_write = ctypes.cast(write, ctypes.c_void_p)

    def raise_on_message(self, subscription: Any, descriptor: int) -> None:
        """
        Have an eventfd raised whenever a message arrives.

        What DDS calls is ``eventfd_write(descriptor, number of messages)`` itself: its thread
        needs no interpreter. The types differ from those of rcl's callback (``const void *`` for
        ``int``, ``size_t`` for ``eventfd_t``), the registers of x86_64 and aarch64 do not.

        :param subscription: ``Subscription.handle`` of rclpy, entered.
        :param descriptor: An eventfd that outlives the subscription.
        :raises RuntimeError: The RMW implementation cannot do it.
        """
        code = self._set_callback(subscription.pointer, self._eventfd_write, descriptor)
        if code != _OK:
            raise RuntimeError(self._failure('rcl_subscription_set_on_new_message_callback', code))

    def take(self, subscription: Any, memory: memoryview) -> int | None:
        """
        Put the next message into memory, undecoded.

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
        """Return what rcl says."""
        text = self._error().text.decode(errors='replace')
        self._reset_error()
        return f'{name} failed with {code}: {text}'


@functools.cache
def find_rcl() -> Rcl | None:
    """Return rcl's functions; ``None`` if this ROS does not have them as we know them."""
    try:
        return Rcl()
    except (OSError, AttributeError):
        return None
