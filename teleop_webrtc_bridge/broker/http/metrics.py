"""What the broker tells a monitoring system, as Prometheus' text format 0.0.4."""

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

from collections import Counter
from collections.abc import Iterable

__all__ = ['Metrics']


class Metrics:
    """Counts answers; everything else is asked for when it is told."""

    def __init__(self) -> None:
        self._answers: Counter[int] = Counter()

    def answered(self, status: int) -> None:
        """Count one answer to a request."""
        self._answers[status] += 1

    def render(self, gauges: Iterable[tuple[str, str, float]]) -> str:
        """
        Return all metrics.

        :param gauges: Name, what it is, and its value now.
        """
        lines = []
        for name, text, value in gauges:
            lines += [
                f'# HELP teleop_broker_{name} {text}',
                f'# TYPE teleop_broker_{name} gauge',
                f'teleop_broker_{name} {value:g}',
            ]
        lines += [
            '# HELP teleop_broker_responses_total Answers to HTTP requests',
            '# TYPE teleop_broker_responses_total counter',
        ]
        lines += [
            f'teleop_broker_responses_total{{status="{status}"}} {count}'
            for status, count in sorted(self._answers.items())
        ]
        return '\n'.join(lines) + '\n'
