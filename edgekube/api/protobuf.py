"""Kubernetes' protobuf form of request bodies, into objects: what Go clients send for built-in kinds.

Enters: a body of type application/vnd.kubernetes.protobuf.
Leaves: the same object that the JSON form would have been; or StatusError 400.
Holds: a field that Go would leave out of JSON is left out here; unknown fields are skipped, as any protobuf reader skips them.
Bound: the body's size is the server's to bound; messages nest no deeper than _DEPTH_MAX. The table of fields, derived from
k8s.io/api's struct tags (protobuf_fields.bin), is read with the first such body.
Source: kubernetes.io, "API concepts" (Kubernetes Protobuf encoding); protobuf.dev, "Encoding".
Next: api.strict; api.protobuf_answers writes what this reads.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

import msgspec
import orjson

from edgekube.api import times
from edgekube.api.errors import StatusError, bad_request
from edgekube.api.objects import Object

PROTOBUF_TYPE: Final = "application/vnd.kubernetes.protobuf"

MAGIC: Final = b"k8s\0"
_DEPTH_MAX: Final = 100
META: Final = "k8s.io/apimachinery/pkg/apis/meta/v1"
#: Groups whose messages have a module of their own.
_ELSEWHERE: Final = {
    "apiextensions.k8s.io": "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions",
    "apiregistration.k8s.io": "k8s.io/kube-aggregator/pkg/apis/apiregistration",
}
SCHEMA: Final = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaProps"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OUT_OF_RANGE: Final = "the number is out of range"


class Field(msgspec.Struct, frozen=True, array_like=True):
    name: str  # "": the message's fields belong to the one around it
    type: str  # string bytes int bool double message quantity time …, with "[]", "map " or "items []" before it
    reference: str
    flags: str  # p: a pointer in Go, o: omitempty

    @property
    def keeps_zero(self) -> bool:
        return "p" in self.flags or "o" not in self.flags


class _Malformed(Exception):
    pass


@cache
def _table() -> dict[str, msgspec.Raw]:
    packed = resources.files("edgekube.api").joinpath("protobuf_fields.bin").read_bytes()
    return msgspec.json.decode(zlib.decompress(packed), type=dict[str, msgspec.Raw])


@lru_cache(maxsize=256)
def fields_of(message: str) -> dict[int, Field]:
    return msgspec.json.decode(_table()[message], type=dict[int, Field])


def message_of(api_version: str, kind: str) -> str | None:
    """The message's name: groups are known by their first label."""
    if kind == "DeleteOptions":
        return f"{META}.{kind}"
    group, _, version = api_version.rpartition("/")
    package = _ELSEWHERE.get(group) or f"k8s.io/api/{group.partition('.')[0] or 'core'}"
    name = f"{package}/{version}.{kind}"
    return name if name in _table() else None


def decode_protobuf(body: bytes) -> Object:
    """StatusError BadRequest when the bytes are no such object, UnsupportedMediaType for a kind without a protobuf form."""
    if not body.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = dict(_entries(body[len(MAGIC) :]))
        type_meta = {number: _text(value) for number, value in _entries(_piece(envelope.get(1, b"")))}
        api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
        message = message_of(api_version, kind)
        if message is None:
            raise StatusError("UnsupportedMediaType", f"{api_version} {kind} is not taken as protobuf; send application/json")
        return {"kind": kind, "apiVersion": api_version, **_message(message, _piece(envelope.get(2, b"")), 0)}
    except (_Malformed, UnicodeDecodeError, OverflowError) as error:
        raise bad_request(f"the body is not a valid protobuf message: {error}") from None


def _entries(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, raw value): numbers for varints, bytes for everything else."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = _varint(data, position)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise _Malformed(f"wire type {wire_type} is not used")
        if position + size > end:
            raise _Malformed("a field is longer than its message")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise _Malformed("a number has no end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _piece(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _Malformed("a number stands where a message belongs")
    return value


def _text(value: int | bytes) -> str:
    return _piece(value).decode()


def _integer(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise _Malformed("bytes stand where a number belongs")
    if value >= 1 << 64:
        raise _Malformed(_OUT_OF_RANGE)
    return value - (1 << 64) if value >= 1 << 63 else value


def _message(name: str, data: bytes, depth: int) -> Object:
    if depth > _DEPTH_MAX:
        raise _Malformed("messages nest too deep")
    fields = fields_of(name)
    made: Object = {}
    for number, raw in _entries(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.type.startswith("[]"):
            made.setdefault(field.name, []).append(_value(field.type[2:], field.reference, raw, depth))
        elif field.type.startswith("map "):
            key, value = _map_entry(field, _piece(raw), depth)
            made.setdefault(field.name, {})[key] = value
        else:
            _put(made, field, _value(field.type, field.reference, raw, depth))
    return made


def _put(made: Object, field: Field, value: Any) -> None:
    if not field.name:
        made.update(value)
    elif value is None or (not value and not field.keeps_zero):
        made.pop(field.name, None)
    else:
        made[field.name] = value


def _map_entry(field: Field, data: bytes, depth: int) -> tuple[str, Any]:
    entry = dict(_entries(data))
    type_ = field.type[4:]
    raw: int | bytes = entry.get(2, 0 if type_ in ("int", "bool") else b"")
    return _text(entry.get(1, b"")), _value(type_, field.reference, raw, depth)


def _value(type_: str, reference: str, raw: int | bytes, depth: int) -> Any:
    match type_:
        case "string":
            return _text(raw)
        case "int":
            return _integer(raw)
        case "bool":
            return bool(_integer(raw))
        case "bytes":
            return base64.b64encode(_piece(raw)).decode()
        case "double":
            return _double(_piece(raw))
        case "message":
            return _message(reference, _piece(raw), depth + 1)
        case "quantity":
            return _text(dict(_entries(_piece(raw))).get(1, b""))
        case "time" | "microtime":
            return _time(_piece(raw), micro=type_ == "microtime")
        case "intorstring":
            return _int_or_string(_piece(raw))
        case "raw":
            return _embedded(_piece(dict(_entries(_piece(raw))).get(1, b"")))
        case "schemaorarray":
            return _one_or_other(_piece(raw), depth, many="message")
        case "schemaorbool":
            return _one_or_other(_piece(raw), depth, many="")
        case "schemaorstrings":
            return _one_or_other(_piece(raw), depth, many="string")
        case "items []string":
            return [_text(value) for number, value in _entries(_piece(raw)) if number == 1]
    raise _Malformed(f"fields of type {type_} are not read")


def _double(data: bytes) -> float | int:
    """Go writes a whole number without a point, and so does our JSON."""
    if len(data) != 8:
        raise _Malformed("a double has eight bytes")
    number: float = struct.unpack("<d", data)[0]
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


def _time(data: bytes, *, micro: bool) -> str | None:
    """None for Go's zero time, which has no fields."""
    parts = {number: _integer(value) for number, value in _entries(data)}
    if not parts:
        return None
    seconds = parts.get(1, 0)
    if micro:
        return times.rfc3339_micro(seconds + parts.get(2, 0) // 1000 / 1_000_000)
    return times.rfc3339(seconds)


def _int_or_string(data: bytes) -> int | str:
    parts = dict(_entries(data))
    if _integer(parts.get(1, 0)):
        return _text(parts.get(3, b""))
    return _integer(parts.get(2, 0))


def _one_or_other(data: bytes, depth: int, *, many: str) -> Any:
    """A schema, or else a list (of schemas, of strings) or, where there is no ``many``, a truth value."""
    parts = list(_entries(data))
    numbers = [number for number, _ in parts]
    place = 1 if many else 2
    if place in numbers:
        return _message(SCHEMA, _piece(parts[numbers.index(place)][1]), depth + 1)
    if not many:
        return any(number == 1 and _integer(value) for number, value in parts)
    return [_value(many, SCHEMA, value, depth) for number, value in parts if number == 2]


def _embedded(data: bytes) -> Any:
    """JSON inside protobuf (RawExtension)."""
    if not data:
        return None
    try:
        return orjson.loads(data)
    except ValueError:
        raise _Malformed("an embedded object is not JSON") from None
