"""client-go as it is: typed clients in protobuf and JSON, informers, discovery, server-side apply, the dynamic client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.building import go
from tests.clients.server import Server


@pytest.fixture(scope="module")
def typed() -> Path:
    return go("./typed")


#: Each is a function of go/typed/main.go, which holds what it sees against what it must see.
@pytest.mark.parametrize("part", ["discovery", "protobuf", "json", "apply", "kinds withoutTypes", "watching"])
def test_a_dialogue(typed: Path, server: Server, namespace: str, part: str) -> None:
    said = server.run(typed, namespace.lower(), *part.split())
    assert said.splitlines() == [f"{name} ok" for name in part.split()]
