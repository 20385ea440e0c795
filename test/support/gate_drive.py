"""The gate as the drive thread uses it, in time that the test advances."""

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

import math
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from teleop_webrtc_bridge.core.messages import DriveCommand, Velocity
from teleop_webrtc_bridge.core.motion.command_gate import CommandGate, CommandVerdict, GateLimits

#: On a busy machine, examples are slow but not wrong.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: ``HYPOTHESIS_PROFILE=thorough pytest test/core/motion/gate`` searches for rarer cases.
THOROUGH = os.environ.get('HYPOTHESIS_PROFILE') == 'thorough'
CI = os.environ.get('CI', '').lower() in ('1', 'true')
#: Examples of the state machine; in CI they take about two minutes of CPU time.
EXAMPLES = 10_000 if THOROUGH or CI else 200
STEPS = 25 if CI and not THOROUGH else 40

TIMEOUT_S = 0.25
MAX_AXES = (1.0, 0.5, 0.0, 0.0, 0.0, 1.5)
PERIOD_S = 0.02
TEN_YEARS_S = 10 * 365.25 * 86400
LATENCY_S = 0.03
ACCELERATION = 2.5
STEP = ACCELERATION * PERIOD_S
"""Maximum rise of the speed from one command to the next."""
ZERO = Velocity()
FORWARD = Velocity(linear_x=0.5)
LIMITS = GateLimits(command_timeout_s=TIMEOUT_S, max_axes=MAX_AXES)

AXIS = st.floats(width=64)
VELOCITIES = st.builds(
    Velocity,
    linear_x=AXIS,
    linear_y=AXIS,
    linear_z=AXIS,
    angular_x=AXIS,
    angular_y=AXIS,
    angular_z=AXIS,
)


class Drive:
    """An operator, their link and the drive thread, with time that the test advances."""

    def __init__(
        self,
        *,
        timeout_s: float = TIMEOUT_S,
        skew_s: float = 1.7e9,
        acceleration: float = math.inf,
        first_token: int = 1,
    ) -> None:
        limits = GateLimits(
            command_timeout_s=timeout_s, max_axes=MAX_AXES, max_acceleration=(acceleration,) * 6
        )
        self.gate = CommandGate(limits, first_token=first_token)
        self.now = 1000.0
        self.skew_s = skew_s
        """What the sender's clock is ahead of the robot's."""
        self.published: list[tuple[float, Velocity]] = []

    def publish(self) -> None:
        velocity = self.gate.output(self.now)
        if velocity is not None:
            self.published.append((self.now, velocity))

    def wait(self, seconds: float) -> None:
        """Let time pass as in the drive thread, which wakes up at each deadline."""
        end = self.now + seconds
        self.publish()
        while (deadline := self.gate.deadline(self.now)) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.publish()
        self.now = end

    def send(
        self, velocity: Velocity, *, delay_s: float = LATENCY_S, seq: int = 0
    ) -> CommandVerdict:
        """Deliver now a command that was sent one latency ago."""
        stamp_s = self.now - delay_s + self.skew_s
        command = DriveCommand(seq=seq, stamp_s=stamp_s, frame_id='test', velocity=velocity)
        verdict = self.gate.command(self.now, command)
        self.publish()
        return verdict

    def stream(
        self, velocity: Velocity, seconds: float, *, delay_s: float = LATENCY_S
    ) -> list[CommandVerdict]:
        verdicts = []
        for _ in range(round(seconds / PERIOD_S)):
            verdicts.append(self.send(velocity, delay_s=delay_s))
            self.wait(PERIOD_S)
        return verdicts

    def begin(self) -> None:
        """Arm and drive."""
        assert set(self.stream(ZERO, 0.2)) == {CommandVerdict.ACCEPTED}
        assert set(self.stream(FORWARD, 0.5)) == {CommandVerdict.ACCEPTED}
        assert self.gate.moving

    def since(self, start_s: float) -> list[Velocity]:
        return [velocity for at_s, velocity in self.published if at_s >= start_s]
