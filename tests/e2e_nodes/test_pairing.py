"""A board out of its box: no address, no token. It finds its server, shows a code, is approved, and is a node."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.discovery.test_announcement import PI
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.newcomer import Newcomer, newcomer
from tests.lab.node import ROOT
from tests.lab.shell import CommandFailed


def on_the_server(cluster: MultiCluster, *words: str) -> str:
    """What an operator types there."""
    return cluster.server.edgekube(*words, "--data-dir", str(cluster.server.data_dir))


#: A name is not used twice: the kernel takes its time to forget a cable.
_numbers = itertools.count(8)


@pytest.fixture
def board(cluster3: MultiCluster, tmp_path: Path) -> Iterator[Newcomer]:
    number = next(_numbers)
    arguments = ["--hardware-serial", f"E2E-000{number}"]
    with newcomer(cluster3.lan, f"n{number}", f"192.0.2.{number}", tmp_path / "disk", arguments=arguments) as machine:
        machine.put_images(cluster3.server.data_dir / "agent/images")
        try:
            yield machine
        finally:
            for name in {machine.name, "press-9"} & cluster3.ready():
                on_the_server(cluster3, "node", "remove", name)


@contextlib.contextmanager
def rogue(cluster: MultiCluster, **fields: Any) -> Iterator[None]:
    """Somebody on the LAN who announces what he likes."""
    namespace = cluster.lan.plug("rogue", "192.0.2.66")
    told = {name: getattr(PI, name) for name in ("node", "role", "cluster_id", "cluster_name", "ca", "version", "port")} | fields
    command = [sys.executable, "-m", "tests.discovery.announcer", json.dumps(told)]
    process = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{namespace}", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert "announced" in process.stderr.readline()
        yield
    finally:
        process.kill()
        process.communicate()
        cluster.lan.unplug(namespace)


def test_a_board_is_let_in_by_the_code_that_it_shows(cluster3: MultiCluster, board: Newcomer) -> None:
    """Although somebody pretends to be the cluster: the same id, another CA. Nothing is chosen for the operator, and whom he
    names is the one."""
    facts = cluster3.server.get("configmap", "-n", "kube-system", "edgekube-cluster")["data"]
    with rogue(cluster3, cluster_id=facts["cluster-id"], cluster_name=facts["cluster-name"]):
        board.launch()
        assert board.exit_code() == 1
        assert "several clusters announce themselves" in board.log_tail()
        choices = re.findall(r"--cluster ([0-9a-f]{16})", board.log_tail())
        assert len(choices) == 2 and PI.ca[:16] in choices
        board.arguments += ["--cluster", next(choice for choice in choices if choice != PI.ca[:16])]
        board.launch()
        code, name = board.next_code()
    assert name == board.name
    assert board.node.run(["cat", "/run/edgekube/agent/pairing-code"]) == f"{code} {name}\n"
    (waiting,) = json.loads(on_the_server(cluster3, "node", "pending", "--json"))
    assert (waiting["name"], waiting["serial"]) == (name, board.arguments[1])
    # By whichever of the announced addresses answered first.
    assert waiting["peer"].startswith((f"{board.node.address}:", "[fe80:"))

    wrong = f"{(int(code.replace('-', '')) + 1) % 1_000_000:06d}"
    with pytest.raises(CommandFailed, match=f"this is not the code of {name}"):
        on_the_server(cluster3, "node", "approve", name, wrong)
    assert name not in cluster3.ready()

    again, _ = board.next_code(after=1)
    assert again != code
    assert f"{name} is let in" in on_the_server(cluster3, "node", "approve", name, again)
    until(lambda: name in cluster3.ready())
    listed = on_the_server(cluster3, "node", "list")
    row = rf"^{name} +Ready +{board.node.address} +pairing +{board.arguments[1]} "
    assert re.search(row, listed, flags=re.MULTILINE), listed
    assert "pairing-code" not in board.node.run(["ls", "/run/edgekube/agent"])


def test_a_board_on_the_list_needs_nobody(cluster3: MultiCluster, board: Newcomer) -> None:
    on_the_server(cluster3, "node", "allow", board.arguments[1].lower(), "--name", "press-9")
    board.launch()
    until(lambda: "press-9" in cluster3.ready(), seconds=90)
    assert board.codes() == []
    assert "no serial numbers" in on_the_server(cluster3, "node", "allowed")
