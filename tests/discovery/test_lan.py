"""Real multicast between machines that are namespaces on one switch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgekube import limits
from tests.discovery.test_announcement import PI
from tests.lab.booting import fresh_prefix
from tests.lab.cluster import until
from tests.lab.lan import Lan
from tests.lab.shell import run

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]


class Program:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self._read = 0

    def line(self, text: str, fits: Callable[[str], object] = bool) -> str:
        """The next line with the text in it that ``fits``."""

        def look() -> str:
            lines = self._log.read_text().splitlines()
            for number in range(self._read, len(lines)):
                if text in lines[number] and fits(lines[number]):
                    self._read = number + 1
                    return lines[number]
            return ""

        return until(look, seconds=180)


class Switch:
    """Machines on one switch, and the programs that run on them."""

    def __init__(self, lan: Lan, stack: ExitStack, directory: Path) -> None:
        self.lan = lan
        self._stack = stack
        self._directory = directory

    def machine(self, name: str, address: str) -> str:
        namespace = self.lan.plug(name, address)
        run(["ip", "-n", namespace, "address", "add", f"2001:db8::{address.rpartition('.')[2]}/64", "dev", "eth0", "nodad"])
        return namespace

    def start(self, namespace: str, *command: str) -> Program:
        log = self._directory / f"{len(list(self._directory.iterdir()))}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", *command],
                cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return Program(process, log)

    def announcing(self, namespace: str, **fields: Any) -> Program:
        told = {name: getattr(PI, name) for name in ("node", "role", "cluster_id", "cluster_name", "ca", "version", "port")}
        return self.start(namespace, "tests.discovery.announcer", json.dumps(told | fields))

    def discover(self, namespace: str, *arguments: str) -> list[dict[str, Any]]:
        """What ``edgekube discover`` finds, as clusters."""
        enter = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", "edgekube"]
        command = [*enter, "discover", "--json", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode in (0, 1), done.stderr
        clusters: list[dict[str, Any]] = json.loads(done.stdout)["clusters"]
        return clusters


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    with Lan(fresh_prefix()) as lan, ExitStack() as stack:
        yield Switch(lan, stack, tmp_path)


def nodes(clusters: list[dict[str, Any]]) -> dict[str, set[str]]:
    return {cluster["name"]: {node["node"] for node in cluster["nodes"]} for cluster in clusters}


def machines(line: str) -> list[dict[str, Any]]:
    return [node for cluster in json.loads(line)["clusters"] for node in cluster["nodes"]]


def test_clusters_on_one_lan_are_found_apart_and_follow_their_addresses(switch: Switch) -> None:
    first, second, looking = (switch.machine(f"m{n}", f"192.0.2.{n}") for n in (1, 2, 3))
    looker = switch.start(looking, "tests.discovery.looker")
    server = switch.announcing(first)
    # Flashed from one image, not named yet: the same name in the same cluster.
    agent = switch.announcing(second, role="agent", port=10250)
    switch.announcing(second, cluster_id="00000000-0000-4000-8000-000000000000", cluster_name="cellar", ca="cd" * 32)

    found = json.loads(looker.line("clusters", lambda line: len(machines(line)) == 3))["clusters"]
    assert nodes(found) == {"cellar": {"pi-7"}, "greenhouse": {"pi-7"}}
    greenhouse = next(cluster for cluster in found if cluster["name"] == "greenhouse")
    assert greenhouse["ca"] == PI.ca and greenhouse["id"] == PI.cluster_id
    assert [(node["role"], node["port"]) for node in greenhouse["nodes"]] == [("server", 6443), ("agent", 10250)]
    assert {"192.0.2.1", "2001:db8::1"} <= set(greenhouse["nodes"][0]["addresses"])
    until(lambda: nodes(switch.discover(looking, "--timeout", "60", "--settle", "2")) == nodes(found), seconds=180)

    # A new lease: the same machine is found under its new address.
    run(["ip", "-n", first, "address", "delete", "192.0.2.1/24", "dev", "eth0"])
    run(["ip", "-n", first, "address", "add", "192.0.2.77/24", "dev", "eth0"])
    server.line("192.0.2.77")
    looker.line("192.0.2.77")

    # Whoever ends says goodbye, and is gone for all who look.
    agent.process.send_signal(signal.SIGINT)
    agent.process.wait(120)
    looker.line("clusters", lambda line: "agent" not in {machine["role"] for machine in machines(line)})


def test_a_name_that_another_machine_has_is_left_to_it(switch: Switch) -> None:
    first, second = switch.machine("m1", "192.0.2.1"), switch.machine("m2", "192.0.2.2")
    owner = switch.start(first, "tests.discovery.namer", "shelf", "192.0.2.200")
    owner.line("announced name=shelf.local addresses=192.0.2.200")
    switch.start(second, "tests.discovery.namer", "shelf", "192.0.2.201").line("shelf.local belongs to another machine")


def test_a_flood_is_bounded_and_who_announces_goes_on_afterwards(switch: Switch) -> None:
    honest, attacker = switch.machine("m1", "192.0.2.1"), switch.machine("m2", "192.0.2.2")
    server = switch.announcing(honest)
    server.line("announced instance=")
    before = resident_kilobytes(server.process.pid)
    flood = switch.start(attacker, "tests.discovery.flooder", "192.0.2.2", "60")
    # Whoever looks around meanwhile gets an answer of bounded size in bounded time.
    assert (
        sum(len(cluster["nodes"]) for cluster in switch.discover(honest, "--timeout", "1.5")) <= limits.DISCOVERED_INSTANCES_MAX
    )
    server.line("mDNS is flooded")
    flood.process.kill()
    # zeroconf's own cache is what it may have filled until it was closed.
    assert resident_kilobytes(server.process.pid) < before + 40_000
    server.line("announced instance=")
    assert resident_kilobytes(server.process.pid) < before + 40_000


def resident_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])
