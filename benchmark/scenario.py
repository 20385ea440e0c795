"""One repeat: starts broker, bridge, robot and browser, measures them and ends them."""

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
from dataclasses import dataclass
from functools import partial
import os
from pathlib import Path
import time
from typing import Any, Final

from browser import browser_process, chromium
from playwright.sync_api import Browser
from process_tree import process_tree
from programs import Broker, Program, Programs, programs, wait_for
import psutil
from ros_probe import ros_node, RosProbe

from benchmark import commands, frames, raw_channel
from benchmark.figures import Figures, MeasurementError, percentile
from benchmark.frame_probe import FrameProbe
from benchmark.hands import HANDS, pushes
from benchmark.page_probe import MeasuredPage, video_path
from benchmark.processes import Usage, webrtc_half

__all__ = ['ROBOT_ID', 'Options', 'measure']

ROBOT_ID: Final = 'benchmark'
PUSHES: Final = 40
WARM_UP_S: Final = 3.0
RAW_CHANNEL_S: Final = 4.0
DRIVING_SHARE: Final = 0.7
"""A busy machine delays ticks of the page; far fewer moves mean that the page has stopped."""
MATCHED_SHARE: Final = 0.9
"""With fewer matches, velocities change on their way and no longer identify commands."""
SETTLE_S: Final = 0.5
"""Longer than any command may be in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the command line."""

    chromium: str
    seconds: float
    connects: int


def measure(folder: Path, options: Options) -> Figures:
    """
    Run everything once.

    :param folder: For logs and state.
    :raises MeasurementError: The figures would be misleading.
    """
    with (
        programs(folder) as started,
        ros_node('benchmark') as node,
        chromium(options.chromium) as browser,
    ):
        broker, robot, bridge = _start(started)
        ros, video = RosProbe(node), FrameProbe(node, ROBOT_ID)
        figures = _connect_often(browser, broker, options.connects)
        page = MeasuredPage(browser)
        page.connect(broker.page, ROBOT_ID)
        usage_of = {
            'broker': process_tree(broker.program.pid),
            'bridge_ros': [psutil.Process(bridge.pid)],
            'bridge_webrtc': [webrtc_half(bridge.pid)],
            'simulated_robot': [psutil.Process(robot.pid)],
        }
        window = Window(page, ros, video, usage_of)
        figures |= window.measure(options.seconds)
        figures |= raw_channel.measure(RAW_CHANNEL_S)
        if page.errors:
            raise MeasurementError(f'the page reports: {page.errors}')
        page.page.click('#disconnect')
        page.close()
        figures['dropped_dds'] = window.lost_in_dds()
    figures['dropped'] = frames.total_dropped(figures)
    figures['command_to_raw_ratio'] = figures['command_p50_ms'] / figures['raw_channel_p50_ms']
    return figures


def _start(started: Programs) -> tuple[Broker, Program, Program]:
    broker = started.start_broker()
    robot = started.start_simulation()
    bridge = started.start_bridge(
        *(broker.url, broker.key_file, ROBOT_ID),
        *('-r', 'image:=camera/image_raw'),
        # Each command must come out as it went in: its velocity is its name.
        *('-p', 'max_linear_acceleration:=0.0'),
        *('-p', 'max_angular_acceleration:=0.0'),
    )
    bridge.wait_for_line('state="connected"')
    return broker, robot, bridge


def _connect_often(browser: Browser, broker: Broker, times: int) -> Figures:
    """Reload the page for each connection; for the first one, the browser is new as well."""
    first_frame_ms, drivable_ms = [], []
    for _ in range(times):
        page = MeasuredPage(browser)
        page.connect(broker.page, ROBOT_ID)
        _wait_for_frame(page)
        timings = page.metrics()['timings']
        first_frame_ms.append(timings['firstFrameMs'] - timings['connectPressedMs'])
        drivable_ms.append(timings['drivableMs'] - timings['connectPressedMs'])
        page.page.click('#disconnect')
        page.wait_for_state('idle')
        page.close()
    return {
        'connect_first_frame_p50_ms': percentile(first_frame_ms, 50),
        'connect_first_frame_max_ms': max(first_frame_ms),
        'connect_drivable_p50_ms': percentile(drivable_ms, 50),
        'connect_drivable_max_ms': max(drivable_ms),
    }


def _wait_for_frame(page: MeasuredPage) -> None:
    wait_for(lambda: page.metrics()['framesPresented'] > 0, what='a frame on the page')


class Window:
    """
    The window in which an operator drives and everything is counted.

    :param page: The connected page.
    :param ros: Probe of the commands on ``cmd_vel``.
    :param video: Probe of the frames.
    :param processes: Processes of the programs under test, by name.
    """

    def __init__(
        self,
        page: MeasuredPage,
        ros: RosProbe,
        video: FrameProbe,
        processes: dict[str, list[psutil.Process]],
    ) -> None:
        self._page = page
        self._ros = ros
        self._video = video
        self._span_s = (0.0, 0.0)
        self._groups: dict[str, Callable[[], list[psutil.Process]]] = {
            **{name: partial(list, found) for name, found in processes.items()},
            'chromium': _browser_processes,
            'benchmark': partial(_own_processes, processes),
        }

    def measure(self, seconds: float) -> Figures:
        """Drive for a while with the page's device and return all figures."""
        page = self._page
        hand = HANDS[page.device]
        _wait_for_frame(page)
        page.synchronize()
        page.watch()
        page.page.evaluate(hand.circle)
        page.turn_slider(commands.TURN)
        page.page.wait_for_timeout(1e3 * WARM_UP_S)
        load_before = os.getloadavg()[0]
        usage = Usage(self._groups)
        before, inbound_before = page.reading(), page.inbound_video()
        page.frames()
        begin_s, begin_unix_s = time.monotonic(), time.time()
        page.page.wait_for_timeout(1e3 * seconds)
        end_s, end_unix_s = time.monotonic(), time.time()
        inbound, after = page.inbound_video(), page.reading()
        figures = usage.figures()
        shown = page.frames()
        figures |= {'load_before': load_before, 'load_after': os.getloadavg()[0]}
        page.page.wait_for_timeout(1e3 * SETTLE_S)
        figures |= self._commands(begin_s, end_s)
        page.page.evaluate(hand.let_go)
        self._span_s = (begin_unix_s, end_unix_s)
        figures |= self._video.account(*self._span_s)
        figures |= _shown(before, after)
        figures |= _received(inbound_before, inbound)
        figures |= video_path(shown, page)
        figures['page_clock_error_ms'] = page.clock_error_ms()
        return figures

    def react(self) -> Figures:
        """Push the stick or the key many times; return how long ``cmd_vel`` takes to follow."""
        script = pushes(HANDS[self._page.device], PUSHES)
        pushes_s = [self._page.monotonic_s(at_ms) for at_ms in self._page.page.evaluate(script)]
        received = [(command.arrival_s, command.is_zero) for command in self._ros.commands]
        took_ms = [1e3 * took_s for took_s in commands.reactions_s(pushes_s, received)]
        if len(took_ms) < MATCHED_SHARE * len(pushes_s):
            raise MeasurementError(f'{len(took_ms)} of {len(pushes_s)} pushes moved the robot')
        return {
            'hand_p50_ms': percentile(took_ms, 50),
            'hand_p99_ms': percentile(took_ms, 99),
            'hand_max_ms': max(took_ms),
        }

    def lost_in_dds(self) -> float:
        """Return how many frames DDS lost while driving; call it some seconds later."""
        return self._video.lost_in_dds(*self._span_s)

    def _commands(self, begin_s: float, end_s: float) -> Figures:
        slider = self._page.stop_slider()
        sent = [
            commands.Sent(at_s=self._page.monotonic_s(entry['atMs']), zero=entry['zero'])
            for entry in self._page.metrics()['sent']
        ]
        moves = [
            move for move in commands.sent_moves(sent, slider) if begin_s <= move.at_s < end_s
        ]
        received = [
            commands.Move(at_s=command.arrival_s, percent=round(100 * command.linear_x))
            for command in self._ros.commands
            if not command.is_zero and begin_s <= command.arrival_s < end_s + SETTLE_S
        ]
        figures = commands.summarize(moves, received)
        if len(moves) < DRIVING_SHARE * (end_s - begin_s) / commands.PERIOD_S:
            lock = self._page.metrics()['lock']
            raise MeasurementError(f'driving was interrupted: {len(moves)} moves, lock {lock!r}')
        if figures['commands_matched'] < MATCHED_SHARE * len(received):
            raise MeasurementError(
                f'only {figures["commands_matched"]:g} of {len(received)} commands on cmd_vel '
                'have a velocity that the page has sent'
            )
        return figures


def _shown(before: dict[str, Any], after: dict[str, Any]) -> Figures:
    """Return the page's own measurements of the picture."""
    # The page keeps the newest thousand: Options.seconds is bounded so that they suffice.
    latencies_ms = after['glassToGlassMs'][len(before['glassToGlassMs']) :]
    presented = after['framesPresented'] - before['framesPresented']
    return {
        'glass_p50_ms': percentile(latencies_ms, 50),
        'glass_p95_ms': percentile(latencies_ms, 95),
        'glass_max_ms': max(latencies_ms, default=0.0),
        'glass_samples': len(latencies_ms),
        'presented_hz': 1e3 * presented / (after['readMs'] - before['readMs']),
    }


def _received(before: dict[str, float], after: dict[str, float]) -> Figures:
    """Return the measurements of the picture by the browser's WebRTC stack."""

    def grown(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    if not before or not after:
        raise MeasurementError('the page receives no video: the link was lost')
    seconds = 1e-3 * grown('timestamp')
    held_s = grown('jitterBufferDelay') / max(1.0, grown('jitterBufferEmittedCount'))
    return {
        'browser_received_hz': grown('framesReceived') / seconds,
        'browser_decoded_hz': grown('framesDecoded') / seconds,
        'browser_dropped': grown('framesDropped'),
        'browser_freezes': grown('freezeCount'),
        'browser_packets_lost': grown('packetsLost'),
        'browser_keyframes': grown('keyFramesDecoded'),
        'video_kbps': 8e-3 * grown('bytesReceived') / seconds,
        'video_jitter_buffer_ms': 1e3 * held_s,
    }


def _browser_processes() -> list[psutil.Process]:
    root = browser_process()
    return [root, *root.children(recursive=True)]


def _own_processes(others: dict[str, list[psutil.Process]]) -> list[psutil.Process]:
    """Return this process and the driver of the browser: neither program nor browser."""
    taken = {process.pid for found in others.values() for process in found}
    taken |= {process.pid for process in _browser_processes()}
    me = psutil.Process()
    return [process for process in [me, *me.children(recursive=True)] if process.pid not in taken]
