"""Version 2 as protobuf: the form in which kubectl and Helm ask for it (gnostic's openapi.v2.Document).

Enters: paths and definitions of a version 2 document, one by one.
Leaves: pieces of the message; put together they are the document.
Holds: a repeated field's pieces may follow one another at any place of a message, so nothing has to be known of what comes later.
What has no field of its own is a vendor extension, whose value is YAML; JSON is YAML.
Source: github.com/google/gnostic-models openapiv2/OpenAPIv2.proto (field numbers).
Next: server.openapi.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from edgekube.api.objects import Object
from edgekube.api.openapi.document import INFO, SECURITY
from edgekube.api.protobuf_wire import piece, varint

# Document
_SWAGGER, _INFO, _PATHS, _DEFINITIONS, _SECURITY, _SECURITY_DEFINITIONS = 1, 2, 8, 9, 12, 13
_METHODS: Final = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
_NUMBERS: Final = {"multipleOf": 6, "maximum": 7, "minimum": 9}
_FLAGS: Final = {"exclusiveMaximum": 8, "exclusiveMinimum": 10, "uniqueItems": 16}
_COUNTS: Final = {"maxLength": 11, "minLength": 12, "maxItems": 14, "minItems": 15, "maxProperties": 17, "minProperties": 18}
_TEXTS: Final = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}


def _text(number: int, text: str) -> bytes:
    return piece(number, text.encode()) if text else b""


def _texts(number: int, texts: Iterable[str]) -> bytes:
    return b"".join(piece(number, text.encode()) for text in texts)


def _flag(number: int, value: bool) -> bytes:
    return varint(number << 3) + b"\x01" if value else b""


def _any(number: int, value: Any) -> bytes:
    return piece(number, piece(2, orjson.dumps(value) + b"\n"))


def _named(number: int, name: str, value: bytes) -> bytes:
    return piece(number, _text(1, name) + piece(2, value))


def _extensions(number: int, value: Object) -> bytes:
    return b"".join(piece(number, _text(1, key) + _any(2, extension)) for key, extension in value.items() if key.startswith("x-"))


def _schema(schema: Object) -> bytes:
    parts = [_text(number, schema[key]) for key, number in _TEXTS.items() if key in schema]
    if "default" in schema:
        parts.append(_any(5, schema["default"]))
    parts += [varint(number << 3 | 1) + struct.pack("<d", schema[key]) for key, number in _NUMBERS.items() if key in schema]
    parts += [_flag(number, schema[key]) for key, number in _FLAGS.items() if key in schema]
    parts += [varint(number << 3) + varint(int(schema[key])) for key, number in _COUNTS.items() if key in schema]
    parts.append(_texts(19, schema.get("required", ())))
    parts += [_any(20, value) for value in schema.get("enum", ())]
    more = schema.get("additionalProperties")
    if isinstance(more, bool):
        parts.append(piece(21, varint(2 << 3) + varint(int(more))))
    elif more is not None:
        parts.append(piece(21, piece(1, _schema(more))))
    if "type" in schema:
        parts.append(piece(22, _texts(1, [schema["type"]])))
    if "items" in schema:
        parts.append(piece(23, piece(1, _schema(schema["items"]))))
    parts += [piece(24, _schema(part)) for part in schema.get("allOf", ())]
    if "properties" in schema:
        properties = b"".join(_named(1, name, _schema(below)) for name, below in schema["properties"].items())
        parts.append(piece(25, properties))
    if "example" in schema:
        parts.append(_any(30, schema["example"]))
    parts.append(_extensions(31, schema))
    return b"".join(parts)


def _parameter(parameter: Object) -> bytes:
    """A ParametersItem."""
    name, text = parameter["name"], parameter.get("description", "")
    required = bool(parameter.get("required"))
    if parameter["in"] == "body":
        body = _text(1, text) + _text(2, name) + _text(3, "body") + _flag(4, required)
        return piece(1, piece(1, body + piece(5, _schema(parameter["schema"]))))
    head = _flag(1, required) + _text(2, parameter["in"]) + _text(3, text) + _text(4, name)
    unique = bool(parameter.get("uniqueItems"))
    if parameter["in"] == "query":
        return piece(1, piece(2, piece(3, head + _text(6, parameter["type"]) + _flag(20, unique))))
    return piece(1, piece(2, piece(4, head + _text(5, parameter["type"]) + _flag(19, unique))))


def _operation(operation: Object) -> bytes:
    answers = b"".join(
        _named(1, code, piece(1, _text(1, answer["description"]) + _answer(answer)))
        for code, answer in operation["responses"].items()
    )
    parts = [
        _texts(1, operation.get("tags", ())),
        _text(3, operation.get("description", "")),
        _text(5, operation.get("operationId", "")),
        _texts(6, operation.get("produces", ())),
        _texts(7, operation.get("consumes", ())),
        *(piece(8, _parameter(parameter)) for parameter in operation.get("parameters", ())),
        piece(9, answers),
        _texts(10, operation.get("schemes", ())),
        _extensions(13, operation),
    ]
    return b"".join(parts)


def _answer(answer: Object) -> bytes:
    return piece(2, piece(1, _schema(answer["schema"]))) if "schema" in answer else b""


def _item(item: Object) -> bytes:
    parts = [piece(_METHODS[method], _operation(operation)) for method, operation in item.items() if method in _METHODS]
    return b"".join([*parts, *(piece(9, _parameter(parameter)) for parameter in item.get("parameters", ()))])


def document(paths: Iterable[tuple[str, Object]], definitions: Iterable[tuple[str, Object]]) -> Iterator[bytes]:
    """A field that is a message and comes more than once is put together by whoever reads it: that is what lets each path and
    each definition go out by itself."""
    yield _text(_SWAGGER, "2.0") + piece(_INFO, _text(1, INFO["title"]) + _text(2, INFO["version"]))
    for path, item in paths:
        yield piece(_PATHS, _named(2, path, _item(item)))
    for name, schema in definitions:
        yield piece(_DEFINITIONS, _named(1, name, _schema(schema)))
    (name, scheme) = next(iter(SECURITY.items()))
    key = b"".join(_text(number, scheme[field]) for number, field in enumerate(("type", "name", "in", "description"), 1))
    yield piece(_SECURITY, _named(1, name, b""))
    yield piece(_SECURITY_DEFINITIONS, _named(1, name, piece(2, key)))
