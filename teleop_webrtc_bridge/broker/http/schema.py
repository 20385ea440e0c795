"""One description of the API's values: it checks requests and is served as OpenAPI."""

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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, MISSING, replace
from functools import cache
import math
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
    Literal,
    NotRequired,
    TypedDict,
    TypeVar,
    Union,
)

from teleop_webrtc_bridge.broker.errors import ApiError
from teleop_webrtc_bridge.broker.identity import (
    as_label,
    as_name,
    LABEL_ALLOWED,
    MAX_CHARS,
    NAME_ALLOWED,
    Role,
)
from teleop_webrtc_bridge.core.codec import MAX_HTTP_BODY_BYTES
from teleop_webrtc_bridge.core.exceptions import ProtocolError
from teleop_webrtc_bridge.core.messages import IceServer
from teleop_webrtc_bridge.core.sdp import check_sdp, MAX_SDP_BYTES, strip_forbidden_candidates

__all__ = [
    'NAME',
    'OPERATOR',
    'ROBOT',
    'ROLES',
    'SDP',
    'TEXT',
    'Endpoint',
    'ForeignSdp',
    'IceServerFields',
    'Kind',
    'Label',
    'MediaId',
    'Name',
    'Nothing',
    'Ok',
    'RoleName',
    'Sdp',
    'Shape',
    'StreamId',
    'Time',
    'choice',
    'finite_number',
    'ice_server_fields',
    'json_content',
    'one_of',
    'openapi_document',
    'or_blank',
    'or_null',
    'read',
    'retry_after',
    'schema_of',
]

Schema = dict[str, Any]
"""A JSON schema."""
_Body = TypeVar('_Body')


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The schema of a type that is annotated with it."""

    schema: Schema


def one_of(*values: str) -> Shape:
    """Return the shape of a string that is one of these."""
    return Shape({'enum': list(values)})


def _or_null(schema: Schema) -> Schema:
    return {'anyOf': [schema, {'type': 'null'}]}


ROBOT: Final = 'robotApiKey'
OPERATOR: Final = 'operatorToken'
JSON_TYPES: Final = {
    bool: 'boolean',
    dict: 'object',
    float: 'number',
    int: 'integer',
    str: 'string',
}
ERRORS: Final = {
    400: 'The session description cannot be used',
    401: 'The key or token is unknown, missing, expired or revoked',
    403: 'The caller may not do this, or another site has asked',
    404: "There is none, or it is another tenant's",
    408: 'The request came too slowly',
    409: 'Not in this state, or there are too many',
    413: f'The body is larger than {MAX_HTTP_BODY_BYTES} bytes',
    421: 'The broker does not know the Host by its setting public_urls',
    422: 'The body is not as described',
    429: 'Too many; see Retry-After',
    502: 'The media backend has failed',
    503: 'The database fails',
}

# --- requests: a dataclass for each body, a kind for each of its fields ------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Shape):
    """The values that a field of a request accepts, as schema and as code."""

    convert: Callable[[Any], Any]
    """Returns the checked value; ``None``: it is not accepted."""
    allowed: str | None
    """Tells the client what is accepted; ``None``: other values are read as ``None`` instead."""
    blank: tuple[str | None, ...] = ()
    """Values that are read as ``None``."""

    def read(self, name: str, value: Any) -> Any:
        """
        Read a field.

        :param value: ``None`` if it is missing.
        :raises ApiError: 422.
        """
        if value in self.blank:
            return None
        converted = self.convert(value)
        if converted is None and self.allowed is not None:
            raise ApiError(422, f'{name}: {self.allowed}')
        return converted


def or_null(kind: Kind) -> Kind:
    """Accept null as well, and read it as ``None``."""
    return replace(kind, schema=_or_null(kind.schema), blank=(None,))


def or_blank(kind: Kind) -> Kind:
    """Accept null and the empty text as well, and read both as ``None``."""
    schema = {name: value for name, value in kind.schema.items() if name != 'minLength'}
    return replace(kind, schema=_or_null(schema), blank=(None, ''))


def choice(*values: str) -> Kind:
    """Accept only one of these strings."""
    return Kind(
        one_of(*values).schema,
        lambda value: value if value in values else None,
        f'{", ".join(values)} are accepted',
    )


def finite_number(value: object) -> float | None:
    """Return a number of a request; ``None``: it is something else, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


@dataclass(frozen=True, slots=True)
class ForeignSdp:
    """A session description as it was received: nothing may use it before :meth:`usable`."""

    text: str

    def usable(self, name: str, *, allow_local: bool) -> str:
        """
        Return the description without the candidates to which the broker must not send.

        :param name: The field that has it.
        :param allow_local: Keep loopback and link-local candidates.
        :raises ApiError: 400 if it cannot be used.
        """
        try:
            check_sdp(self.text)
        except ProtocolError as error:
            raise ApiError(400, f'{name}: {error}') from error
        return strip_forbidden_candidates(self.text, allow_local=allow_local)


ROLES: Final = tuple(role.value for role in Role)
NAME: Final = Kind(
    {'type': 'string', 'minLength': 1, 'maxLength': MAX_CHARS},
    as_name,
    f'{NAME_ALLOWED} are accepted',
)
LABEL: Final = Kind(
    {'type': 'string', 'maxLength': MAX_CHARS}, as_label, f'{LABEL_ALLOWED} are accepted'
)
TEXT: Final = Kind({'type': 'string', 'minLength': 1}, _text, 'a text is needed')
SDP: Final = Kind(
    {'type': 'string', 'minLength': 1, 'maxLength': MAX_SDP_BYTES},
    lambda value: ForeignSdp(value) if _text(value) else None,
    'a session description is needed',
)

Name = Annotated[str, NAME]
"""Shown to people: letters of any script, digits, space and ``_ . : -``."""
Label = Annotated[str | None, or_blank(LABEL)]
Sdp = Annotated[ForeignSdp, SDP]
MediaId = Annotated[str | None, or_blank(TEXT)]
"""The ``cf_session_id`` by which a page says which of an operator's joins it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A body without fields."""


def read(body: type[_Body], data: dict[str, Any]) -> _Body:
    """
    Read a request's body; unknown fields are ignored.

    :param body: A dataclass whose fields are annotated with their kinds; those without a default
        are required.
    :raises ApiError: 422.
    """
    return body(
        **{
            name: kind.read(name, data.get(name))
            for name, kind, is_required in _fields(body)  # type: ignore[arg-type]
            if is_required or name in data
        }
    )


@cache
def _fields(body: type) -> tuple[tuple[str, Kind, bool], ...]:
    """Return the name and kind of each field, and whether it is required."""
    kinds = get_type_hints(body, include_extras=True)
    return tuple(
        (it.name, get_args(kinds[it.name])[1], it.default is MISSING) for it in fields(body)
    )


# --- answers: a TypedDict for each -------------------------------------------------------------


RoleName = Annotated[str, one_of(*ROLES)]
StreamId = Annotated[int | None, Shape({'type': 'integer', 'minimum': 2, 'maximum': 65534})]
"""Never null where the schema forbids it, although the type of :class:`ChannelIds` allows it."""
Time = Annotated[str, Shape({'type': 'string', 'format': 'date-time'})]


class Ok(TypedDict):
    ok: Literal[True]


class IceServerFields(TypedDict):
    urls: list[str]
    username: NotRequired[str]
    credential: NotRequired[str]


def ice_server_fields(servers: Sequence[IceServer]) -> list[IceServerFields]:
    """Render ICE servers."""
    rendered = []
    for server in servers:
        entry = IceServerFields(urls=list(server.urls))
        if server.username is not None:
            entry['username'] = server.username
        if server.credential is not None:
            entry['credential'] = server.credential
        rendered.append(entry)
    return rendered


def schema_of(hint: Any) -> Schema:
    """Return the JSON schema of a body's type, an answer's type, or a type within them."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        # Annotated with another type: an answer that is already rendered from that type.
        extra = arguments[1]
        return extra.schema if isinstance(extra, Shape) else schema_of(extra)
    if origin is NotRequired:
        return schema_of(arguments[0])
    if origin is Literal:
        return {'const': arguments[0]}
    if origin in (Union, UnionType):
        return _or_null(schema_of(arguments[0]))
    if origin is list:
        return {'type': 'array', 'items': schema_of(arguments[0])}
    if is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        return _object(hints, [it for it in hints if get_origin(hints[it]) is not NotRequired])
    if is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        return _object(hints, [it.name for it in fields(hint) if it.default is MISSING])
    return {'type': JSON_TYPES[hint]}


def _object(hints: dict[str, Any], required: list[str]) -> Schema:
    properties = {name: schema_of(hint) for name, hint in hints.items()}
    return {'type': 'object', 'required': required, 'properties': properties}


# --- the OpenAPI 3.1 document ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    summary: str
    answer: Any
    """The type of the answer; ``None``: it has no body."""
    status: int = 200
    callers: tuple[str, ...] = ()
    """:data:`ROBOT`, :data:`OPERATOR` or both; none: anybody."""
    body: type | None = None
    errors: tuple[int, ...] = ()
    """Besides those that all endpoints with these callers and a body have."""
    others: Schema = field(default_factory=dict)
    """Responses that differ from all of these."""


def openapi_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = _operation(endpoint)
    return {
        'openapi': '3.1.0',
        'info': {'title': 'Teleop broker', 'version': '1', 'license': {'name': 'Apache-2.0'}},
        # Relative to this document: a proxy may serve the whole API below a path.
        'servers': [{'url': '../..'}],
        'paths': paths,
        'components': {
            'schemas': {'Error': _object({'detail': str}, ['detail'])},
            'securitySchemes': {
                ROBOT: {'type': 'apiKey', 'in': 'header', 'name': 'X-Robot-API-Key'},
                OPERATOR: {'type': 'http', 'scheme': 'bearer'},
            },
        },
    }


def json_content(schema: Schema) -> Schema:
    """Return the part of a request or response that describes its JSON."""
    return {'application/json': {'schema': schema}}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    errors = {*endpoint.errors, 421, 429} | ({401, 503} if endpoint.callers else set())
    if OPERATOR in endpoint.callers:
        errors.add(403)
    if endpoint.method != 'get':
        errors |= {403, 408, 413}
    if endpoint.body is not None:
        errors.add(422)
    answer: dict[str, Any] = {'description': 'Done'}
    if endpoint.answer is not None:
        answer['content'] = json_content(schema_of(endpoint.answer))
    operation: dict[str, Any] = {
        'operationId': f'{endpoint.method} {endpoint.path}',
        'summary': endpoint.summary,
        'security': [{caller: []} for caller in endpoint.callers],
        'responses': {
            str(endpoint.status): answer,
            **{str(status): _error(status) for status in sorted(errors)},
            **endpoint.others,
        },
    }
    names = [part[1:-1] for part in endpoint.path.split('/') if part.startswith('{')]
    if names:
        operation['parameters'] = [
            {'name': name, 'in': 'path', 'required': True, 'schema': schema_of(str)}
            for name in names
        ]
    if endpoint.body is not None:
        schema = schema_of(endpoint.body)
        operation['requestBody'] = {
            'required': bool(schema['required']),
            'content': json_content(schema),
        }
    return operation


def _error(status: int) -> dict[str, Any]:
    error: dict[str, Any] = {
        'description': ERRORS[status],
        'content': json_content({'$ref': '#/components/schemas/Error'}),
    }
    # A 403 has one if the caller was removed from a robot's viewers.
    if status in (403, 429, 503):
        error['headers'] = retry_after(is_required=status != 403)
    return error


def retry_after(*, is_required: bool) -> Schema:
    """Return the description of a response's headers with ``Retry-After``."""
    return {'Retry-After': {'required': is_required, 'schema': {'type': 'integer'}}}
