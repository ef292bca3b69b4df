"""Request bodies into objects: JSON and YAML, with the errors that upstream gives.

Enters: bytes and a media type, from the network.
Leaves: a decoded object of JSON types only, nothing shared inside it; or StatusError 400 (with the position) or 415.
Holds: timestamps stay text; YAML aliases cannot multiply beyond the bound; no float is NaN or infinite.
Bound: limits.BODY_DEPTH_MAX, limits.YAML_VALUES_MAX (the size of the body is the server's to bound).
Next: api.strict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import orjson

from edgekube import limits
from edgekube.api import json_faults
from edgekube.api.errors import StatusError, bad_request, unsupported_media_type
from edgekube.api.objects import Object

JSON_TYPE: Final = "application/json"
YAML_TYPE: Final = "application/yaml"

#: Into what upstream reads any body first.
_TYPE_OF_KIND: Final = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
_PREFIX: Final = "couldn't get version/kind; json parse error: "


def media_type(content_type: str) -> str:
    """The bare media type of a Content-Type header: ``application/json; charset=utf-8`` → ``application/json``."""
    return content_type.split(";", 1)[0].strip().lower()


def decode_body(body: bytes, content_type: str) -> Object:
    """The object in a request body. An empty Content-Type means JSON, as upstream takes it."""
    type_ = media_type(content_type)
    if type_ in ("", JSON_TYPE):
        return decode_json(body)
    if type_ == YAML_TYPE:
        return decode_yaml(body)
    raise unsupported_media_type(
        f"the body of the request was in an unknown format - accepted media types include: {JSON_TYPE}, {YAML_TYPE}"
    )


def decode_json(body: bytes) -> Object:
    """StatusError 400 with line and column when the text is no JSON object."""
    return _object(decode_json_value(body))


def _object(value: Any) -> Object:
    """null is an object that says nothing."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise bad_request(f"{_PREFIX}json: cannot unmarshal {kind_of_json(value)} into Go value of type {_TYPE_OF_KIND}")
    return value


def decode_json_value(body: bytes) -> Any:
    """Any JSON value (a JSON patch is a list)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"{_PREFIX}{json_faults.told(body) or error}") from None
    if body.count(b"{") + body.count(b"[") > limits.BODY_DEPTH_MAX and is_too_deep(value):
        raise bad_request(f"{_PREFIX}exceeded max depth of {limits.BODY_DEPTH_MAX}")
    return value


def kind_of_json(value: object) -> str:
    """A value's type as Go's decoder names it."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def is_too_deep(value: Any) -> bool:
    """True when the value nests deeper than limits.BODY_DEPTH_MAX."""
    level: list[Any] = [value]
    for _ in range(limits.BODY_DEPTH_MAX):
        children: list[Any] = []
        for container in level:
            values = container.values() if type(container) is dict else container
            children += [child for child in values if type(child) in (dict, list)]
        if not children:
            return False
        level = children
    return True


# --- fields given twice ------------------------------------------------------------------------------------------------


#: A name's last quote and its colon. Text may hold the same (``\\":``, ``":`` where it begins with a colon): as often in both.
_NAMES: Final = re.compile(rb'"\s*:').findall


class Repeated(list[str]):
    """What a text gives twice, as messages. ``lines``: of YAML, by line. ``places``: of JSON, where each field that the text has
    stands, and each of the messages; in the order of the text."""

    def __init__(self, messages: Iterable[str] = (), *, lines: bool = False, places: dict[str, int] | None = None) -> None:
        super().__init__(messages)
        self.lines = lines
        self.places = places or {}


def duplicate_fields(body: bytes, content_type: str, decoded: Any) -> Repeated:
    """What ``fieldValidation`` says about fields given twice: ``duplicate field "spec.replicas"``.

    ``decoded`` is what decode_body made of the same body. Written again it tells whether anything was lost, which spares a second
    parse: a compact body without duplicates is the same, and any that spells no character by its number has as many names."""
    if media_type(content_type) == YAML_TYPE:
        return _yaml_duplicates(body)
    return _repeated_in_json(body, decoded)


def decode_with_duplicates(body: bytes, content_type: str) -> tuple[Object, Repeated]:
    """decode_body and duplicate_fields in one; YAML is read once."""
    if media_type(content_type) == YAML_TYPE:
        value, duplicates = _load_yaml(body)
        return _object_of_yaml(value), _first_few(duplicates)
    decoded = decode_body(body, content_type)
    return decoded, _repeated_in_json(body, decoded)


def _repeated_in_json(body: bytes, decoded: Object) -> Repeated:
    again = orjson.dumps(decoded)
    if body.strip() == again or (b"\\u" not in body and len(_NAMES(body)) == len(_NAMES(again))):
        return Repeated()
    return _json_duplicates(body)


class _Pairs(list[tuple[str, Any]]):
    """The fields of one object, in the order of the text, repetitions included."""


def _json_duplicates(body: bytes) -> Repeated:
    import json  # only for bodies that are not written compactly

    found: dict[str, None] = {}  # a set that keeps its order
    places: dict[str, int] = {}
    left_characters = limits.STRICT_PLACES_CHARACTERS_MAX

    def walk(value: Any, path: str) -> None:
        nonlocal left_characters
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for key, child in value:
                if len(path) + len(key) > limits.STRICT_PATH_CHARACTERS_MAX:
                    continue
                where = f"{path}.{key}" if path else key
                if key in seen and len(found) < limits.STRICT_MESSAGES_MAX:
                    message = f'duplicate field "{where}"'
                    if message not in found:
                        found[message] = None
                        places[message] = len(places)
                seen.add(key)
                if left_characters > 0 and where not in places:
                    left_characters -= len(where)
                    places[where] = len(places)
                walk(child, where)
        elif isinstance(value, list):
            for index, child in enumerate(value):
                walk(child, f"{path}[{index}]")

    walk(json.loads(body, object_pairs_hook=_Pairs), "")
    return Repeated(found, places=places)


# --- YAML --------------------------------------------------------------------------------------------------------------

_YAML_INT: Final = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", re.ASCII)
_YAML_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII
)
_YAML_BOOL: Final = re.compile(r"y|Y|n|N|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF")
_FLOAT_EXACT_MAX: Final = 2**53


def _yaml_error(message: str) -> StatusError:
    return bad_request(f"yaml: {message}")


@cache
def _loader_class() -> Any:
    """The YAML loader: made when the first YAML body comes, because PyYAML costs 2 MB."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """JSON types only. ``duplicates`` collects what upstream says of keys given twice."""

        def __init__(self, stream: bytes) -> None:
            super().__init__(stream)
            self.duplicates: list[str] = []

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            own = {id(key) for key, _ in node.value}
            self.flatten_mapping(node)
            mapping: dict[str, Any] = {}
            seen: set[str] = set()
            for key_node, value_node in node.value:
                key = self._key(key_node)
                if id(key_node) in own:
                    if key in seen and len(self.duplicates) < limits.STRICT_MESSAGES_MAX:
                        name = key[: limits.STRICT_PATH_CHARACTERS_MAX]
                        self.duplicates.append(f'line {key_node.start_mark.line + 1}: key "{name}" already set in map')
                    seen.add(key)
                mapping[key] = self.construct_object(value_node, deep=True)
            return mapping

        def _key(self, node: Any) -> str:
            key = self.construct_object(node, deep=True)
            if isinstance(key, bool):
                return "true" if key else "false"
            if isinstance(key, str | int | float):
                return str(key)
            raise yaml.constructor.ConstructorError(None, None, f"unsupported map key {key!r}", node.start_mark)

    def map_of(loader: Any, node: Any) -> dict[str, Any]:
        made: dict[str, Any] = loader.construct_mapping(node, deep=True)
        return made

    def int_of(loader: Any, node: Any) -> int:
        text = loader.construct_scalar(node).replace("_", "")
        digits = text.lstrip("+-")
        if digits.startswith("0") and len(digits) > 1 and digits[1] not in "bBoOxX":
            number = int(digits, 8)
        else:
            number = int(digits, 0)
        return -number if text.startswith("-") else number

    def float_of(loader: Any, node: Any) -> int | float:
        text = loader.construct_scalar(node).replace("_", "").lower()
        if text.lstrip("+-") in (".inf", ".nan"):
            raise yaml.constructor.ConstructorError(None, None, f"unsupported value: {text}", node.start_mark)
        number = float(text)
        if number != number or number in (float("inf"), float("-inf")):
            raise yaml.constructor.ConstructorError(None, None, f"unsupported value: {text}", node.start_mark)
        return int(number) if number.is_integer() and abs(number) < _FLOAT_EXACT_MAX else number

    Loader.bool_values = {**base.bool_values, "y": True, "n": False}
    Loader.yaml_implicit_resolvers = {}
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(f"(?:{_YAML_BOOL.pattern})\\Z"), list("yYnNtTfFoO"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"(?:{_YAML_INT.pattern})\\Z"), list("-+0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"(?:{_YAML_FLOAT.pattern})\\Z"), list("-+0123456789."))
    Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"(?:<<)\Z"), ["<"])
    Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
    Loader.yaml_constructors = {
        tag: Loader.yaml_constructors[f"tag:yaml.org,2002:{tag.rpartition(':')[2]}"]
        for tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq")
    }
    Loader.add_constructor("tag:yaml.org,2002:map", map_of)
    Loader.add_constructor("tag:yaml.org,2002:int", int_of)
    Loader.add_constructor("tag:yaml.org,2002:float", float_of)
    Loader.add_constructor(None, base.yaml_constructors[None])
    return Loader


#: Nesting that a body may have by its looks before it is measured. The C loader recurses and ends the process near 30,000.
_YAML_UNMEASURED_DEPTH_MAX: Final = 5000


def _check_depth_of_yaml(body: bytes) -> None:
    """Each flow level needs a bracket, each block level half a column at least; only what could be deep is measured."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= _YAML_UNMEASURED_DEPTH_MAX:
        columns = max(map(len, body.splitlines()), default=0)
        if brackets + 2 * columns <= _YAML_UNMEASURED_DEPTH_MAX:
            return
    import yaml

    depth = 0
    for event in yaml.parse(body, Loader=_loader_class()):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > limits.BODY_DEPTH_MAX:
                raise _yaml_error(f"exceeded max depth of {limits.BODY_DEPTH_MAX}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _yaml_fault(body: bytes, error: Any) -> str:
    """In the words of upstream's parser, which counts lines from 0 but where its scanner met the fault, and is silent of the
    first of them."""
    import yaml

    problem = error.problem or error.context or "unknown problem parsing YAML content"
    if problem == "found undefined alias":
        rest = body.splitlines()[error.problem_mark.line][error.problem_mark.column :]
        name = re.match(rb"\*?([\w-]*)", rest)
        return f"unknown anchor '{name[1].decode() if name is not None else ''}' referenced"
    if not isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError):
        return str(problem)
    lines = [mark.line for mark in (error.context_mark, error.problem_mark) if mark is not None and mark.line]
    if not lines:
        return str(problem)
    return f"line {lines[0] + isinstance(error, yaml.scanner.ScannerError)}: {problem}"


def _load_yaml(body: bytes) -> tuple[Any, list[str]]:
    import yaml

    try:
        _check_depth_of_yaml(body)
        loader = _loader_class()(body)
        try:
            return loader.get_single_data(), loader.duplicates
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(_yaml_fault(body, error)) from None
    except yaml.reader.ReaderError as error:
        raise _yaml_error(str(error.reason)) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _yaml_error(" ".join(str(error).split())) from None
    except RecursionError:
        raise _yaml_error(f"exceeded max depth of {limits.BODY_DEPTH_MAX}") from None


def _expanded_count(value: Any, sizes: dict[int, int], depth: int) -> int:
    """How many values there are when each alias counts as a copy; shared parts are counted once and remembered."""
    if type(value) not in (dict, list):
        return 1
    key = id(value)
    known = sizes.get(key)
    if known is not None:
        if known < 0:
            raise _yaml_error("an alias may not contain itself")
        return known
    if depth > limits.BODY_DEPTH_MAX:
        raise _yaml_error(f"exceeded max depth of {limits.BODY_DEPTH_MAX}")
    sizes[key] = -1
    children = value.values() if type(value) is dict else value
    total = 1 + sum(_expanded_count(child, sizes, depth + 1) for child in children)
    sizes[key] = total
    return total


def decode_yaml(body: bytes) -> Object:
    """StatusError 400 with line and column when the text is no YAML mapping."""
    return _object_of_yaml(_load_yaml(body)[0])


def _object_of_yaml(value: Any) -> Object:
    value = _object(value)
    if _expanded_count(value, {}, 1) > limits.YAML_VALUES_MAX:
        raise _yaml_error("document contains excessive aliasing")
    try:
        # Written and read again, so that parts which aliases share become parts of their own.
        copied: Object = orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError) as error:
        raise _yaml_error(str(error)) from None
    return copied


def _yaml_duplicates(body: bytes) -> Repeated:
    return _first_few(_load_yaml(body)[1])


def _first_few(messages: list[str]) -> Repeated:
    return Repeated(list(dict.fromkeys(messages))[: limits.STRICT_MESSAGES_MAX], lines=True)
