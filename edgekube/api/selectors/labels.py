"""What a label selector asks for: requirements on labels, matched against labels or stored bytes.

Enters: LabelSelector objects from specs, plain maps, requirements from a query's text (label_text).
Leaves: selectors that answer yes or no.
Holds: matching stored JSON decodes no more than metadata.labels, and that only where the document has the words it must have.
Next: registry.list, registry.watch, controllers, scheduler.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec
import orjson
from msgspec import Struct

from edgekube.api import names
from edgekube.api.objects import Object

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


def invalid_text(path: str, value: str, messages: list[str]) -> str:
    return f'{path}: Invalid value: "{value}": {"; ".join(messages)}'


def make_requirement(key: str, operator: str, values: Iterable[str] = ()) -> Requirement:
    """A checked requirement; ValueError in upstream's words."""
    ordered = tuple(sorted(set(values)))
    problems: list[str] = []
    messages = names.qualified_name(key)
    if messages:
        problems.append(invalid_text("key", key, messages))
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
            problems.append(invalid_text(f"values[{i}][{key}]", value, messages))
    if problems:
        raise ValueError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Requirement(key, operator, ordered)


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
