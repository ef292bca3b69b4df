"""What keeps a server from starting, or from writing: one line that says what to do, and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab import inside
from tests.lab.cluster import Cluster, until
from tests.lab.node import Node, children

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
JSON = {"Content-Type": "application/json"}


def start(node: Node, *arguments: str, seconds: float = 120) -> tuple[int, str]:
    """Exit code and what was said, of a server that ends by itself."""
    command = node.inside(
        ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "edgekube", "server", "--cgroup-parent", node.cgroup, *arguments]
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        for child in children(process):
            os.kill(child, signal.SIGKILL)
        said, _ = process.communicate()
        raise AssertionError(f"the server runs, though it should not:\n{said}") from None
    assert "Traceback" not in said, said
    return process.returncode, said


def last_line(said: str) -> str:
    return said.strip().splitlines()[-1]


def test_a_port_in_use(node: Node, tmp_path: Path) -> None:
    with inside.listen(node.namespace, 6443):
        code, said = start(node, "--data-dir", str(tmp_path))
    assert code == 1
    assert last_line(said).startswith("edgekube: a port is in use already")
    assert "--https-port" in said


def test_the_agents_port_in_use(node: Node, tmp_path: Path) -> None:
    with inside.listen(node.namespace, 10250):
        code, said = start(node, "--data-dir", str(tmp_path))
    assert code == 1
    assert last_line(said).startswith("edgekube: a port is in use already")


@pytest.mark.parametrize("program", ["containerd", "runc"])
def test_a_program_that_is_not_installed_yet(node: Node, tmp_path: Path, program: str) -> None:
    """The API answers and the log says what is missing; when it is there, the node becomes Ready by itself."""
    found = shutil.which(program)
    assert found is not None
    cluster = Cluster(node, data_dir=tmp_path)
    cluster.log = tmp_path / "log"
    node.run(["mount", "--bind", "/dev/null", found])  # in this node only: nothing there that could be executed
    try:
        cluster.launch()
        until(lambda: answers(cluster))
        until(lambda: f"{program} is not installed: apt-get install containerd runc" in cluster.log.read_text())
        assert not node_ready(cluster)
    finally:
        node.run(["umount", found])
    try:
        until(lambda: node_ready(cluster))
    finally:
        cluster.stop(signal.SIGKILL)
    assert "Traceback" not in cluster.log.read_text()


def answers(cluster: Cluster) -> bool:
    try:
        return cluster.request("GET", "/livez").status == 200
    except OSError:
        return False


def node_ready(cluster: Cluster) -> bool:
    nodes = cluster.request("GET", "/api/v1/nodes").json()["items"]
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for node in nodes
        for condition in node.get("status", {}).get("conditions", [])
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("node-name: [", "is not YAML"),
        ("node-nam: pi", "unknown key 'node-nam'"),
        ("https-port: a lot", "give a port from 1 to 65535"),
        ("cluster-cidr: 10.43.0.0/16", "overlap"),
        ("- a\n- list", "expected lines of the form"),
        ("node-name: Not Valid", "cannot be used"),
    ],
)
def test_a_config_that_cannot_be_used(node: Node, tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    code, said = start(node, "--config", str(config), "--data-dir", str(tmp_path / "data"))
    assert code == 2
    assert words in said
    assert not (tmp_path / "data").exists()


def test_flags_that_do_not_exist(node: Node, tmp_path: Path) -> None:
    code, said = start(node, "--no-such-flag")
    assert code == 2
    assert "No such option" in said
    code, said = start(node, "--config", str(tmp_path / "none.yaml"))
    assert code == 2
    assert "no such file" in said


def _text(path: Path) -> None:
    path.write_text("these are not the bytes of a database" * 300)


def _other_program(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("create table recipes (name text)")


def _scribbled(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(2048))


@pytest.mark.parametrize("damage", [_text, _other_program])
def test_a_file_that_is_not_our_database(node: Node, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    database = tmp_path / "server/state.db"
    database.parent.mkdir(parents=True)
    damage(database)
    before = database.read_bytes()
    code, said = start(node, "--data-dir", str(tmp_path), "--no-agent")
    assert code == 1
    assert str(database) in last_line(said)
    assert database.read_bytes() == before, "it is never overwritten"


@contextmanager
def control_plane(node: Node, data_dir: Path) -> Iterator[Cluster]:
    """A server without a node, on a data directory of its own."""
    cluster = Cluster(node, data_dir=data_dir, arguments=["--no-agent"])
    cluster.start()
    try:
        yield cluster
    finally:
        if cluster.running:
            cluster.stop(signal.SIGKILL)


def put(cluster: Cluster, name: str, size: int = 10) -> int:
    body = json.dumps({"metadata": {"name": name}, "data": {"x": os.urandom(size // 2).hex()}})
    return cluster.request("POST", "/api/v1/namespaces/default/configmaps", body, JSON).status


def test_a_damaged_database(node: Node, tmp_path: Path) -> None:
    with control_plane(node, tmp_path) as cluster:
        for number in range(40):
            assert put(cluster, f"c{number}", 5000) == 201
        assert cluster.stop(signal.SIGTERM) == 0
    database = tmp_path / "server/state.db"
    _scribbled(database)
    for extra in ("state.db-wal", "state.db-shm"):
        database.with_name(extra).unlink(missing_ok=True)
    before = database.read_bytes()
    code, said = start(node, "--data-dir", str(tmp_path), "--no-agent")
    assert code == 1
    assert str(database) in last_line(said)
    assert database.read_bytes() == before


def test_a_full_disk(node: Node) -> None:
    """Reads go on, writes are refused with words, and after somebody made room everything goes on."""
    small = node.disk / "small"
    small.mkdir()
    node.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)])
    # The mount is the node's alone: seen from here it is below /proc/<pid>/root.
    seen = Path(f"/proc/{node.pid}/root{small}")
    with control_plane(node, small / "data") as cluster:
        assert put(cluster, "before") == 201
        ballast = seen / "ballast"
        with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        refused = 0
        for number in range(20):
            body = json.dumps({"metadata": {"name": f"full{number}"}, "data": {"x": os.urandom(100_000).hex()}})
            answer = cluster.request("POST", "/api/v1/namespaces/default/configmaps", body, JSON)
            if answer.status != 201:
                refused += 1
                assert answer.status in (500, 503, 507), answer.text
                assert "disk" in answer.json()["message"] or "full" in answer.json()["message"]
        assert refused > 0
        assert cluster.request("GET", "/api/v1/namespaces/default/configmaps/before").status == 200
        assert cluster.request("GET", "/api/v1/namespaces").status == 200
        assert cluster.running
        ballast.unlink()
        until(lambda: put(cluster, "after") in (201, 409))
        assert cluster.request("GET", "/api/v1/namespaces/default/configmaps/after").status == 200
        assert cluster.stop(signal.SIGTERM) == 0
    node.run(["umount", str(small)])
