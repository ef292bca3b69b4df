"""Objects as Kubernetes' protobuf form: for the few clients that take no other answer.

Enters: an object, a list or a Status; or a watch event whose object is JSON.
Leaves: bytes of type application/vnd.kubernetes.protobuf; frames of a watch stream.
Holds: what an object has is written, what it lacks is not; reading it gives the same object (api.protobuf). Custom kinds have
no such form.
Source: kubernetes.io, "API concepts" (Kubernetes Protobuf encoding); k8s.io/apimachinery pkg/runtime/serializer/protobuf.
Next: server.rendering.
"""

from __future__ import annotations

import base64
import struct
from typing import Any, Final

import orjson

from edgekube.api import times
from edgekube.api.objects import Object
from edgekube.api.protobuf import MAGIC, META, SCHEMA, Field, fields_of, message_of
from edgekube.api.protobuf_wire import FIXED64, VARINT, piece, varint

#: Kinds of every group, whose messages lie with the metadata's.
_OF_META: Final = {
    ("v1", "Status"): f"{META}.Status",
    ("meta.k8s.io/v1", "PartialObjectMetadata"): f"{META}.PartialObjectMetadata",
    ("meta.k8s.io/v1", "PartialObjectMetadataList"): f"{META}.PartialObjectMetadataList",
    ("meta.k8s.io/v1beta1", "PartialObjectMetadata"): f"{META}.PartialObjectMetadata",
    ("meta.k8s.io/v1beta1", "PartialObjectMetadataList"): f"{META}.PartialObjectMetadataList",
}


def has_form(api_version: str, kind: str) -> bool:
    return _message_name(api_version, kind) is not None


def encode(obj: Object) -> bytes:
    """LookupError for a kind without a protobuf form."""
    api_version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    name = _message_name(api_version, kind)
    if name is None:
        raise LookupError(f"{api_version} {kind} has no protobuf form")
    type_meta = _text(1, api_version) + _text(2, kind)
    return MAGIC + piece(1, type_meta) + piece(2, _message(name, obj)) + piece(3, b"") + piece(4, b"")


def encode_event(type_: str, obj: Object) -> bytes:
    """One frame: its length in four bytes, and a WatchEvent without the prefix."""
    event = _text(1, type_) + piece(2, piece(1, encode(obj)))
    return struct.pack(">I", len(event)) + event


def _message_name(api_version: str, kind: str) -> str | None:
    return _OF_META.get((api_version, kind)) or message_of(api_version, kind)


def _text(number: int, text: str) -> bytes:
    return piece(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def _message(name: str, obj: Object) -> bytes:
    parts = []
    for number, field in fields_of(name).items():
        if not field.name:  # its fields stand in this object
            parts.append(piece(number, _message(field.reference, obj)))
            continue
        value = obj.get(field.name)
        if value is not None:
            parts.append(_field(number, field, value))
    return b"".join(parts)


def _field(number: int, field: Field, value: Any) -> bytes:
    if field.type.startswith("[]"):
        return b"".join(_value(number, field.type[2:], field.reference, each) for each in value)
    if field.type.startswith("map "):
        type_ = field.type[4:]
        entries = ((key, _value(2, type_, field.reference, each)) for key, each in value.items() if each is not None)
        return b"".join(piece(number, _text(1, key) + each) for key, each in entries)
    return _value(number, field.type, field.reference, value)


def _value(number: int, type_: str, reference: str, value: Any) -> bytes:
    match type_:
        case "string":
            return _text(number, str(value))
        case "int" | "bool":
            return _number(number, int(value))
        case "bytes":
            return piece(number, base64.b64decode(value))
        case "double":
            return varint(number << 3 | FIXED64) + struct.pack("<d", float(value))
        case "message":
            return piece(number, _message(reference, value))
        case "quantity":
            return piece(number, _text(1, str(value)))
        case "time" | "microtime":
            return piece(number, _time(str(value)))
        case "intorstring":
            return piece(number, _int_or_string(value))
        case "raw":
            return piece(number, piece(1, orjson.dumps(value)))
        case "schemaorbool" if isinstance(value, bool):
            return piece(number, _number(1, value))
        case "schemaorbool":
            return piece(number, _number(1, 1) + piece(2, _message(SCHEMA, value)))
        case "schemaorarray" if isinstance(value, list):
            return piece(number, b"".join(piece(2, _message(SCHEMA, each)) for each in value))
        case "schemaorstrings" if isinstance(value, list):
            return piece(number, b"".join(_text(2, each) for each in value))
        case "schemaorarray" | "schemaorstrings":
            return piece(number, piece(1, _message(SCHEMA, value)))
        case "items []string":
            return piece(number, b"".join(_text(1, each) for each in value))
    raise LookupError(f"fields of type {type_} are not written")


def _time(text: str) -> bytes:
    micros = round(times.parse(text) * 1_000_000)
    seconds, rest = divmod(micros, 1_000_000)
    return _number(1, seconds) + (_number(2, rest * 1000) if rest else b"")


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return _number(1, 1) + _text(3, value)
    return _number(1, 0) + _number(2, value)
