"""Hold a value against a schema: every keyword of OpenAPI v3 that a CustomResourceDefinition may use.

Enters: a value, its schema, and on update the value that was there.
Leaves: causes, in the words of kube-apiserver.
Holds: what is wrong and was so before is not held against an update (ratcheting): an unchanged part, found again by its field
or by the keys of its list-map, is not reported. Nothing is changed.
Bound: limits.VALIDATION_CAUSES_MAX causes; the work is that of the schema times that of the object.
Source: kube-openapi pkg/validation/validate; apiextensions-apiserver pkg/apiserver/validation (ratcheting).
Next: api.custom.lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import orjson

from edgekube import limits
from edgekube.api.custom import formats
from edgekube.api.custom.numbers import check_number
from edgekube.api.custom.schema import Junctors, Schema
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.patterns import PatternError, compile_pattern
from edgekube.api.validation import causes

TYPE_INVALID: Final = "FieldValueTypeInvalid"
#: The field of what upstream cannot place.
NOWHERE: Final = "<nil>"
#: No value that could be compared with: created, or moved within a list that has no keys.
NONE: Final = object()

_TYPES: Final[dict[type, str]] = {
    bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object", type(None): "null",
}  # fmt: skip

#: The path that the value's place has within the object, None for what has none; the reason; the message.
Fault: TypeAlias = tuple[str | None, str, str]


class _Enough(Exception):
    """More faults than anybody reads."""


class _Faults(list[Fault]):
    def __init__(self) -> None:
        super().__init__()
        self._characters = 0

    def append(self, fault: Fault) -> None:
        super().append(fault)
        self._characters += len(fault[0] or "") + len(fault[2])
        if len(self) >= limits.VALIDATION_CAUSES_MAX or self._characters > limits.VALIDATION_CAUSES_CHARACTERS_MAX:
            raise _Enough

    def extend(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.append(fault)


def check(schema: Schema, value: Any, old: Any = NONE, prefix: str = "") -> list[Cause]:
    """``prefix``: where the value sits when it is not the whole object (``status``)."""
    faults = _Faults()
    try:
        _ratcheted(schema, value, old, "", faults)
    except _Enough:
        pass
    return [Cause(reason, message, _placed(prefix, path)) for path, reason, message in faults]


def _placed(prefix: str, path: str | None) -> str:
    name = (path or "").removeprefix(".")
    if name:
        return f"{prefix}.{name}" if prefix else name
    return prefix or NOWHERE


def same(a: Any, b: Any) -> bool:
    """Deep equality that tells 1 from true, as JSON does."""
    return bool(a == b) and orjson.dumps(a, option=orjson.OPT_SORT_KEYS) == orjson.dumps(b, option=orjson.OPT_SORT_KEYS)


def _ratcheted(schema: Schema, value: Any, old: Any, path: str, faults: list[Fault]) -> int:
    if old is NONE:
        return _check(schema, value, old, path, faults)
    found: _Faults = _Faults()
    try:
        matches = _check(schema, value, old, path, found)
    except _Enough:
        matches = 0
    if found and not same(value, old):
        faults.extend(found)
    return matches


def _check(schema: Schema, value: Any, old: Any, path: str, faults: list[Fault]) -> int:
    """How much of the schema was met: of several alternatives the one that is told about is the one that came nearest."""
    matches = 1
    kind = _TYPES[type(value)]
    if schema.types or schema.format:
        passed = kind in schema.types or _is_of_type(schema, value, kind)
        matches += passed
        if not passed:
            message = f"{path} in body must be of type {','.join(schema.types)}: {causes.quoted(kind)}"
            faults.append((path, TYPE_INVALID, f"Invalid value: {causes.quoted(kind)}: {message}"))
    keywords = schema.keywords
    if value is None:
        if keywords is not None:
            _check_enum(keywords, value, path, faults)
        return matches
    matches += 3
    if schema.junctors is not None:
        matches += _check_junctors(schema.junctors, value, old, path, faults)
    if kind == "object":
        matches += 1 + _check_object(schema, value, old, path, faults)
    elif kind == "array":
        matches += 2 + _check_list(schema, value, old, path, faults)
    elif kind == "string":
        matches += 1
        if keywords is not None:
            _check_string(keywords, value, path, faults)
        if schema.format and not formats.is_of(schema.format, value) and "integer" not in schema.types:
            message = f"{path} in body must be of type {schema.format}: {causes.quoted(value)}"
            faults.append((path, TYPE_INVALID, f"Invalid value: {causes.quoted(value)}: {message}"))
    elif kind != "boolean":
        matches += 2
        for field, fault in check_number(schema, value, path):
            faults.append((field, causes.INVALID, fault))
    if keywords is not None:
        _check_enum(keywords, value, path, faults)
    return matches


def _is_of_type(schema: Schema, value: Any, kind: str) -> bool:
    types = schema.types
    if not types:
        return True
    if kind == "null":
        return schema.nullable
    if kind == "number":
        return "integer" in types and value.is_integer()
    return kind == "integer" and "number" in types


def _check_enum(keywords: Object, value: Any, path: str, faults: list[Fault]) -> None:
    allowed = keywords.get("enum")
    if not allowed or any(same(one, value) or _numbers_equal(one, value) for one in allowed):
        return
    shown = [one if isinstance(one, str) else orjson.dumps(one).decode() for one in allowed]
    supported = ", ".join(causes.quoted(one) for one in shown)
    text = "null" if value is None else causes.shown(value)
    faults.append((path, causes.NOT_SUPPORTED, f"Unsupported value: {text}: supported values: {supported}"))


def _numbers_equal(a: Any, b: Any) -> bool:
    return type(a) in (int, float) and type(b) in (int, float) and a == b


def _check_string(keywords: Object, value: str, path: str, faults: list[Fault]) -> None:
    most, least, pattern = keywords.get("maxLength"), keywords.get("minLength"), keywords.get("pattern")
    if most is not None and len(value) > most:
        faults.append((path, causes.TOO_LONG, f"Too long: may not be more than {most} bytes"))
    elif least is not None and len(value) < least:
        message = f"{path} in body should be at least {least} chars long"
        faults.append((path, causes.INVALID, f"Invalid value: {causes.quoted(value)}: {message}"))
    elif pattern:
        try:
            if compile_pattern(pattern).matches(value):
                return
            wanted = pattern
        except PatternError as error:
            wanted = f"{pattern}, but pattern is invalid: {error}"
        message = f"{path} in body should match '{wanted}'"
        faults.append((path, causes.INVALID, f"Invalid value: {causes.quoted(value)}: {message}"))


def _check_object(schema: Schema, value: Object, old: Any, path: str, faults: list[Fault]) -> int:
    keywords = schema.keywords
    if keywords is not None:
        _check_count(len(value), keywords.get("minProperties"), keywords.get("maxProperties"), "properties", path, faults)
    matches = 0
    is_old = type(old) is dict
    for key, item in value.items():
        below = schema.properties.get(key)
        if below is None:
            below = schema.additional
            if below is None:
                continue
            field = f"{path}.{key}"
        else:
            field = f"{path}.{key}" if path else key
        before = old.get(key, NONE) if is_old and (path or key not in ("apiVersion", "kind")) else NONE
        matches += _ratcheted(below, item, before, field, faults)
    faults.extend((f"{path}.{key}", causes.REQUIRED, "Required value") for key in schema.required if key not in value)
    return matches


def _check_count(count: int, least: int | None, most: int | None, of: str, path: str, faults: list[Fault]) -> None:
    if least is not None and count < least:
        faults.append((path, causes.INVALID, f"Invalid value: {count}: {path} in body should have at least {least} {of}"))
    if most is not None and count > most:
        faults.append((path, causes.TOO_MANY, f"Too many: {count}: must have at most {most} items"))


def _check_list(schema: Schema, value: list[Any], old: Any, path: str, faults: list[Fault]) -> int:
    matches = 0
    if schema.items is not None:
        earlier = _by_key(schema, old) if type(old) is list and schema.list_type == "map" else None
        for index, item in enumerate(value):
            before = NONE
            if earlier is not None and type(item) is dict:
                before = earlier.get(_key(schema, item), NONE)
            matches += _ratcheted(schema.items, item, before, f"{path}[{index}]", faults)
    keywords = schema.keywords
    if keywords is not None:
        _check_count(len(value), keywords.get("minItems"), keywords.get("maxItems"), "items", path, faults)
        if keywords.get("uniqueItems"):
            texts = {orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in value}
            if len(texts) != len(value):
                faults.append((path, causes.INVALID, f'Invalid value: "": {path} in body shouldn\'t contain duplicates'))
    return matches


def _key(schema: Schema, item: Object) -> bytes:
    return orjson.dumps([item.get(key) for key in schema.list_keys])


def _by_key(schema: Schema, items: list[Any]) -> dict[bytes, Any]:
    return {_key(schema, item): item for item in items if type(item) is dict}


def _check_junctors(junctors: Junctors, value: Any, old: Any, path: str, faults: list[Fault]) -> int:
    matches = 0
    if junctors.any_of:
        matches += _check_any_of(junctors.any_of, value, old, path, faults)
    if junctors.one_of:
        matches += _check_one_of(junctors.one_of, value, old, path, faults)
    if junctors.all_of:
        valid = 0
        for schema in junctors.all_of:
            found: list[Fault] = []
            matches += _check(schema, value, old, path, found)
            valid += not found
            faults.extend(found)
        if valid != len(junctors.all_of):
            none = "" if valid else ". None validated"
            faults.append(_composite(f"{causes.quoted(path)} must validate all the schemas (allOf){none}"))
    if junctors.not_ is not None:
        refused: list[Fault] = []
        _check(junctors.not_, value, old, path, refused)
        if not refused:
            faults.append(_composite(f"{causes.quoted(path)} must not validate the schema (not)"))
    return matches


def _composite(message: str) -> Fault:
    return None, causes.INVALID, f'Invalid value: "": {message}'


def _check_any_of(schemas: tuple[Schema, ...], value: Any, old: Any, path: str, faults: list[Fault]) -> int:
    best: list[Fault] = []
    best_matches = -1
    for schema in schemas:
        found: list[Fault] = []
        matches = _check(schema, value, old, path, found)
        if not found:
            return matches
        if matches > best_matches:
            best, best_matches = found, matches
    faults.append(_composite(f"{causes.quoted(path)} must validate at least one schema (anyOf)"))
    faults.extend(best)
    return best_matches


def _check_one_of(schemas: tuple[Schema, ...], value: Any, old: Any, path: str, faults: list[Fault]) -> int:
    best: list[Fault] = []
    best_matches, first_matches, valid = -1, 0, 0
    for schema in schemas:
        found: list[Fault] = []
        matches = _check(schema, value, old, path, found)
        if not found:
            first_matches = first_matches or matches
            valid += 1
        elif not valid and matches > best_matches:
            best, best_matches = found, matches
    if valid == 1:
        return first_matches
    how = f"Found {valid} valid alternatives" if valid else "Found none valid"
    faults.append(_composite(f"{causes.quoted(path)} must validate one and only one schema (oneOf). {how}"))
    if valid:
        return 0
    faults.extend(best)
    return best_matches
