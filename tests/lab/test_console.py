"""What a person tells a lab from another terminal."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.booting import fresh_prefix
from tests.lab.cluster import Cluster, until
from tests.lab.clusters import MultiCluster
from tests.lab.console import WORDS, Console, listening, tell
from tests.lab.guest import Guest
from tests.lab.lan import Lan
from tests.lab.node import Node
from tests.lab.reaching import arrives


@pytest.fixture
def console(lan: Lan, tmp_path: Path) -> Iterator[Console]:
    """Of a node that nothing runs in yet."""
    node = Node(lan, "n1", "192.0.2.31", tmp_path)
    node.power_on()
    console = Console(MultiCluster(Cluster(node), tmp_path))
    yield console
    console.close()
    node.close()


def test_faults_by_word_until_they_are_healed(console: Console, three: tuple[Guest, Guest, Guest]) -> None:
    a = three[0]
    until(lambda: arrives(a.namespace, a.lan.prefix + "-n1", "192.0.2.31"))
    assert console.answer("silence n1") == "done; heal ends it"
    assert console.answer("loss n1 20") == "done; heal ends it"
    assert not arrives(a.namespace, a.lan.prefix + "-n1", "192.0.2.31")
    assert console.answer("heal") == "healed"
    until(lambda: arrives(a.namespace, a.lan.prefix + "-n1", "192.0.2.31"))
    assert console.answer("move n1 192.0.2.32") == "n1 has 192.0.2.32"
    until(lambda: arrives(a.namespace, a.lan.prefix + "-n1", "192.0.2.32"))


def test_who_there_is_and_how_to_get_in(console: Console) -> None:
    assert console.answer("nodes").startswith("n1  192.0.2.31       server  ended    log /")
    command = [*shlex.split(console.answer("enter n1")), "hostname"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "n1\n"
    assert console.answer("off n1") == "n1 is off"
    assert "  off      log" in console.answer("nodes")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "nodes  "),
        ("frobnicate n1", "nodes  "),
        ("silence n9", "silence: n9 is not one of n1"),
        ("loss n1 much", "loss: invalid literal"),
        ("pull", "pull: "),
        ("on n1", "on: n1 is on"),
        ("move n1 10.0.0.1", "move: 10.0.0.1 is not in 192.0.2.0/24"),
    ],
)
def test_what_it_does_not_understand_it_explains(console: Console, line: str, complaint: str) -> None:
    answer = console.answer(line)
    assert answer.startswith(complaint) and answer.endswith(WORDS)


def test_from_another_terminal(console: Console) -> None:
    prefix = fresh_prefix()
    with pytest.raises(LookupError, match="no lab is up"):
        tell("nodes", prefix)
    with listening(console, prefix):
        assert tell("nodes", prefix).startswith("n1  192.0.2.31")
    with pytest.raises(LookupError):
        tell("nodes", prefix)
