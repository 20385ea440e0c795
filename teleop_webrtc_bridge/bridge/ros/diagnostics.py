"""What ``/diagnostics`` says: one status a concern, ``hardware_id`` is the robot's id."""

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

from collections.abc import Iterable, Mapping
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.publisher import Publisher

from teleop_webrtc_bridge.bridge.ros.camera.camera import Camera
from teleop_webrtc_bridge.bridge.ros.camera.cameras import Cameras
from teleop_webrtc_bridge.bridge.ros.drive import DriveSnapshot
from teleop_webrtc_bridge.bridge.ros.graph import NODE_NAME, TopicReport
from teleop_webrtc_bridge.bridge.ros.parameters.table import Settings
from teleop_webrtc_bridge.bridge.ros.self_diagnosis import Concern
from teleop_webrtc_bridge.core.session import BridgeState

__all__ = ['INSECURE', 'diagnose']

INSECURE: Final = 'allow_insecure_broker is set: the API key may travel unencrypted'

TOO_NARROW: Final = 0.9
"""Part of a camera's own stream; nothing here can make that smaller."""

_SESSION_LEVELS: Final = {
    BridgeState.CONNECTED: DiagnosticStatus.OK,
    BridgeState.OPERATED: DiagnosticStatus.OK,
    BridgeState.DIALLING: DiagnosticStatus.WARN,
    BridgeState.BACKING_OFF: DiagnosticStatus.ERROR,
    BridgeState.SUPERSEDED: DiagnosticStatus.ERROR,
    BridgeState.REFUSED: DiagnosticStatus.ERROR,
}


def diagnose(
    settings: Settings,
    snapshot: DriveSnapshot,
    cameras: Cameras,
    cmd_vel: Publisher[Any],
    *,
    now: float,
    others: Iterable[Concern] = (),
    node_name: str = NODE_NAME,
    topics: TopicReport = TopicReport(),  # noqa: B008 - immutable
) -> list[DiagnosticStatus]:
    """
    Return the statuses of one robot.

    :param node_name: Fully qualified: what begins the statuses' names, so that those of a fleet
        differ. diagnostic_updater names them so with ``use_fqn``.
    :param topics: What the graph says.

    :param others: Of which the caller knows.
    :param now: Seconds of ``time.monotonic``.
    """
    concerns = [
        _broker(settings, snapshot),
        _gate(snapshot, cmd_vel, topics),
        *(_video(camera, now, cameras.is_selected(camera)) for camera in cameras.all),
        *(_status(*concern) for concern in others),
    ]
    if settings.allow_insecure_broker:
        values = {'broker_url': settings.broker_url}
        concerns.append(_status('security', DiagnosticStatus.WARN, INSECURE, values))
    for status in concerns:
        status.name = f'{node_name}: {status.name}'
        status.hardware_id = settings.robot_id
    return concerns


def _broker(settings: Settings, snapshot: DriveSnapshot) -> DiagnosticStatus:
    status = snapshot.status
    level = _SESSION_LEVELS[status.state] if snapshot.link_up else DiagnosticStatus.ERROR
    message = f'{status.state.value}: {status.reason}' if status.reason else status.state.value
    stream_bps = status.counters.get('stream_bps', 0.0)
    link_bps = status.counters.get('link_bps', stream_bps)
    if level == DiagnosticStatus.OK and link_bps < TOO_NARROW * stream_bps:
        level = DiagnosticStatus.WARN
        message += (
            f': the link carries {1e-3 * link_bps:.0f} of the {1e-3 * stream_bps:.0f} kbit/s that '
            'the camera encodes'
        )
    if level == DiagnosticStatus.OK and status.path.startswith('TURN'):
        message += f', over {status.path}'
    values = {
        'broker_url': settings.broker_url,
        'control_epoch': status.control_epoch,
        'path': status.path,
    }
    return _status('broker', level, message, values | status.counters)


def _gate(
    snapshot: DriveSnapshot, cmd_vel: Publisher[Any], topics: TopicReport
) -> DiagnosticStatus:
    subscribers = cmd_vel.get_subscription_count()
    messages = []
    if snapshot.estopped:
        messages.append('E-STOP')
    elif not snapshot.enabled:
        messages.append('disabled')
    elif not subscribers and not topics.cmd_vel:
        messages.append(f'nobody subscribes {cmd_vel.topic_name}')
    messages += [rival.describe(cmd_vel.topic_name) for rival in topics.rivals]
    messages += topics.cmd_vel
    level = DiagnosticStatus.WARN if messages else DiagnosticStatus.OK
    if any(rival.is_bridge for rival in topics.rivals):
        level = DiagnosticStatus.ERROR
    values = {
        'topic': cmd_vel.topic_name,
        'subscribers': subscribers,
        'other_publishers': ' '.join(rival.name for rival in topics.rivals),
        'blind_page': snapshot.blind_page,
        'refused_frame': snapshot.refused_frame,
        **snapshot.counters,
    }
    if not messages and snapshot.blind_page:
        # No warning: each operator's page begins without a picture.
        messages.append("ready, slow: the operator's page shows no picture")
    return _status('command gate', level, '; '.join(messages) or 'ready', values)


def _video(camera: Camera, now: float, selected: bool) -> DiagnosticStatus:
    level, message = DiagnosticStatus.OK, 'receiving'
    remark = camera.remark(now)
    if camera.publisher_count() == 0:
        level, message = DiagnosticStatus.WARN, f'nobody publishes {camera.topic}'
    elif not (camera.is_open or camera.remark(now)):
        message = 'nobody watches' if selected else 'not selected'
    elif camera.is_silent(now):
        level = DiagnosticStatus.ERROR
        message = remark or f'no image on {camera.topic}'
    elif remark:
        level, message = DiagnosticStatus.WARN, remark
    if camera.faults:
        level = max(level, DiagnosticStatus.WARN)
        message = '; '.join((message, *camera.faults))
    values = {
        'topic': camera.topic,
        'subscribed': camera.is_subscribed,
        'reliability': camera.reliability,
        **camera.counters,
    }
    concern = f'video {camera.settings.name}' if camera.settings.is_named else 'video'
    return _status(concern, level, message, values)


def _status(
    concern: str, level: bytes, message: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=concern,
        level=level,
        message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
