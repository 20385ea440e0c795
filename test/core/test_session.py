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
from contextlib import nullcontext
import itertools
import math
import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, RuleBasedStateMachine
import pytest
from transition_table import drawn_transitions

from teleop_webrtc_bridge.core import session as session_module
from teleop_webrtc_bridge.core.exceptions import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    PeerConnectionLost,
    ProtocolError,
    SessionGone,
    SessionLapsed,
    SessionSuperseded,
    TeleopError,
)
from teleop_webrtc_bridge.core.messages import ChannelIds, HeartbeatAnswer
from teleop_webrtc_bridge.core.session import (
    BridgeSession,
    BridgeState,
    HeartbeatSilence,
    Transition,
)

NOBODY = ChannelIds()
OPERATOR = ChannelIds(cmd=2, state=3, state_back=4, map=5)
NOW_S = 1000.0
#: ``HYPOTHESIS_PROFILE=thorough pytest test/core/test_session.py`` looks for what is rarer.
EXAMPLES = 10_000 if os.environ.get('HYPOTHESIS_PROFILE') == 'thorough' else 100


class Told:
    """A session, and everything that it told."""

    def __init__(self, random: Callable[[], float] = lambda: 1.0) -> None:
        self.transitions: list[Transition] = []
        self.session = BridgeSession(random=random, on_transition=self.transitions.append)

    def beat(self, channels: ChannelIds, epoch: int | None = None) -> None:
        self.session.heartbeat(
            HeartbeatAnswer(channels=channels, renegotiate_offer=None, control_epoch=epoch)
        )

    def connect(self) -> None:
        self.session.begin_dial()
        self.session.created('s')
        self.session.connected()

    def lose(self, error: BrokerError | PeerConnectionLost) -> None:
        self.session.ended(NOW_S, error)
        self.session.farewell()

    def fail(self, error: BrokerError | PeerConnectionLost, now: float = NOW_S) -> float:
        """Return how long the session stays away, in seconds."""
        self.session.begin_dial()
        self.session.ended(now, error)
        self.session.farewell()
        return self.session.dial_at_s - now

    def states(self) -> list[BridgeState]:
        return [transition.state for transition in self.transitions]


@pytest.fixture
def told() -> Told:
    return Told()


def test_the_docstring_draws_the_transitions() -> None:
    found = {(s.value, e.value): new.value for (s, e), new in session_module.TRANSITIONS.items()}
    assert drawn_transitions(session_module, {state.value for state in BridgeState}) == found


def test_it_dials_at_once_in_the_beginning(told: Told) -> None:
    assert told.session.dial_at_s < 0.0
    assert told.session.control_epoch == 0


def test_it_does_not_dial_while_the_broker_still_has_a_session(told: Told) -> None:
    told.session.begin_dial()
    told.session.created('s1')
    told.session.ended(NOW_S, PeerConnectionLost('gone'))
    with pytest.raises(RuntimeError, match='still has a session'):
        told.session.begin_dial()
    assert told.session.farewell() == 's1'
    told.session.begin_dial()


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
    assert told.session.state is BridgeState.BACKING_OFF
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
    told.session.ended(NOW_S, PeerConnectionLost('gone'))
    assert told.session.dial_at_s == NOW_S + 0.5


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
    assert told.session.state is BridgeState.SUPERSEDED
    assert told.transitions[-1].reason == 'robot_id "a" is used twice'


def test_a_refused_key_is_tried_again_after_a_minute(told: Told) -> None:
    assert told.fail(BrokerRefused('401')) == 60.0
    assert told.session.state is BridgeState.REFUSED


@pytest.mark.parametrize(
    'error', [ProtocolError('nonsense'), PeerConnectionLost('lost'), BrokerError('502')]
)
def test_any_other_failure_backs_off_and_keeps_its_reason(
    told: Told, error: BrokerError | PeerConnectionLost
) -> None:
    assert told.fail(error) == 0.5
    assert told.transitions[-1].state is BridgeState.BACKING_OFF
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
        BridgeState.DIALLING,
        BridgeState.CONNECTED,
        BridgeState.OPERATED,
        BridgeState.CONNECTED,
        BridgeState.BACKING_OFF,
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
    assert told.session.state is BridgeState.DIALLING
    assert told.session.reason == 'broker: no answer'
    told.session.created('s')
    told.session.connected()
    assert told.session.reason == ''


def test_either_channel_to_the_robot_means_that_it_is_operated(told: Told) -> None:
    for channels in (ChannelIds(cmd=2), ChannelIds(state=3)):
        told.connect()
        told.beat(channels)
        assert told.session.state is BridgeState.OPERATED
        told.lose(PeerConnectionLost('lost'))
    told.connect()
    told.beat(ChannelIds(state_back=4, map=5))
    assert told.session.state is BridgeState.CONNECTED


# --- epochs ----------------------------------------------------------------------------------


def test_the_epoch_rises_with_each_session(told: Told) -> None:
    told.connect()
    first = told.session.control_epoch
    told.lose(PeerConnectionLost('lost'))
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
    assert told.transitions[-1].state is BridgeState.OPERATED


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


# --- what the broker has to be told ----------------------------------------------------------


@pytest.mark.parametrize(
    ('error', 'told_of'),
    [
        (PeerConnectionLost('lost'), 's'),
        (BrokerRefused('401'), 's'),
        (SessionGone('404'), None),
        (SessionSuperseded('409'), None),
    ],
)
def test_a_session_is_deleted_once_unless_the_broker_said_that_it_is_over(
    told: Told, error: TeleopError, told_of: str | None
) -> None:
    told.connect()
    told.session.ended(NOW_S, error)
    assert told.session.farewell() == told_of
    assert told.session.farewell() is None


def test_a_session_that_never_connected_is_deleted_too(told: Told) -> None:
    told.session.begin_dial()
    assert told.session.farewell() is None
    told.session.created('s')
    assert told.session.farewell() == 's'


def test_a_connection_needs_a_session_and_a_heartbeat_a_connection(told: Told) -> None:
    with pytest.raises(RuntimeError, match='while backing_off'):
        told.session.connected()
    told.session.begin_dial()
    with pytest.raises(RuntimeError, match='without a session'):
        told.session.connected()
    with pytest.raises(RuntimeError, match='while dialling'):
        told.beat(NOBODY)


def test_one_attempt_has_one_session(told: Told) -> None:
    told.session.begin_dial()
    told.session.created('s')
    with pytest.raises(RuntimeError, match='a session already'):
        told.session.created('other')
    assert told.session.farewell() == 's'


def test_a_goodbye_may_tell_that_the_session_had_been_taken_over(told: Told) -> None:
    told.connect()
    told.session.ended(NOW_S, PeerConnectionLost('closed'))
    told.session.farewell()
    told.session.ended(NOW_S + 1.0, SessionSuperseded('409'))
    assert told.session.state is BridgeState.SUPERSEDED
    assert told.session.dial_at_s == NOW_S + 31.0


# --- events in any order ---------------------------------------------------------------------

WAITING = (BridgeState.BACKING_OFF, BridgeState.SUPERSEDED, BridgeState.REFUSED)
UP = (BridgeState.CONNECTED, BridgeState.OPERATED)
NUMBERS = st.floats(0.0, 1.0, exclude_max=True)
ERRORS = st.one_of(
    st.sampled_from(
        [
            BrokerUnreachable('no such host'),
            BrokerUnreachable('certificate refused'),
            BrokerRefused('401'),
            BrokerRefused('403'),
            SessionGone('404'),
            SessionSuperseded('409'),
            BrokerError('503'),
            ProtocolError('nonsense'),
            PeerConnectionLost('no answer on the peer connection'),
            PeerConnectionLost('the peer connection is closed'),
        ]
    ),
    st.builds(
        BrokerError, st.just('429'), retry_after_s=st.sampled_from([0.0, 0.2, 3.0, 60.0, 300.0])
    ),
)
IDS = st.none() | st.integers(2, 5)
ANSWERS = st.builds(
    HeartbeatAnswer,
    channels=st.builds(ChannelIds, cmd=IDS, state=IDS, state_back=IDS, map=IDS),
    renegotiate_offer=st.none(),
    control_epoch=st.none() | st.integers(0, 3),
)


class AnyLife(RuleBasedStateMachine):
    """A robot that does what its session allows, a broker that does what it likes, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0.0
        self.now_s = NOW_S
        self.transitions: list[Transition] = []
        self.session = BridgeSession(
            random=lambda: self.number, on_transition=self.transitions.append
        )
        self.serial = itertools.count()
        self.dials = 0
        """Attempts in flight, and connections."""
        self.failures = 0
        """In a row, without a heartbeat answer between them."""
        self.at_broker: str | None = None
        """The session that a goodbye is owed for."""
        self.dial_at_s = -math.inf
        """When dialling has to be allowed again, and not before."""
        self.connections = 0
        self.visits = 0
        self.is_operated = False
        self.control: object = None
        """Who commands, over which connection."""
        self.epoch = 0

    def is_in(self, *states: BridgeState) -> bool:
        return self.session.state in states

    # --- the robot ---------------------------------------------------------------------------

    @precondition(lambda self: self.is_in(*WAITING) and self.session.dial_at_s <= self.now_s)
    @rule()
    def dial(self) -> None:
        assert self.now_s >= self.dial_at_s
        self.session.begin_dial()
        self.dials += 1

    @precondition(lambda self: self.is_in(BridgeState.DIALLING) and self.at_broker is None)
    @rule()
    def the_broker_makes_a_session(self) -> None:
        self.at_broker = f's{next(self.serial)}'
        self.session.created(self.at_broker)

    @precondition(lambda self: self.is_in(BridgeState.DIALLING) and self.at_broker is not None)
    @rule()
    def it_connects(self) -> None:
        before = self.session.control_epoch
        self.session.connected()
        assert self.session.control_epoch > before
        self.connections += 1
        self.control = None

    @precondition(lambda self: self.is_in(*WAITING))
    @rule()
    def all_goes_well(self) -> None:
        self.it_is_time()
        self.dial()
        self.the_broker_makes_a_session()
        self.it_connects()

    @precondition(lambda self: self.is_in(*UP))
    @rule(answers=st.lists(ANSWERS, min_size=1, max_size=4))
    def heartbeats_are_answered(self, answers: list[HeartbeatAnswer]) -> None:
        for answer in answers:
            self.session.heartbeat(answer)
            self.failures = 0
            operated = answer.channels.state is not None or answer.channels.cmd is not None
            self.visits += operated and not self.is_operated
            self.is_operated = operated
            ids = (answer.channels.state, answer.channels.cmd)
            control = (self.connections, self.visits, answer.control_epoch, *ids)
            if operated:
                assert (self.session.control_epoch > self.epoch) == (control != self.control)
                self.epoch, self.control = self.session.control_epoch, control
            assert self.is_in(BridgeState.OPERATED if operated else BridgeState.CONNECTED)

    @precondition(lambda self: self.is_in(BridgeState.DIALLING, *UP))
    @rule(error=ERRORS, number=NUMBERS, taken_over=st.booleans(), goodbye_s=st.floats(0.0, 2.0))
    def it_ends(
        self, error: TeleopError, number: float, taken_over: bool, goodbye_s: float
    ) -> None:
        self.number = number
        self.end(error)
        self.now_s += goodbye_s
        if self.say_goodbye() and taken_over:
            self.end(SessionSuperseded('409, as an answer to the goodbye'))

    def end(self, error: TeleopError) -> None:
        self.session.ended(self.now_s, error)
        self.dials = 0
        self.is_operated = False
        if isinstance(error, SessionGone | SessionSuperseded):
            self.at_broker = None
        self.dial_at_s = self.now_s + self.pause_s(error)
        assert self.session.reason == str(error)

    def pause_s(self, error: TeleopError) -> float:
        """Return how long nothing may be dialled, in seconds."""
        if isinstance(error, SessionSuperseded):
            return 30.0
        if isinstance(error, BrokerRefused):
            return 60.0
        self.failures += 1
        if isinstance(error, SessionGone) and self.failures == 1:
            return 0.0
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, BrokerError) else 0.0
        longest_s = 0.5
        for _ in range(self.failures - 1):
            longest_s = min(2.0 * longest_s, 15.0)
        return asked_s + self.number * longest_s

    def say_goodbye(self) -> bool:
        """Return whether the broker was told."""
        told_of, self.at_broker = self.at_broker, None
        assert self.session.farewell() == told_of
        assert self.session.farewell() is None
        return told_of is not None

    @precondition(lambda self: self.dials == 0)
    @rule(error=ERRORS, times=st.integers(1, 12))
    def it_fails_again_and_again(self, error: TeleopError, times: int) -> None:
        self.number = 0.5
        began_s = self.now_s
        for _ in range(times):
            self.it_is_time()
            self.dial()
            self.end(error)
        if times > 1:  # the first may be followed at once
            assert self.session.dial_at_s - began_s >= 0.25 * (times - 1), 'a busy loop'

    def it_is_time(self) -> None:
        self.now_s = max(self.now_s, self.session.dial_at_s)

    @rule(seconds=st.sampled_from([0.01, 0.5, 5.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    # --- mistakes of the robot ---------------------------------------------------------------

    @rule(answer=ANSWERS)
    def what_does_not_fit_changes_nothing(self, answer: HeartbeatAnswer) -> None:
        told = len(self.transitions)
        before = (self.session.state, self.session.dial_at_s, self.session.control_epoch)
        wrong: list[Callable[[], None]] = []
        if not self.is_in(*WAITING):
            wrong.append(self.session.begin_dial)
        if not self.is_in(BridgeState.DIALLING) or self.at_broker is not None:
            wrong.append(lambda: self.session.created('another'))
        if not self.is_in(BridgeState.DIALLING) or self.at_broker is None:
            wrong.append(self.session.connected)
        if not self.is_in(*UP):
            wrong.append(lambda: self.session.heartbeat(answer))
        for event in wrong:
            with pytest.raises(RuntimeError):
                event()
        after = (self.session.state, self.session.dial_at_s, self.session.control_epoch)
        assert (len(self.transitions), after) == (told, before)

    # --- what holds --------------------------------------------------------------------------

    @invariant()
    def one_dial_at_a_time(self) -> None:
        assert self.dials == (0 if self.is_in(*WAITING) else 1)

    @invariant()
    def it_dials_again_when_it_has_to_and_not_before(self) -> None:
        if self.is_in(*WAITING):
            assert self.session.dial_at_s == self.dial_at_s

    @invariant()
    def the_last_transition_is_the_state(self) -> None:
        if self.transitions:
            last = self.transitions[-1]
            assert (last.state, last.reason) == (self.session.state, self.session.reason)
            assert last.control_epoch == self.session.control_epoch
        epochs = [transition.control_epoch for transition in self.transitions]
        assert epochs == sorted(epochs)

    def teardown(self) -> None:
        """Shut down: cancelled wherever it is, the robot says goodbye if it owes one."""
        self.say_goodbye()


AnyLife.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
TestAnyLife = AnyLife.TestCase


# --- silence ---------------------------------------------------------------------------------


def answer(channels: ChannelIds) -> HeartbeatAnswer:
    """Return what a broker answers that knows no epochs."""
    return HeartbeatAnswer(channels=channels, renegotiate_offer=None, control_epoch=None)


@pytest.mark.parametrize(('silent_s', 'lapsed'), [(29.9, False), (30.0, True), (3e7, True)])
def test_a_session_that_an_old_broker_may_have_given_up_is_taken_for_gone(
    silent_s: float, lapsed: bool
) -> None:
    silence = HeartbeatSilence(100.0)
    silence.answered(100.0, 101.0, answer(NOBODY))
    # The last one that was answered had been sent at 100.
    with pytest.raises(SessionLapsed) if lapsed else nullcontext():
        silence.answered(99.5 + silent_s, 100.0 + silent_s, answer(NOBODY))


def test_answers_that_come_in_time_never_add_up() -> None:
    silence = HeartbeatSilence(0.0)
    for beat in range(100):
        silence.answered(29.0 * beat, 29.0 * beat + 0.5, answer(NOBODY))


def test_the_first_heartbeat_may_be_too_late_already() -> None:
    with pytest.raises(SessionLapsed):
        HeartbeatSilence(0.0).answered(40.0, 40.1, answer(NOBODY))


def test_a_silence_is_not_forgotten_while_somebody_drives() -> None:
    silence = HeartbeatSilence(0.0)
    silence.answered(40.0, 40.1, answer(OPERATOR))
    silence.answered(41.0, 41.1, answer(OPERATOR))
    with pytest.raises(SessionLapsed, match='for 40 s'):
        silence.answered(42.0, 42.1, answer(NOBODY))


def test_a_lapsed_session_is_dialled_anew_at_once_and_the_broker_is_told(told: Told) -> None:
    told.connect()
    told.beat(NOBODY)
    told.session.ended(NOW_S, SessionLapsed('silence'))
    assert told.session.state is BridgeState.BACKING_OFF
    assert told.session.dial_at_s == NOW_S
    assert told.session.farewell() is not None
