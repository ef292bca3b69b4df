"""Field selectors: terms on fields of a kind, matched against objects, keys or stored bytes.

Enters: the text of a query (``status.phase=Running,spec.nodeName!=pi``) and the kind that it is about.
Leaves: a FieldSelector; what a selector pins, whatever the kind.
Holds: matching stored JSON decodes only the parts that the selector names.
Next: registry.list, registry.watch; api.selectors.kind_fields knows the fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from edgekube.api.errors import StatusError, bad_request
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.selectors.kind_fields import METADATA, Field, Path, field_of


class _NamedMetadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _NamedMetadata


_decode_named: Final = msgspec.json.Decoder(_Named).decode


def _part_type(paths: Iterable[Path]) -> Any:
    """A struct with the fields that the paths go through; whatever lies at a path's end is decoded whole."""
    steps: dict[str, list[Path]] = {}
    for path in paths:
        steps.setdefault(path[0], []).append(path[1:])
    fields = [(step, Any if () in rests else _part_type(rests) | None, None) for step, rests in sorted(steps.items())]
    return msgspec.defstruct("Part", fields)


@lru_cache(maxsize=64)
def _partial_decoder(paths: frozenset[Path]) -> Callable[[bytes], Any]:
    """Decodes what lies at the paths of a document and skips the rest."""
    return msgspec.json.Decoder(_part_type(paths)).decode


class _Term(Struct, frozen=True):
    label: str
    value: str
    equal: bool
    field: Field


class FieldSelector(Struct, frozen=True):
    """All terms must hold."""

    terms: tuple[_Term, ...] = ()

    @property
    def everything(self) -> bool:
        return not self.terms

    @property
    def metadata_only(self) -> bool:
        """True when name and namespace decide: the store's key is enough."""
        return all(term.label in METADATA for term in self.terms)

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


def parse_field_selector(kind: Kind, text: str) -> FieldSelector:
    """The selector of a query (``status.phase=Running,spec.nodeName!=pi``). StatusError BadRequest on bad text or fields."""
    terms: list[_Term] = []
    for part in _split_terms(text):
        match = _TERM.match(part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        label, operator, value = match.groups()
        value = _unescape(value)
        terms.append(_Term(label, value, operator != "!=", field_of(kind, label)))
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
