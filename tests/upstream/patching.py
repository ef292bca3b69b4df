"""Patches of every type, and apply, of what is there; the managed fields with them."""

from __future__ import annotations

from collections.abc import Iterator
from re import Pattern
from typing import Any, Final

import yaml

from edgekube.api.kinds import Kind
from tests.upstream.asking import Request
from tests.upstream.comparing import differences
from tests.upstream.corpus import kind_of
from tests.upstream.deeper import deeper_rows
from tests.upstream.questions import NAMESPACE, Pair, Question, everything, path_of

_JSON: Final = "application/json-patch+json"
_MERGE: Final = "application/merge-patch+json"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
#: For any object.
_GENERAL: Final[tuple[tuple[str, Any], ...]] = (
    (_MERGE, {"metadata": {"labels": {"x": "y"}}}),
    (_MERGE, {"metadata": {"labels": None, "annotations": {"a": None, "b": "c"}}}),
    (_MERGE, {"metadata": {"name": "other"}}),
    (_MERGE, {"metadata": {"uid": "other"}}),
    (_MERGE, {"metadata": {"resourceVersion": "1"}}),
    (_MERGE, {"metadata": {"finalizers": ["bogus"]}}),
    (_MERGE, {"metadata": {"finalizers": ["example.com/x"]}}),
    (_MERGE, {"metadata": {"finalizers": None}}),
    (_MERGE, {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]}}),
    (_MERGE, {"metadata": {"ownerReferences": [{"kind": "Pod"}]}}),
    (_MERGE, {"metadata": {"ownerReferences": None}}),
    (_MERGE, {"metadata": {"labels": {"-bad": "y"}}}),
    (_MERGE, {"metadata": {"annotations": {"a": 5}}}),
    (_MERGE, {"metadata": {"generateName": "x-", "generation": 7, "creationTimestamp": None}}),
    (_MERGE, {"bogus": 1}),
    (_MERGE, {"kind": "Bogus"}),
    (_MERGE, []),
    (_MERGE, b"{"),
    (_JSON, [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]),
    (_JSON, [{"op": "test", "path": "/metadata/name", "value": "nope"}]),
    (_JSON, [{"op": "remove", "path": "/metadata/bogus"}]),
    (_JSON, [{"op": "replace", "path": "/metadata/labels/x", "value": "z"}]),
    (_JSON, [{"op": "bogus", "path": "/metadata"}]),
    (_JSON, [{"op": "move", "from": "/metadata/labels", "path": "/metadata/annotations"}]),
    (_JSON, [{"op": "copy", "from": "/metadata/name", "path": "/metadata/annotations"}]),
    (_JSON, [{"op": "add", "path": "metadata", "value": 1}]),
    (_JSON, {"op": "add"}),
    (_JSON, b"["),
    (_STRATEGIC, {"metadata": {"labels": {"$patch": "replace", "only": "this"}}}),
    (_STRATEGIC, {"metadata": {"labels": {"$patch": "delete"}}}),
    (_STRATEGIC, {"metadata": {"$retainKeys": ["name"]}}),
    (_STRATEGIC, {"metadata": {"finalizers": ["example.com/y"], "$deleteFromPrimitiveList/finalizers": ["example.com/x"]}}),
    (_STRATEGIC, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/y"]}}),
    (_STRATEGIC, {"$patch": "bogus"}),
    (_STRATEGIC, []),
    ("application/bogus", {}),
)


def patches(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    """Each object patched in a row, each patch on what the one before left; on a new object once the two differ."""
    for kind, obj in everything(kinds, version, manifests=False):
        name = str((obj.get("metadata") or {}).get("name") or "")
        row = _Row(pair, kind, name, obj)
        if not name or not row.make():
            continue
        about = f"{kind.kind}.{kind.version}"
        for content_type, body in _GENERAL:
            for query in ("fieldManager=strict&fieldValidation=Strict&dryRun=All", "fieldManager=general"):
                told = f"{content_type} {body!r}"
                request = Request("PATCH", path_of(kind, name, query), body, content_type)
                yield row.ask(f"{about} {told} {query}", "patch", request)
        row.make()
        for what, request in _applied(path_of(kind, name), obj):
            yield row.ask(f"{about} apply {what}", f"{what} {NAMESPACE}", request)
        yield row.ask(f"{about} end", "get", Request("GET", path_of(kind, name)))
        row.delete()


def deeper(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    """Fields that kinds have of their own, each patch on what the one before left."""
    for obj, asked in deeper_rows():
        kind = kind_of(obj)
        if kind is None or not kinds.search(kind.kind):
            continue
        name = obj["metadata"]["name"]
        row = _Row(pair, kind, name, obj)
        if not row.make():
            continue
        for patch in asked:
            request = Request("PATCH", path_of(kind, name, patch.query, patch.subresource), patch.body, patch.content_type)
            about = f"{kind.kind}.{kind.version} {patch.subresource} {patch.content_type} {patch.body!r} {patch.query}"
            yield row.ask(about, "patch", request)
        row.delete()


class _Row:
    """One object, asked about again and again: what differs of it is told once."""

    def __init__(self, pair: Pair, kind: Kind, name: str, obj: dict[str, Any]) -> None:
        self._pair, self._kind, self._name, self._obj = pair, kind, name, obj
        self._known: frozenset[str] = frozenset()

    def make(self) -> bool:
        self.delete()
        made = self._pair.both(Request("POST", path_of(self._kind), self._obj))
        self._known |= frozenset(differences(*made))
        return all(answer.status < 300 for answer in made)

    def delete(self) -> None:
        bare = Request("PATCH", path_of(self._kind, self._name), {"metadata": {"finalizers": None}}, _MERGE)
        self._pair.both(bare)
        self._pair.both(Request("DELETE", path_of(self._kind, self._name, "gracePeriodSeconds=0")))
        self._pair.both(bare)

    def ask(self, about: str, told: str, request: Request) -> Question:
        question = self._pair.ask(about, told, request, self._known)
        found = frozenset(differences(*question.answers))
        is_status = question.answers[0].status != question.answers[1].status
        is_written = any(answer.status < 300 for answer in question.answers)
        if is_status or (is_written and found - self._known):
            self.make()
        self._known |= found
        return question


def _applied(path: str, obj: dict[str, Any]) -> Iterator[tuple[str, Request]]:
    bare = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {"name": obj["metadata"]["name"]}}
    labelled = {**bare, "metadata": {**bare["metadata"], "labels": {"x": "applied"}}}
    for what, body, query in (
        ("whole", obj, "fieldManager=one"),
        ("whole by force", obj, "fieldManager=one&force=true"),
        ("label conflict", labelled, "fieldManager=two"),
        ("label by force", labelled, "fieldManager=two&force=true"),
        ("given up", bare, "fieldManager=two"),
        ("nothing left", bare, "fieldManager=one&force=true"),
        ("no manager", bare, ""),
        ("other name", {**bare, "metadata": {"name": "other"}}, "fieldManager=one"),
        ("no kind", {"metadata": bare["metadata"]}, "fieldManager=one"),
        ("managed fields", {**bare, "metadata": {**bare["metadata"], "managedFields": [{"manager": "x"}]}}, "fieldManager=one"),
        ("unknown", {**bare, "bogus": 1}, "fieldManager=one"),
        ("no YAML", b"a: [", "fieldManager=one"),
    ):
        data = body if isinstance(body, bytes) else yaml.safe_dump(body).encode()
        question = f"{path}?{query}&dryRun=All" if what == "nothing left" else f"{path}?{query}"
        yield what, Request("PATCH", question, data, _APPLY)
