"""Java's clients: fabric8's, as Quarkus and Spring bring it, and the official one. Run by tests/clients/run-slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.building import java
from tests.clients.server import Server


@pytest.fixture(scope="module")
def classes() -> Path:
    return java()


#: Each is a method of the class, which holds what it sees against what it must see.
@pytest.mark.parametrize(
    ("program", "part"),
    [
        ("Fabric8", "objects"), ("Fabric8", "watching"), ("Fabric8", "leading"),
        ("Official", "objects"), ("Official", "watching"), ("Official", "protobuf"),
    ],
)  # fmt: skip
def test_a_dialogue(classes: Path, server: Server, program: str, part: str) -> None:
    path = f"{classes}:{classes / 'lib'}/*"
    # A busy machine loads a JVM's classes for longer than the client waits by itself.
    patience = ["-Dkubernetes.request.timeout=60000", "-Dkubernetes.connection.timeout=60000"]
    assert server.run("java", *patience, "-cp", path, program, f"java-{program}-{part}".lower(), part) == f"{part} ok\n"
