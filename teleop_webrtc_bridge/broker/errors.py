"""The errors with which the HTTP API answers a refused request."""

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

from teleop_webrtc_bridge.core.exceptions import TeleopError

__all__ = ['ApiError', 'NoGuess']


class ApiError(TeleopError):
    """
    Ends a request with an HTTP status and ``{"detail": ...}``.

    :param retry_after_s: Sent as ``Retry-After``, rounded up to whole seconds.
    """

    def __init__(self, status: int, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s


class NoGuess(ApiError):
    """
    A refused sign-in that is no attempt to guess a secret, so it does not count as a failed one.

    A person whose token has expired must learn that, whatever others at the same address try.
    """
