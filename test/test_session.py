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

import pytest

from teleop_webrtc_bridge.exceptions import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    PeerConnectionLost,
    ProtocolError,
    SessionGone,
    SessionSuperseded,
)
from teleop_webrtc_bridge.messages import ChannelIds, HeartbeatAnswer
from teleop_webrtc_bridge.session import Session, SessionState, Transition

NOBODY = ChannelIds()
OPERATOR = ChannelIds(cmd=2, state=3, state_back=4, map=5)
NOW_S = 1000.0


class Told:
    """A session, and everything that it told."""

    def __init__(self, random: Callable[[], float] = lambda: 1.0) -> None:
        self.transitions: list[Transition] = []
        self.session = Session(random=random, on_transition=self.transitions.append)

    def beat(self, channels: ChannelIds, epoch: int | None = None) -> None:
        self.session.heartbeat(
            HeartbeatAnswer(channels=channels, renegotiate_offer=None, control_epoch=epoch)
        )

    def connect(self) -> None:
        self.session.begin_dial()
        self.session.connected()

    def fail(self, error: BrokerError | PeerConnectionLost, now: float = NOW_S) -> float:
        """Return how long the session stays away, in seconds."""
        self.session.begin_dial()
        self.session.ended(now, error)
        return self.session.dial_at_s - now

    def states(self) -> list[SessionState]:
        return [transition.state for transition in self.transitions]


@pytest.fixture
def told() -> Told:
    return Told()


def test_it_dials_at_once_in_the_beginning(told: Told) -> None:
    assert told.session.dial_at_s < 0.0
    assert told.session.control_epoch == 0


def test_the_back_off_doubles_to_fifteen_seconds(told: Told) -> None:
    waits = [told.fail(BrokerUnreachable('no')) for _ in range(9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]
    assert all(told.fail(BrokerUnreachable('no')) == 15.0 for _ in range(2000))


def test_the_whole_back_off_is_jittered() -> None:
    numbers = iter([0.0, 0.5, 0.25])
    told = Told(lambda: next(numbers))
    waits = [told.fail(BrokerUnreachable('no')) for _ in range(3)]
    assert waits == [0.0, 0.5, 0.5]


def test_retry_after_is_obeyed_as_it_is() -> None:
    told = Told(lambda: 0.0)
    assert told.fail(BrokerError('busy', retry_after_s=42.0)) == 42.0
    assert told.session.state is SessionState.BACKING_OFF
    assert told.fail(BrokerError('busy', retry_after_s=0.0)) == 0.0


def test_retry_after_is_jittered_on_top_so_that_a_fleet_spreads(told: Told) -> None:
    waits = [told.fail(BrokerError('busy', retry_after_s=5.0)) for _ in range(3)]
    assert waits == [5.5, 6.0, 7.0]


def test_a_retry_after_of_nothing_is_no_loop(told: Told) -> None:
    waits = [told.fail(BrokerError('busy', retry_after_s=0.0)) for _ in range(3)]
    assert waits == [0.5, 1.0, 2.0]


def test_a_served_session_ends_the_back_off(told: Told) -> None:
    for _ in range(5):
        told.fail(BrokerUnreachable('no'))
    told.connect()
    told.beat(NOBODY)
    assert told.fail(PeerConnectionLost('gone')) == 0.5


def test_a_session_that_the_broker_forgot_is_dialled_again_at_once_but_not_for_ever(
    told: Told,
) -> None:
    waits = [told.fail(SessionGone('404')) for _ in range(4)]
    assert waits == [0.0, 1.0, 2.0, 4.0]


def test_a_broker_that_forgets_each_session_at_once_is_not_dialled_for_ever(told: Told) -> None:
    waits = []
    for _ in range(4):
        told.connect()
        told.session.ended(NOW_S, SessionGone('404'))
        waits.append(told.session.dial_at_s - NOW_S)
    assert waits == [0.0, 1.0, 2.0, 4.0]


def test_a_forgotten_session_that_was_served_is_dialled_again_at_once(told: Told) -> None:
    for _ in range(3):
        told.connect()
        told.beat(NOBODY)
        told.session.ended(NOW_S, SessionGone('404'))
        assert told.session.dial_at_s == NOW_S


def test_a_superseded_robot_stays_away_for_thirty_seconds(told: Told) -> None:
    told.connect()
    told.session.ended(NOW_S, SessionSuperseded('robot_id "a" is used twice'))
    assert told.session.dial_at_s == NOW_S + 30.0
    assert told.session.state is SessionState.SUPERSEDED
    assert told.transitions[-1].reason == 'robot_id "a" is used twice'


def test_a_refused_key_is_tried_again_after_a_minute(told: Told) -> None:
    assert told.fail(BrokerRefused('401')) == 60.0
    assert told.session.state is SessionState.REFUSED


@pytest.mark.parametrize(
    'error', [ProtocolError('nonsense'), PeerConnectionLost('lost'), BrokerError('502')]
)
def test_any_other_failure_backs_off_and_keeps_its_reason(
    told: Told, error: BrokerError | PeerConnectionLost
) -> None:
    assert told.fail(error) == 0.5
    assert told.transitions[-1].state is SessionState.BACKING_OFF
    assert told.transitions[-1].reason == str(error)


def test_each_transition_is_told_once(told: Told) -> None:
    told.connect()
    for _ in range(5):
        told.beat(NOBODY)
    for _ in range(5):
        told.beat(OPERATOR, 1)
    for _ in range(5):
        told.beat(NOBODY, 1)
    told.session.ended(NOW_S, PeerConnectionLost('lost'))
    assert told.states() == [
        SessionState.DIALLING,
        SessionState.CONNECTED,
        SessionState.OPERATED,
        SessionState.CONNECTED,
        SessionState.BACKING_OFF,
    ]
    assert [transition.reason for transition in told.transitions] == [
        '',
        '',
        '',
        'the operator left',
        'lost',
    ]


def test_the_reason_of_the_last_failure_stays_known_while_it_dials_again(told: Told) -> None:
    told.fail(BrokerUnreachable('broker: no answer'))
    told.session.begin_dial()
    assert told.session.state is SessionState.DIALLING
    assert told.session.reason == 'broker: no answer'
    told.session.connected()
    assert told.session.reason == ''


def test_either_channel_to_the_robot_means_that_it_is_operated(told: Told) -> None:
    for channels in (ChannelIds(cmd=2), ChannelIds(state=3)):
        told.connect()
        told.beat(channels)
        assert told.session.state is SessionState.OPERATED
    told.connect()
    told.beat(ChannelIds(state_back=4, map=5))
    assert told.session.state is SessionState.CONNECTED


# --- epochs ----------------------------------------------------------------------------------


def test_the_epoch_rises_with_each_session(told: Told) -> None:
    told.connect()
    first = told.session.control_epoch
    told.session.ended(NOW_S, PeerConnectionLost('lost'))
    told.connect()
    assert told.session.control_epoch > first
    assert told.transitions[-1].control_epoch == told.session.control_epoch


def test_the_epoch_rises_when_an_operator_comes(told: Told) -> None:
    told.connect()
    told.beat(NOBODY, 0)
    before = told.session.control_epoch
    told.beat(OPERATOR, 1)
    assert told.session.control_epoch == before + 1


def test_the_epoch_stays_while_nothing_changes(told: Told) -> None:
    told.connect()
    told.beat(OPERATOR, 1)
    before = told.session.control_epoch
    for _ in range(10):
        told.beat(OPERATOR, 1)
    assert told.session.control_epoch == before
    told.beat(ChannelIds(cmd=2, state=3, state_back=4, map=9), 1)
    assert told.session.control_epoch == before


def test_the_epoch_rises_when_an_operator_is_replaced_between_two_heartbeats(told: Told) -> None:
    told.connect()
    told.beat(OPERATOR, 1)
    before = told.session.control_epoch
    told.beat(OPERATOR, 2)
    assert told.session.control_epoch == before + 1
    assert told.transitions[-1].state is SessionState.OPERATED


def test_fresh_ids_tell_a_new_operator_where_the_broker_knows_no_epochs(told: Told) -> None:
    told.connect()
    told.beat(OPERATOR)
    before = told.session.control_epoch
    told.beat(ChannelIds(cmd=12, state=13, state_back=14, map=15))
    assert told.session.control_epoch == before + 1


def test_the_epoch_rises_when_the_same_operator_joins_again(told: Told) -> None:
    told.connect()
    told.beat(OPERATOR)
    before = told.session.control_epoch
    told.beat(NOBODY)
    told.beat(OPERATOR)
    assert told.session.control_epoch > before
