"""The thread that takes images from DDS, so that no other thread waits for DDS."""

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

from collections.abc import Callable
import os
import queue
import threading
from typing import Final

__all__ = ['ImageThread']

LONGEST_END_S: Final = 1.0
"""DDS may hang; the end of the node waits for it no longer than this."""


class ImageThread(threading.Thread):
    """
    Runs requests, one after the other, and takes messages when they arrive.

    :param on_failure: Called from this thread, after :attr:`failure` was set.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        super().__init__(name='images', daemon=True)
        self.failure: Exception | None = None
        """The exception that ended the thread; the node must end as well."""
        self.wake = os.eventfd(0, os.EFD_CLOEXEC)
        """An eventfd, to be raised by one for each message that arrives."""
        self._on_failure = on_failure
        self._requests: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._sources: list[Callable[[], bool]] = []
        self._ending = False

    # --- called from other threads ---------------------------------------------------------------

    def request(self, apply: Callable[[], object]) -> None:
        """Call this in the thread."""
        self._requests.put(apply)
        os.eventfd_write(self.wake, 1)

    def add(self, take: Callable[[], bool]) -> None:
        """
        Add a source of messages.

        :param take: Takes a message, and returns whether there was one.
        """
        self.request(lambda: self._sources.append(take))

    def remove(self, take: Callable[[], bool]) -> None:
        """Remove a source of messages."""
        self.request(lambda: self._sources.remove(take))

    def end(self) -> bool:
        """
        End the thread, if it has started, after all earlier requests.

        :returns: Whether it has ended; else it hangs in DDS, and its memory must not be freed.
        """

        def apply() -> None:
            self._ending = True

        if self.ident is not None:
            self.request(apply)
            self.join(LONGEST_END_S)
        if self.is_alive():
            return False
        os.close(self.wake)
        return True

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until :meth:`end`; an exception is stored in :attr:`failure`."""
        try:
            while not self._ending:
                raised = os.eventfd_read(self.wake)
                while not self._requests.empty():
                    self._requests.get()()
                for take in self._sources:
                    while raised and take():
                        raised -= 1
        except Exception as error:  # noqa: BLE001 - the outermost boundary: the node must end
            self.failure = error
            self._on_failure()
