"""kube-rs: typed objects, server-side apply, watches and streaming lists, a kind made by its derive."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.building import rust
from tests.clients.server import Server


@pytest.fixture(scope="module")
def client() -> Path:
    return rust()


#: Each is a function of rust/src/main.rs, which holds what it sees against what it must see.
@pytest.mark.parametrize("part", ["objects", "watching", "own_kind"])
def test_a_dialogue(client: Path, server: Server, namespace: str, part: str) -> None:
    assert server.run(client, f"rust-{namespace}", part) == f"{part} ok\n"
