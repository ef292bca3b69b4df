"""Label and field selectors: parse once, match objects, labels or stored bytes.

Enters: selector text from queries, LabelSelector objects from specs.
Leaves: selectors that answer yes or no.
Holds: matching stored JSON decodes only the parts that the selector names; selectors are immutable.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and .../field-selectors/.
Next: registry.list, registry.watch, controllers, scheduler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import msgspec
import orjson
from msgspec import Struct

from edgekube.api import names
from edgekube.api.errors import StatusError, bad_request
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object

# --- labels ----------------------------------------------------------------------------------------------------------

EQUALS: Final = "="
NOT_EQUALS: Final = "!="
IN: Final = "in"
NOT_IN: Final = "notin"
EXISTS: Final = "exists"
NOT_EXISTS: Final = "!"
GREATER: Final = "gt"
LESS: Final = "lt"

_INT64: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class _LabelledMetadata(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _LabelledMetadata | None = None


_decode_labelled: Final = msgspec.json.Decoder(_Labelled).decode
_NO_LABELS: Final[dict[str, str]] = {}


def labels_in(raw: bytes) -> Mapping[str, str]:
    """metadata.labels of a stored document."""
    metadata = _decode_labelled(raw).metadata
    return metadata.labels or _NO_LABELS if metadata is not None else _NO_LABELS


def _integer(text: str) -> int | None:
    return int(text) if _INT64.fullmatch(text) and -(2**63) <= int(text) < 2**63 else None


class Requirement(Struct, frozen=True):
    """One condition on one label. ``values`` is sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        number = _integer(value) if value is not None else None
        bound = _integer(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == GREATER else number < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
        sign = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


#: Operators that hold where the label is not there.
_HELD_BY_ABSENCE: Final = ("!=", "notin", "!")


@dataclass(frozen=True)
class LabelSelector:
    """All requirements must hold. No requirement: everything; ``nothing``: no object at all."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    #: Only metadata is looked at: a partial decode of stored bytes is enough.
    metadata_only = True

    @property
    def everything(self) -> bool:
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.nothing:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    def matches_raw(self, raw: bytes) -> bool:
        """As matches(), on a stored JSON document."""
        if self.nothing or not self.requirements:
            return not self.nothing
        if any(probe not in raw for probe in self._probes):
            return False
        return self.matches(labels_in(raw))

    @cached_property
    def _probes(self) -> tuple[bytes, ...]:
        """What stands in each document that can match, as orjson writes it: to look for that costs far less than to decode."""
        wanted: list[bytes] = []
        for requirement in self.requirements:
            if requirement.operator in (EQUALS, IN) and len(requirement.values) == 1:
                wanted.append(orjson.dumps(requirement.values[0]))
            if requirement.operator not in _HELD_BY_ABSENCE:
                wanted.append(orjson.dumps(requirement.key))
        return tuple(wanted)

    def exact(self, key: str) -> str | None:
        """The one value that ``key`` must have, if the selector says so."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator in (EQUALS, IN) and len(requirement.values) == 1:
                return requirement.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(nothing=True)

_TOKEN: Final = re.compile(r"[ \t\r\n]*(?:([=!(),><]+)|([^=!(),>< \t\r\n]+))")
_OPERATORS: Final = ("!=", "==", "=", "!", "(", ")", ",", ">", "<")
_OPERATOR_OF: Final = {
    "in": IN, "=": EQUALS, "==": EQUALS, ">": GREATER, "<": LESS, "notin": NOT_IN, "!=": NOT_EQUALS,
}  # fmt: skip
_EXPECTED_OPERATOR: Final = "in, notin, =, ==, !=, gt, lt"
_WORD: Final = "word"
_END: Final = ""


def _tokens(text: str) -> list[tuple[str, str]]:
    """(type, literal): words have the type "word", the end is ("", "")."""
    tokens: list[tuple[str, str]] = []
    text = text.rstrip(" \t\r\n")
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None, "every character is a symbol, a space or part of a word"
        symbols, word = match.groups()
        position = match.end()
        if word is not None:
            tokens.append((_WORD, word))
            continue
        while symbols:
            symbol = next(operator for operator in _OPERATORS if symbols.startswith(operator))
            tokens.append((symbol, symbol))
            symbols = symbols[len(symbol) :]
    tokens.append((_END, ""))
    return tokens


def _invalid_text(path: str, value: str, messages: list[str]) -> str:
    return f'{path}: Invalid value: "{value}": {"; ".join(messages)}'


class _LabelParser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            type_, literal = self._peek()
            if type_ == _END:
                return requirements
            if type_ not in (_WORD, "!"):
                raise ValueError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            type_, literal = self._next()
            if type_ == _END:
                return requirements
            if type_ != ",":
                raise ValueError(f"found '{literal}', expected: ',' or 'end of string'")
            type_, literal = self._peek()
            if type_ not in (_WORD, "!"):
                raise ValueError(f"found '{literal}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        type_, key = self._next()
        negated = type_ == "!"
        if negated:
            type_, key = self._next()
        if type_ != _WORD:
            raise ValueError(f"found '{key}', expected: identifier")
        messages = names.qualified_name(key)
        if messages:
            raise ValueError(_invalid_text("<nil>", key, messages))
        if self._peek()[0] in (_END, ","):
            return Requirement(key, NOT_EXISTS if negated else EXISTS)
        if negated:
            raise ValueError(f"found '{self._peek()[1]}', expected: ',' or 'end of string'")
        type_, literal = self._next()
        operator = _OPERATOR_OF.get(literal)
        if operator is None:
            raise ValueError(f"found '{literal}', expected: {_EXPECTED_OPERATOR}")
        values = self._values() if operator in (IN, NOT_IN) else {self._exact_value()}
        return make_requirement(key, operator, values)

    def _values(self) -> set[str]:
        type_, literal = self._next()
        if type_ != "(":
            raise ValueError(f"found '{literal}' expected: '('")
        values: set[str] = set()
        expect_value = True
        while True:
            type_, literal = self._next()
            if type_ == _WORD and expect_value:
                values.add(literal)
                expect_value = False
            elif type_ in (",", ")"):
                if expect_value:
                    values.add("")
                if type_ == ")":
                    return values
                expect_value = True
            else:
                expected = "',', ')' or identifier" if expect_value else "',' or ')'"
                raise ValueError(f"found '{literal}', expected: {expected}")

    def _exact_value(self) -> str:
        if self._peek()[0] in (_END, ","):
            return ""
        type_, literal = self._next()
        if type_ != _WORD:
            raise ValueError(f"found '{literal}', expected: identifier")
        return literal


def make_requirement(key: str, operator: str, values: Iterable[str] = ()) -> Requirement:
    """A checked requirement; ValueError in upstream's words."""
    ordered = tuple(sorted(set(values)))
    problems: list[str] = []
    messages = names.qualified_name(key)
    if messages:
        problems.append(_invalid_text("key", key, messages))
    if operator in (IN, NOT_IN) and not ordered:
        problems.append("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in (GREATER, LESS):
        problems += [
            f"values[{i}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
            for i, value in enumerate(ordered)
            if _integer(value) is None
        ]
    if operator in (EXISTS, NOT_EXISTS) and ordered:
        problems.append(f"values: Invalid value: [{' '.join(ordered)}]: values set must be empty for exists and does not exist")
    for i, value in enumerate(ordered):
        messages = names.label_value(value)
        if messages:
            problems.append(_invalid_text(f"values[{i}][{key}]", value, messages))
    if problems:
        raise ValueError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Requirement(key, operator, ordered)


def parse_label_selector(text: str) -> LabelSelector:
    """The selector of a query (``a=b,c in (d,e),!f,g>3``). StatusError BadRequest on bad text."""
    if not text:
        return EVERYTHING
    return _parse_cached(text) if len(text) <= _CACHED_CHARACTERS_MAX else _parse(text)


def _parse(text: str) -> LabelSelector:
    try:
        requirements = _LabelParser(text).parse()
    except ValueError as error:
        raise bad_request(str(error)) from None
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


#: Clients list and watch with few selectors, again and again; what is remembered stays below 0.2 MB.
_CACHED_CHARACTERS_MAX: Final = 256
_parse_cached: Final = lru_cache(maxsize=128)(_parse)

_EXPRESSION_OPERATORS: Final = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": NOT_EXISTS}


def label_selector_of(selector: Object | None) -> LabelSelector:
    """A metav1.LabelSelector object. None selects nothing, an empty one everything (metav1.LabelSelectorAsSelector).
    ValueError, in upstream's words, on a bad one."""
    if selector is None:
        return NOTHING
    requirements = [make_requirement(key, EQUALS, (value,)) for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        operator = _EXPRESSION_OPERATORS.get(expression.get("operator") or "")
        if operator is None:
            raise ValueError(f'"{expression.get("operator") or ""}" is not a valid label selector operator')
        requirements.append(make_requirement(expression.get("key") or "", operator, expression.get("values") or ()))
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def label_selector_of_set(labels: Mapping[str, str] | None) -> LabelSelector:
    """A plain map, as in Service and ReplicationController specs: every pair must match; no pair selects everything."""
    return LabelSelector(tuple(Requirement(key, EQUALS, (value,)) for key, value in sorted((labels or {}).items())))


# --- fields ----------------------------------------------------------------------------------------------------------

#: Reads the selectable text out of a decoded object, whole (dicts) or partial (structs).
_Read: TypeAlias = Callable[[Any], str]
_Path: TypeAlias = tuple[str, ...]


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    """The value at a path of a decoded object, or of a partial decode of one."""
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
        if value is None:
            return None
    return value


def _text(*path: str) -> _Read:
    def read(obj: Any) -> str:
        value = _at(obj, path)
        return "" if value is None else str(value)

    return read


def _flag(*path: str) -> _Read:
    return lambda obj: "true" if _at(obj, path) else "false"


def _count(*path: str) -> _Read:
    return lambda obj: str(_at(obj, path) or 0)


def _pod_ip(obj: Any) -> str:
    ips = _at(obj, ("status", "podIPs"))
    if ips:
        return str(ips[0].get("ip") or "")
    return str(_at(obj, ("status", "podIP")) or "")


_EVENT_SOURCES: Final = (
    ("source", "component"),
    ("deprecatedSource", "component"),
    ("reportingComponent",),
    ("reportingController",),
)


def _event_source(obj: Any) -> str:
    """The old field, or what newer recorders write instead of it."""
    for path in _EVENT_SOURCES:
        value = _at(obj, path)
        if value:
            return str(value)
    return ""


class _Field(Struct, frozen=True):
    read: _Read
    #: Paths that reading needs: the partial decode takes these and no more.
    needs: tuple[_Path, ...]
    #: Of a custom kind: what lies on the way may be anything, so the object is decoded whole.
    custom: bool = False


def _plain(*labels: str) -> dict[str, _Field]:
    return {label: _Field(_text(*label.split(".")), (tuple(label.split(".")),)) for label in labels}


def _flag_field(*path: str) -> _Field:
    return _Field(_flag(*path), (path,))


def _count_field(*path: str) -> _Field:
    return _Field(_count(*path), (path,))


_METADATA: Final = _plain("metadata.name", "metadata.namespace")
_REFERENCE: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_SOURCE: Final = _Field(_event_source, _EVENT_SOURCES)
_POD_IP: Final = _Field(_pod_ip, (("status", "podIP"), ("status", "podIPs")))

#: (group, kind) -> what may be selected besides the name and the namespace.
_SELECTABLE: Final[dict[tuple[str, str], dict[str, _Field]]] = {
    ("", "Pod"): {
        **_plain("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        **_plain("status.phase", "status.nominatedNodeName"),
        "spec.host": _Field(_text("spec", "nodeName"), (("spec", "nodeName"),)),
        "spec.hostNetwork": _flag_field("spec", "hostNetwork"),
        "status.podIP": _POD_IP,
        "status.podIPs": _POD_IP,
    },
    ("", "Node"): {"spec.unschedulable": _flag_field("spec", "unschedulable")},
    ("", "Namespace"): _plain("status.phase"),
    ("", "Secret"): _plain("type"),
    ("", "Service"): _plain("spec.clusterIP", "spec.type"),
    ("", "ReplicationController"): {"status.replicas": _count_field("status", "replicas")},
    ("", "Event"): {
        **_plain(*(f"involvedObject.{part}" for part in _REFERENCE)),
        **_plain("reason", "type"),
        "reportingComponent": _Field(_text("reportingComponent"), (("reportingComponent",),)),
        "source": _EVENT_SOURCE,
    },
    ("events.k8s.io", "Event"): {
        **_plain(*(f"regarding.{part}" for part in _REFERENCE)),
        **_plain("reason", "type", "reportingController"),
    },
    ("apps", "ReplicaSet"): {"status.replicas": _count_field("status", "replicas")},
    ("batch", "Job"): {"status.successful": _count_field("status", "succeeded")},
    ("certificates.k8s.io", "CertificateSigningRequest"): _plain("spec.signerName"),
    ("resource.k8s.io", "ResourceSlice"): _plain("spec.driver", "spec.nodeName"),
}


def selectable_fields(kind: Kind) -> tuple[str, ...]:
    """Field labels that lists and watches of the kind take."""
    return (*_METADATA, *_SELECTABLE.get((kind.group, kind.kind), {}))


class _NamedMetadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _NamedMetadata


_decode_named: Final = msgspec.json.Decoder(_Named).decode


def _part_type(paths: Iterable[_Path]) -> Any:
    """A struct with the fields that the paths go through; whatever lies at a path's end is decoded whole."""
    steps: dict[str, list[_Path]] = {}
    for path in paths:
        steps.setdefault(path[0], []).append(path[1:])
    fields = [(step, Any if () in rests else _part_type(rests) | None, None) for step, rests in sorted(steps.items())]
    return msgspec.defstruct("Part", fields)


@lru_cache(maxsize=64)
def _partial_decoder(paths: frozenset[_Path]) -> Callable[[bytes], Any]:
    """Decodes what lies at the paths of a document and skips the rest."""
    return msgspec.json.Decoder(_part_type(paths)).decode


class _Term(Struct, frozen=True):
    label: str
    value: str
    equal: bool
    field: _Field


class FieldSelector(Struct, frozen=True):
    """All terms must hold."""

    terms: tuple[_Term, ...] = ()

    @property
    def everything(self) -> bool:
        return not self.terms

    @property
    def metadata_only(self) -> bool:
        """True when name and namespace decide: the store's key is enough."""
        return all(term.label in _METADATA for term in self.terms)

    def exact(self, field: str) -> str | None:
        """The value that ``field`` must have, if the selector says so: ``exact("metadata.name")``."""
        return next((term.value for term in self.terms if term.equal and term.label == field), None)

    def matches(self, obj: Object) -> bool:
        return self._matches(obj)

    def _matches(self, obj: Any) -> bool:
        return all((term.field.read(obj) == term.value) is term.equal for term in self.terms)

    def matches_name(self, namespace: str, name: str) -> bool:
        """As matches(), from the store's key alone; only when metadata_only."""
        return self.matches({"metadata": {"namespace": namespace, "name": name}})

    def matches_raw(self, raw: bytes) -> bool:
        """As matches(), on a stored JSON document."""
        if not self.terms:
            return True
        if self.metadata_only:
            metadata = _decode_named(raw).metadata
            return self.matches_name(metadata.namespace, metadata.name)
        if any(term.field.custom for term in self.terms):
            return self._matches(msgspec.json.decode(raw))
        return self._matches(_partial_decoder(frozenset(path for term in self.terms for path in term.field.needs))(raw))

    def __str__(self) -> str:
        return ",".join(f"{term.label}{'=' if term.equal else '!='}{term.value}" for term in self.terms)


def _unsupported(kind: Kind, label: str) -> StatusError:
    if kind.group == "batch" and kind.kind == "Job":
        return bad_request(f'field label "{label}" not supported for Job')
    if (kind.group, kind.kind) == ("resource.k8s.io", "ResourceSlice"):
        return bad_request(f"field label not supported for {kind.api_version}, Kind={kind.kind}: {label}")
    if (kind.group, kind.kind) in _SELECTABLE and (kind.group, kind.kind) != ("apps", "ReplicaSet"):
        return bad_request(f"field label not supported: {label}")
    if kind.custom and kind.selectable_fields:
        return bad_request(f"field label not supported: {label}")
    return bad_request(f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"')


_TERM: Final = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)


def _split_terms(text: str) -> list[str]:
    """At commas that no backslash escapes."""
    return re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL)


def _unescape(value: str) -> str:
    result: list[str] = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if escaped not in ("\\", ",", "="):
                raise bad_request(f"invalid field selector: invalid escape sequence: \\{escaped}")
            result.append(escaped)
        elif character in (",", "="):
            raise bad_request(f"invalid field selector: unescaped character in value: {character}")
        else:
            result.append(character)
    return "".join(result)


def _custom_field(label: str) -> _Field:
    path = tuple(label.split("."))

    def read(obj: Any) -> str:
        value = obj
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    return _Field(read, (path,), custom=True)


def parse_field_selector(kind: Kind, text: str) -> FieldSelector:
    """The selector of a query (``status.phase=Running,spec.nodeName!=pi``). StatusError BadRequest on bad text or fields."""
    terms: list[_Term] = []
    selectable = _SELECTABLE.get((kind.group, kind.kind), {})
    for part in _split_terms(text):
        match = _TERM.match(part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        label, operator, value = match.groups()
        value = _unescape(value)
        field = _METADATA.get(label) or selectable.get(label)
        if field is None and label in kind.selectable_fields:
            field = _custom_field(label)
        if field is None:
            raise _unsupported(kind, label)
        terms.append(_Term(label, value, operator != "!=", field))
    return FieldSelector(tuple(terms))


def pinned_fields(text: str) -> tuple[tuple[str, str], ...]:
    """The fields that a selector ties to one value each, whatever the kind: what authorization may rely on. None when the text is
    no selector, for then the request fails."""
    pinned: list[tuple[str, str]] = []
    for part in _split_terms(text):
        match = _TERM.match(part)
        if match is None:
            return ()
        label, operator, value = match.groups()
        if operator != "!=":
            try:
                pinned.append((label, _unescape(value)))
            except StatusError:
                return ()
    return tuple(pinned)
