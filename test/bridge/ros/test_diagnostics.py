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

import dataclasses
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import pytest

from teleop_webrtc_bridge.bridge.link.packets import Status
from teleop_webrtc_bridge.bridge.ros.diagnostics import diagnose
from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.estop.record import EstopCause
from teleop_webrtc_bridge.bridge.ros.parameters.table import PARAMETERS, Settings
from teleop_webrtc_bridge.bridge.ros.self_diagnosis import estop
from teleop_webrtc_bridge.core.messages import Origin, OriginRole
from teleop_webrtc_bridge.core.session import BridgeState

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SETTINGS = Settings(**{row.name: row.default for row in PARAMETERS})


class NoCameras:
    """A robot without any."""

    all = ()


class CommandTopic:
    """Somebody listens."""

    topic_name = '/cmd_vel'

    def get_subscription_count(self) -> int:
        return 1


def broker(counters: dict[str, float], path: str = 'direct') -> DiagnosticStatus:
    """Return what is said of the broker of an operated robot."""
    status = Status(
        state=BridgeState.OPERATED,
        reason='',
        control_epoch=1,
        counters=counters,
        path=path,
    )
    cameras: Any = NoCameras()
    topic: Any = CommandTopic()
    snapshot = dataclasses.replace(DriveSnapshot(status=status), link_up=True)
    told = diagnose(SETTINGS, snapshot, cameras, topic, now=1.0)
    return next(entry for entry in told if entry.name == 'teleop_bridge: broker')


@pytest.mark.parametrize('link_bps', [2.3e6, 2.5e6, 9e6])
def test_a_link_that_carries_the_cameras_stream_is_no_trouble(link_bps: float) -> None:
    told = broker({'stream_bps': 2.5e6, 'link_bps': link_bps})
    assert (told.level, told.message) == (DiagnosticStatus.OK, 'operated')


def test_a_link_that_does_not_is_told() -> None:
    told = broker({'stream_bps': 2.5e6, 'link_bps': 8e5})
    assert told.level == DiagnosticStatus.WARN
    assert told.message == (
        'operated: the link carries 800 of the 2500 kbit/s that the camera encodes'
    )


def test_the_way_to_the_broker_is_told() -> None:
    relay = 'TURN/TLS turn.example.org:443'
    for path, message in (('direct', 'operated'), (relay, f'operated, over {relay}')):
        told = broker({}, path)
        assert (told.level, told.message) == (DiagnosticStatus.OK, message)
        assert {entry.key: entry.value for entry in told.values}['path'] == path


def test_pictures_that_are_encoded_here_are_made_to_fit() -> None:
    assert broker({'video_target_bps': 2e5}).level == DiagnosticStatus.OK


# --- E-STOP ------------------------------------------------------------------------------------

STATUS = Status(state=BridgeState.OPERATED, reason='', control_epoch=1, counters={})
ANN = Origin(sub='ann', role=OriginRole.VIEWER)


def test_who_stopped_the_robot_and_since_when_is_told() -> None:
    snapshot = DriveSnapshot(status=STATUS, latch=3, cause=EstopCause(by=ANN, since_s=1.7e9))
    name, level, message, values = estop(snapshot, persisted=True)
    assert (name, level) == ('E-STOP', DiagnosticStatus.WARN)
    assert message == 'latched: 3, by ann (viewer)'
    assert values == {
        'latch': 3,
        'by': 'ann',
        'role': 'viewer',
        'since': '2023-11-14T22:13:20+00:00',
        'persisted': True,
    }


def test_nobody_is_told_of_while_nothing_is_latched() -> None:
    _, level, message, values = estop(DriveSnapshot(status=STATUS), persisted=False)
    assert (level, message) == (DiagnosticStatus.OK, 'released')
    assert values == {'latch': None, 'by': '', 'role': '', 'since': '', 'persisted': False}


def test_a_latch_of_which_nobody_knows_who_set_it_is_told() -> None:
    _, level, message, values = estop(DriveSnapshot(status=STATUS, latch=1), persisted=False)
    assert (level, message) == (DiagnosticStatus.WARN, 'latched: 1')
    assert values['since'] == ''
