"""Sets of questions.

Enters: a Pair of clients.
Leaves: Questions with both answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import Pattern
from typing import Any, Final

from edgekube.api.kinds import Kind
from tests.conformance.building import module_directory
from tests.upstream.asking import Answer, Client, Request
from tests.upstream.corpus import additions, bases, kind_of, mutations, samples, upstreams_manifests

NAMESPACE: Final = "side"
#: Requests one after the other, and what they are about.
TALKS: Final = Path(__file__).parent / "talks"


@dataclass(frozen=True)
class Question:
    """``about``: what differences are gathered under. ``told``: how to ask it again. ``known``: differences that are there
    because of an earlier question, and were told with it."""

    about: str
    told: str
    answers: tuple[Answer, Answer]
    known: frozenset[str] = frozenset()


class Pair:
    def __init__(self, theirs: Client, ours: Client) -> None:
        self.theirs, self.ours = theirs, ours

    def both(self, request: Request) -> tuple[Answer, Answer]:
        return self.theirs.put(request), self.ours.put(request)

    def ask(self, about: str, told: str, request: Request, known: frozenset[str] = frozenset()) -> Question:
        body = (
            ""
            if request.body is None
            else json.dumps(request.body)
            if not isinstance(request.body, bytes)
            else repr(request.body)
        )
        return Question(about, f"{told} · {request.method} {request.path} {body}", self.both(request), known)


def prepare(pair: Pair) -> None:
    """What controllers make where they run: here they run on one side only."""
    for name in (NAMESPACE, "default"):
        for client in (pair.theirs, pair.ours):
            client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            account = {"metadata": {"name": "default"}}
            client.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)


def _of(obj: dict[str, Any], kinds: Pattern[str]) -> tuple[Kind, dict[str, Any]] | None:
    kind = kind_of(obj)
    if kind is None or not kinds.search(kind.kind):
        return None
    metadata = obj.get("metadata")
    if kind.namespaced and isinstance(metadata, dict):
        obj = {**obj, "metadata": {key: value for key, value in metadata.items() if key != "namespace"}}
    return kind, obj


def path_of(kind: Kind, name: str = "", query: str = "", subresource: str = "") -> str:
    path = kind.path(NAMESPACE if kind.namespaced else "", name, subresource)
    return f"{path}?{query}" if query else path


def everything(kinds: Pattern[str], version: str, *, manifests: bool) -> Iterator[tuple[Kind, dict[str, Any]]]:
    seen = set()
    sources = [*samples(), *bases(), *(upstreams_manifests(module_directory(version)) if manifests else ())]
    for obj in sources:
        told = json.dumps(obj, sort_keys=True)
        if told not in seen and (made := _of(obj, kinds)) is not None:
            seen.add(told)
            yield made


def create(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    """Each object as it is: made, read in each form, deleted."""
    for kind, obj in everything(kinds, version, manifests=True):
        name = str((obj.get("metadata") or {}).get("name") or "")
        made = pair.ask(f"{kind.kind} create", "create", Request("POST", path_of(kind), obj))
        yield made
        if made.answers[0].status >= 300 and made.answers[1].status >= 300:
            continue
        if name:
            table = "application/json;as=Table;v=v1;g=meta.k8s.io"
            yield pair.ask(f"{kind.kind} table", "table", Request("GET", path_of(kind, name), accept=table))
            yield pair.ask(f"{kind.kind} again", "create again", Request("POST", path_of(kind), obj))
            # What it answers depends on how far control loops are, which run on one side only.
            pair.both(Request("DELETE", path_of(kind, name, "gracePeriodSeconds=0")))


def wrong(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    """Each object with each place changed, not stored."""
    for kind, obj in everything(kinds, version, manifests=False):
        for what, (body,) in mutations(obj):
            yield _made(pair, kind, what, body)


def _made(pair: Pair, kind: Kind, what: str, body: Any) -> Question:
    request = Request("POST", path_of(kind, query="dryRun=All&fieldValidation=Strict"), body)
    return pair.ask(f"{kind.kind}.{kind.version} {' '.join(what.split()[:1])}", what, request)


def added(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    """Each object with each field that it has not, not stored."""
    for kind, obj in everything(kinds, version, manifests=False):
        for what, body in additions(kind, obj):
            yield _made(pair, kind, what, body)


def _sendable(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "metadata": {key: value for key, value in stored["metadata"].items() if key != "managedFields"}}


def update(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    """What is there, with each place changed that was sent, not stored."""
    for kind, obj in everything(kinds, version, manifests=False):
        name = str((obj.get("metadata") or {}).get("name") or "")
        made = pair.both(Request("POST", path_of(kind), obj))
        if not name or any(answer.status >= 300 for answer in made):
            continue
        stored = [_sendable(answer.json) for answer in made]
        for what, (body, *bodies) in mutations(obj, *stored):
            path = path_of(kind, name, "dryRun=All&fieldValidation=Strict")
            about, told = f"{kind.kind}.{kind.version} update {' '.join(what.split()[:1])}", json.dumps(body)
            theirs, ours = (Request("PUT", path, each) for each in bodies)
            answers = pair.theirs.put(theirs), pair.ours.put(ours)
            yield Question(about, f"{what} · PUT {path} {told}", answers)
        pair.both(Request("DELETE", path_of(kind, name, "gracePeriodSeconds=0")))
