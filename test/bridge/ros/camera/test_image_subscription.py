"""When the bridge subscribes to images, and to which topic: the real bridge process."""

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

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
import threading
from typing import Any

import av
from counted_broker import counted_broker
import numpy as np
from programs import Program, Programs, wait_for
import pytest
from python_operator import operator, PythonOperator
import rclpy
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_probe import ros_node
from sensor_msgs.msg import CompressedImage, Image
from small_camera import SmallCamera, VideoDiagnostics

from teleop_webrtc_bridge.bridge.ros.camera import image_subscription
from teleop_webrtc_bridge.bridge.ros.camera.image_subscription import ImageSubscription
from teleop_webrtc_bridge.bridge.ros.camera.image_thread import ImageThread
from teleop_webrtc_bridge.bridge.ros.camera.rcl import Rcl, RclUnusable

# The parser behind the message packages' wheels imports them; ROS from apt does not.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

WIDTH, HEIGHT = 160, 120
MEMORY_BYTES = 100_000


class Rig:
    """A bridge with its broker, and a ROS node."""

    def __init__(self, node: Any, bridge: Program, url: str, token: str) -> None:
        self.node = node
        self.bridge = bridge
        self.url = url
        self.token = token
        self.diagnostics = VideoDiagnostics(node)

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        try:
            await asyncio.to_thread(wait_for, condition, what=what)
        except AssertionError as error:
            raise AssertionError(f'{error}; {self.diagnostics.values}') from None

    @asynccontextmanager
    async def person(self, role: str = 'operator') -> AsyncIterator[PythonOperator]:
        """Join as a person and stay."""
        async with operator(self.url, self.token) as person:
            await person.connect(await person.wait_for_robot('go2-a'), role=role)
            staying = asyncio.create_task(person.stay())
            try:
                yield person
            finally:
                staying.cancel()
                await asyncio.gather(staying, return_exceptions=True)
                await person.leave()


@asynccontextmanager
async def rig(folder: Path, *options: str) -> AsyncIterator[Rig]:
    async with counted_broker(folder) as broker:
        running = Programs(folder)
        try:
            bridge = running.start_bridge(broker.url, broker.key_file, 'go2-a', *options)
            with ros_node() as node:
                yield Rig(node, bridge, broker.url, broker.token)
        finally:
            await asyncio.to_thread(running.end)


def picture() -> Image:
    data = np.full(3 * WIDTH * HEIGHT, 200, np.uint8).tobytes()
    return Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding='bgr8', data=data)


@pytest.mark.real_programs
async def test_images_are_subscribed_while_somebody_watches_and_not_before_or_after(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as bridged:
        said = bridged.diagnostics
        await bridged.until(lambda: said.message == 'no node publishes /image', 'diagnostics')
        camera = SmallCamera(bridged.node, 'image', [picture()])
        # Connected, and something is sent; but of the camera, only its existence is known.
        await bridged.until(lambda: said.count('grey') >= 2, 'keep-alive')
        await bridged.until(lambda: said.message == 'nobody watches', 'diagnostics')
        assert camera.subscribers() == 0
        assert 'received' not in said.values
        for role in ('operator', 'viewer'):
            enough = said.count('sent') + 10
            async with bridged.person(role) as person:
                await bridged.until(lambda: camera.subscribers() == 1, role)
                await bridged.until(lambda: person.frames > 10, 'video')
                await bridged.until(lambda: said.count('sent') > enough, 'images')  # noqa: B023
                await bridged.until(lambda: said.message == 'receiving', 'diagnostics')
            await bridged.until(lambda: camera.subscribers() == 0, 'the end of the subscription')
        await bridged.until(lambda: said.message == 'nobody watches', 'diagnostics')
        assert 'camera_stalled' not in bridged.bridge.output()


def jpeg() -> bytes:
    encoder: Any = av.CodecContext.create('mjpeg', 'w')
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, 'yuvj420p'
    encoder.time_base = Fraction(1, 30)
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format='rgb24').reformat(format='yuvj420p')
    frame.pts = 0
    return b''.join(map(bytes, encoder.encode(frame) + encoder.encode(None)))


@pytest.mark.real_programs
async def test_compressed_images_are_shown_and_broken_ones_counted(tmp_path: Path) -> None:
    data = jpeg()
    good = CompressedImage(format='bgr8; jpeg compressed bgr8', data=data)
    broken = CompressedImage(format='jpeg', data=data[: len(data) // 2])
    options = ('-p', 'image_transport:=compressed', '-r', 'image:=camera/image_raw')
    async with rig(tmp_path, *options) as bridged:
        SmallCamera(bridged.node, 'camera/image_raw/compressed', [good, good, broken, good, good])
        said = bridged.diagnostics
        async with bridged.person() as person:
            await bridged.until(lambda: said.count('undecodable') >= 3, 'broken images')
            seen = person.frames
            await bridged.until(lambda: person.frames > seen + 20, 'video')
            await bridged.until(lambda: said.message == 'receiving', 'diagnostics')
        assert said.values['topic'] == '/camera/image_raw/compressed'
        assert said.count('encoded') > said.count('undecodable')
        assert said.count('unusable') == said.count('encoder_failures') == 0
    assert bridged.bridge.output().count('event=picture_undecodable') == 1


@pytest.mark.real_programs
async def test_a_stamp_before_1970_is_one_that_says_nothing(tmp_path: Path) -> None:
    image = picture()
    image.header.stamp.sec = -1
    async with rig(tmp_path) as bridged:
        SmallCamera(bridged.node, 'image', [image])
        async with bridged.person() as person:
            await bridged.until(lambda: person.frames > 10, 'video')
        assert bridged.bridge.process.poll() is None


@pytest.mark.real_programs
async def test_bytes_that_are_no_message_are_dropped_and_images_go_on(tmp_path: Path) -> None:
    # Little-endian CDR, and the begin of a time stamp.
    garbage = bytes.fromhex('00010000ffff')
    async with rig(tmp_path) as bridged:
        SmallCamera(bridged.node, 'image', [picture(), garbage, picture()])
        said = bridged.diagnostics

        def dropped() -> int:
            return bridged.bridge.output().count('event=image_undecodable')

        async with bridged.person() as person:
            await bridged.until(lambda: dropped() >= 3, 'what is dropped is said')
            seen = person.frames
            await bridged.until(lambda: person.frames > seen + 10, 'video')
            await bridged.until(lambda: said.message == 'receiving', 'diagnostics')
    assert 'topic=/image' in bridged.bridge.output()


@pytest.fixture
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


class Subscribed:
    """A subscription and the images that it delivered, on a node that publishes, too."""

    def __init__(self, context: Context, rcl: Rcl | None, transport: str = 'raw') -> None:
        self.node = Node('both_sides', context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.thread = ImageThread(on_failure=lambda: None)
        self.thread.start()
        self.images: list[bytes] = []
        self._memory = memoryview(bytearray(MEMORY_BYTES))
        self.subscription = ImageSubscription(
            self.node,
            transport=transport,
            reliability='reliable',
            thread=self.thread,
            memory=lambda: self._memory,
            callback=lambda image, stamp_ns: self.images.append(bytes(image.data)),
            rcl=rcl,
        )

    def until(self, condition: Callable[[], Any], what: str) -> None:
        def turn() -> Any:
            self.executor.spin_once(timeout_sec=0.02)
            return condition()

        wait_for(turn, what=what)

    def until_matched(self, publisher: Any) -> None:
        self.until(lambda: publisher.get_subscription_count() == 1, 'match')

    def end(self) -> None:
        self.subscription.close()
        assert self.thread.end()
        assert self.thread.failure is None
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture(params=['past rclpy', 'by rclpy'])
def subscribed(context: Context, request: pytest.FixtureRequest) -> Iterator[Subscribed]:
    subscribed = Subscribed(context, Rcl() if request.param == 'past rclpy' else None)
    yield subscribed
    subscribed.end()


def grey(fill: int) -> Image:
    return Image(width=4, height=3, step=4, encoding='mono8', data=bytes([fill]) * 12)


def test_images_arrive_once_each_and_in_order(subscribed: Subscribed) -> None:
    publisher = subscribed.node.create_publisher(Image, 'image', 10)
    subscribed.subscription.open(0.0)
    subscribed.until_matched(publisher)
    for fill in range(1, 50):
        publisher.publish(grey(fill))
        subscribed.until(lambda: len(subscribed.images) >= fill, 'image')  # noqa: B023
    assert subscribed.images == [bytes([fill]) * 12 for fill in range(1, 50)]


def test_nothing_arrives_once_it_is_closed_and_again_once_it_is_open(
    subscribed: Subscribed,
) -> None:
    publisher = subscribed.node.create_publisher(Image, 'image', 10)
    for fill in range(1, 6):
        subscribed.subscription.open(0.0)
        subscribed.until_matched(publisher)
        publisher.publish(grey(fill))
        subscribed.until(lambda: bytes([fill]) * 12 in subscribed.images, 'image')  # noqa: B023
        subscribed.subscription.close()
        subscribed.until(lambda: publisher.get_subscription_count() == 0, 'the end')
        publisher.publish(grey(100))
    assert subscribed.images == [bytes([fill]) * 12 for fill in range(1, 6)]


# A busy machine may need more than the real period for both.
@pytest.mark.parametrize(('period_s', 'warnings'), [(3600.0, 1), (0.0, 2)])
def test_after_bytes_that_are_no_message_images_go_on(
    subscribed: Subscribed,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    period_s: float,
    warnings: int,
) -> None:
    monkeypatch.setattr(image_subscription, 'TOLD_PERIOD_S', period_s)
    publisher = subscribed.node.create_publisher(Image, 'image', 10)
    subscribed.subscription.open(0.0)
    subscribed.until_matched(publisher)
    for fill, garbage in ((1, b'\0\1\0\0\xff\xff'), (2, b'\0\1\0\0')):
        publisher.publish(garbage)
        publisher.publish(grey(fill))
        subscribed.until(lambda: len(subscribed.images) == fill, 'image')  # noqa: B023
    assert capfd.readouterr().err.count('event=image_undecodable topic=/image') == warnings


class _Mute(Rcl):
    """An RMW implementation without callbacks for new messages."""

    def raise_on_message(self, subscription: Any, topic: str, descriptor: int) -> None:
        raise RclUnusable('not supported')


def test_where_nothing_tells_of_messages_rclpy_takes_them(
    context: Context, capfd: pytest.CaptureFixture[str]
) -> None:
    subscribed = Subscribed(context, _Mute())
    publisher = subscribed.node.create_publisher(Image, 'image', 10)
    subscribed.subscription.open(0.0)
    subscribed.until_matched(publisher)
    publisher.publish(grey(1))
    subscribed.until(lambda: subscribed.images == [bytes([1]) * 12], 'image')
    assert "event=images_by_rclpy reason='not supported'" in capfd.readouterr().err
    subscribed.end()


def test_a_message_that_is_too_large_is_dropped_and_said_and_images_go_on(
    context: Context, capfd: pytest.CaptureFixture[str]
) -> None:
    subscribed = Subscribed(context, Rcl())
    publisher = subscribed.node.create_publisher(Image, 'image', 10)
    subscribed.subscription.open(0.0)
    subscribed.until_matched(publisher)
    publisher.publish(Image(data=bytes(MEMORY_BYTES)))
    publisher.publish(grey(1))
    subscribed.until(lambda: len(subscribed.images) == 1, 'image')
    assert f'bytes; at most {MEMORY_BYTES} are allowed' in capfd.readouterr().err
    subscribed.end()


def test_what_came_while_the_thread_was_busy_is_taken_as_well(context: Context) -> None:
    subscribed = Subscribed(context, Rcl())
    publisher = subscribed.node.create_publisher(Image, 'image', 10)
    goes_on = threading.Event()
    subscribed.thread.request(goes_on.wait)
    subscribed.subscription.open(0.0)
    subscribed.until_matched(publisher)
    for fill in range(1, 10):
        publisher.publish(grey(fill))
    goes_on.set()
    # As many as the queue holds: the newest ones.
    subscribed.until(lambda: bytes([9]) * 12 in subscribed.images, 'the newest image')
    assert subscribed.images == [bytes([fill]) * 12 for fill in (8, 9)]
    subscribed.end()


def test_the_executor_sleeps_while_images_come(context: Context) -> None:
    """Waking it up takes longer than taking an image."""
    subscribed = Subscribed(context, Rcl())
    publisher = subscribed.node.create_publisher(Image, 'image', 10)
    subscribed.subscription.open(0.0)
    subscribed.until_matched(publisher)
    waits = count_waits(subscribed.executor)
    done = threading.Event()

    def publish() -> None:
        for fill in range(1, 31):
            publisher.publish(grey(fill))
            wait_for(lambda: len(subscribed.images) >= fill, what='image')  # noqa: B023
        done.set()
        subscribed.executor.wake()

    publishing = threading.Thread(target=publish)
    publishing.start()
    while not done.is_set():
        subscribed.executor.spin_once(timeout_sec=5.0)
    publishing.join()
    assert len(waits) < 10, 'thirty images came meanwhile'
    subscribed.end()


def count_waits(executor: SingleThreadedExecutor) -> list[None]:
    """Return a list that grows whenever the executor wakes up."""
    waits: list[None] = []
    nodes = executor.get_nodes

    def counted() -> list[Node]:
        waits.append(None)
        return list(nodes())

    executor.get_nodes = counted  # type: ignore[method-assign]
    return waits


def test_who_asks_for_more_reliability_than_is_published_is_told(
    subscribed: Subscribed, capfd: pytest.CaptureFixture[str]
) -> None:
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    subscribed.node.create_publisher(
        Image,
        'image',
        best_effort,
        event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
    )
    subscribed.subscription.open(0.0)
    said = ''

    def is_told() -> bool:
        nonlocal said
        subscribed.subscription.follow_publishers()
        said += capfd.readouterr().err
        return 'event=image_qos_incompatible topic=/image' in said

    subscribed.until(is_told, 'warning')
    for _ in range(3):
        subscribed.subscription.follow_publishers()
    said += capfd.readouterr().err
    assert said.count('event=image_qos_incompatible') == 1
    assert 'publisher=/both_sides' in said


@pytest.mark.parametrize(
    ('transport', 'rules', 'topic'),
    [
        ('raw', [], '/go2/image'),
        ('raw', ['image:=/camera/image_raw'], '/camera/image_raw'),
        ('compressed', [], '/go2/image/compressed'),
        ('compressed', ['image:=/camera/image_raw'], '/camera/image_raw/compressed'),
        ('compressed', ['image/compressed:=/camera/jpeg'], '/camera/jpeg'),
        ('compressed', ['image:=raw', 'image/compressed:=jpeg'], '/go2/jpeg'),
        ('h264', [], '/go2/image/h264'),
        ('h264', ['image:=/camera/image_raw'], '/camera/image_raw/h264'),
        ('h264', ['image/h264:=/image_compressed'], '/image_compressed'),
    ],
)
def test_the_topic_is_the_one_that_image_transport_would_take(
    context: Context, transport: str, rules: list[str], topic: str
) -> None:
    arguments = ['--ros-args', *(part for rule in rules for part in ('-r', rule))]
    node = Node('named', context=context, namespace='go2', cli_args=arguments)
    images = ImageSubscription(
        node,
        transport=transport,
        reliability='auto',
        thread=ImageThread(on_failure=lambda: None),
        memory=lambda: memoryview(b''),
        callback=lambda image, stamp_ns: None,
        rcl=Rcl(),
    )
    assert images.topic == topic
    assert node.count_subscribers(topic) == 0
    images.open(5.0)
    wait_for(lambda: node.count_subscribers(topic) == 1, what=topic)
    images.close()
    wait_for(lambda: node.count_subscribers(topic) == 0, what=topic)
    node.destroy_node()
