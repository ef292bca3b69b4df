"""Objects of every kind that are almost right, created, replaced, patched and applied."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.api.kinds import Kind
from edgekube.api.schemas import definition_of
from tests.fuzz.effort import effort
from tests.fuzz.mutating import mutated
from tests.fuzz.serving import Fuzzed
from tests.server.samples import STORED, sample_of

SEEDS = st.integers(0, 2**32 - 1)
PATCHES = ("merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml", "json-patch+json")
#: Half of what is sent stays, so that the next body meets what the last one left.
DRY = ("", "All")


def operations_of(body: Any, source: random.Random) -> list[Any]:
    """A JSON patch that puts parts of ``body`` somewhere."""
    paths = [
        "/metadata/labels",
        "/spec",
        "/metadata",
        "",
        "/status",
        "/spec/-",
        "/metadata/finalizers/0",
        "/a~1b",
        "/data/a",
        "/spec/template/spec",
    ]
    values = [body.get(key) for key in ("metadata", "spec", "data", "kind")]
    return [
        {
            "op": source.choice(("add", "remove", "replace", "move", "copy", "test", "odd")),
            "path": source.choice(paths),
            "from": source.choice(paths),
            "value": source.choice(values),
        }
        for _ in range(source.randint(1, 5))
    ]


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: f"{kind.group_resource}-{kind.version}")
def test_almost_right_objects_are_never_a_fault(server: Fuzzed, kind: Kind) -> None:
    sample = sample_of(kind).made(kind)
    node = definition_of(kind)
    namespace = "default" if kind.namespaced else ""
    one = kind.path(namespace, sample["metadata"]["name"])
    server.ask("POST", kind.path(namespace), sample)

    @effort(6)
    @given(SEEDS)
    def ask(seed: int) -> None:
        source = random.Random(seed)
        query = {"dryRun": dry} if (dry := source.choice(DRY)) else {}
        if source.random() < 0.3:
            query["fieldValidation"] = source.choice(("Strict", "Ignore"))
        body = mutated(sample, node, source)
        if not dry and isinstance(body.get("metadata"), dict):
            body["metadata"].pop("finalizers", None)
        server.ask("POST", kind.path(namespace), mutated(sample, node, source), query={"dryRun": "All"})
        server.ask("PUT", one, orjson.dumps(body), query=query)
        patch = source.choice(PATCHES)
        sent = operations_of(body, source) if patch.startswith("json") else body
        named = {"fieldManager": source.choice(("a", "b")), "force": source.choice(("true", "false"))} if "apply" in patch else {}
        server.ask("PATCH", one, orjson.dumps(sent), query={**query, **named}, content_type=f"application/{patch}")
        if "status" in kind.subresources:
            server.ask(
                "PATCH",
                f"{one}/status",
                orjson.dumps({"status": mutated({"status": {}}, node, source).get("status")}),
                content_type="application/merge-patch+json",
            )

    ask()
    server.ask(
        "DELETE",
        one,
        mutated({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "x"}}, None, random.Random(1)),
    )
    server.ask("DELETE", one)
