"""The description of the API: reading bodies, and the schemas of types."""

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

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.http.schema import (
    choice,
    finite_number,
    Kind,
    Label,
    NAME,
    Name,
    or_blank,
    or_null,
    read,
    schema_of,
    Sdp,
)

COUNT = Kind({'type': 'number'}, finite_number, 'a number is needed')
STATISTIC = Kind({}, finite_number, allowed=None)


@dataclass(frozen=True, kw_only=True)
class Body:
    name: Name
    label: Label = None
    role: Annotated[str, choice('driver', 'viewer')] = 'driver'
    nickname: Annotated[str | None, or_blank(NAME)] = None
    tenant: Annotated[str | None, or_null(NAME)] = None
    count: Annotated[float | None, COUNT] = None
    statistic: Annotated[float | None, STATISTIC] = None


@dataclass(frozen=True, kw_only=True)
class Offer:
    sdp_offer: Sdp


class Inner(TypedDict):
    flag: bool
    note: NotRequired[str]


class Answer(TypedDict):
    ok: Literal[True]
    count: int
    ratio: float | None
    inner: list[Inner]


def test_missing_fields_have_their_defaults_and_unknown_ones_are_ignored() -> None:
    assert read(Body, {'name': 'a', 'unknown': 1}) == Body(name='a')


def test_all_fields_are_read() -> None:
    fields: dict[str, Any] = {
        'name': 'a',
        'label': 'b',
        'role': 'viewer',
        'nickname': 'c',
        'tenant': 'd',
        'count': 2.0,
        'statistic': 3.0,
    }
    assert read(Body, fields) == Body(**fields)


@pytest.mark.parametrize(('field', 'value'), [('label', None), ('label', ''), ('nickname', '')])
def test_a_blank_is_none_where_the_schema_says_so(field: str, value: object) -> None:
    assert read(Body, {'name': 'a', field: value}) == Body(name='a')


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('name', None),
        ('name', ''),
        ('label', 0),
        ('label', False),
        ('role', None),
        ('role', 'king'),
        ('role', ['driver']),
        ('nickname', 0),
        ('tenant', ''),
        ('count', None),
        ('count', True),
        ('count', 10**400),
    ],
)
def test_what_is_not_described_is_422_and_names_the_field(field: str, value: object) -> None:
    with pytest.raises(ApiError, match=f'^{field}: ') as refused:
        read(Body, {'name': 'a', field: value})
    assert refused.value.status == 422


def test_a_required_field_must_not_be_missing() -> None:
    with pytest.raises(ApiError, match='name: '):
        read(Body, {})


def test_a_malformed_statistic_counts_as_unknown() -> None:
    assert read(Body, {'name': 'a', 'statistic': 'fast'}) == Body(name='a')


def test_a_session_description_cannot_be_used_before_it_is_checked() -> None:
    received = read(Offer, {'sdp_offer': 'no description'}).sdp_offer
    assert not isinstance(received, str)
    with pytest.raises(ApiError, match='^sdp_offer: ') as refused:
        received.usable('sdp_offer', allow_local=False)
    assert refused.value.status == 400


def test_the_schema_of_a_body_has_the_schemas_of_its_kinds() -> None:
    text = {'type': 'string', 'maxLength': 64}
    assert schema_of(Body) == {
        'type': 'object',
        'required': ['name'],
        'properties': {
            'name': {**text, 'minLength': 1},
            'label': {'anyOf': [text, {'type': 'null'}]},
            'role': {'enum': ['driver', 'viewer']},
            'nickname': {'anyOf': [text, {'type': 'null'}]},
            'tenant': {'anyOf': [{**text, 'minLength': 1}, {'type': 'null'}]},
            'count': {'type': 'number'},
            'statistic': {},
        },
    }


def test_the_schema_of_an_answer_follows_from_its_type() -> None:
    inner = {
        'type': 'object',
        'required': ['flag'],
        'properties': {'flag': {'type': 'boolean'}, 'note': {'type': 'string'}},
    }
    expected = {
        'type': 'object',
        'required': ['ok', 'count', 'ratio', 'inner'],
        'properties': {
            'ok': {'const': True},
            'count': {'type': 'integer'},
            'ratio': {'anyOf': [{'type': 'number'}, {'type': 'null'}]},
            'inner': {'type': 'array', 'items': inner},
        },
    }
    assert schema_of(Answer) == expected
    assert schema_of(Annotated[bytes, Answer]) == expected
