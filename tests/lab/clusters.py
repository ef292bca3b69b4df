"""A cluster of several lab nodes: ``edgekube server`` on the first, ``edgekube agent`` on the others.

Enters: a directory for the nodes' disks, how many nodes, the network they are plugged into.
Leaves: a MultiCluster whose Nodes are all Ready by the API; more nodes can join it, from other segments too.
Holds: agents join by a token in a file, all at once. Nothing but the disks is left afterwards.
Next: tests.lab.cluster, tests.lab.agents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.lab.agents import Agent
from tests.lab.booting import fresh_prefix
from tests.lab.cluster import API_PORT, Cluster, until
from tests.lab.lan import Lan
from tests.lab.node import Node
from tests.lab.program import START_SECONDS, Program
from tests.lab.subnet import HOME, Subnet


class MultiCluster:
    """``server`` is the Cluster that one-node tests know; every node has a Program, found by its name."""

    def __init__(self, server: Cluster, disk: Path) -> None:
        self.server = server
        self.agents: list[Agent] = []
        #: How long it took from nothing until all Nodes were Ready.
        self.up_seconds = 0.0
        self._disk = disk
        self._token = ""

    @property
    def lan(self) -> Lan:
        return self.server.node.lan

    @property
    def programs(self) -> list[Program]:
        return [self.server, *self.agents]

    def program(self, name: str) -> Program:
        """Of the node with this name."""
        return next(program for program in self.programs if program.name == name)

    def node(self, name: str) -> Node:
        return self.program(name).node

    # --- joining --------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"https://{self.server.node.address}:{API_PORT}"

    @property
    def token(self) -> str:
        """One for all who join."""
        if not self._token:
            create = ["token", "create", "--multi-use", "--data-dir", str(self.server.data_dir)]
            self._token = self.server.edgekube(*create).split()[-1]
        return self._token

    def new_agent(
        self, lan: Lan, name: str, address: str, *, arguments: Sequence[str] = (), server_is_named: bool = True
    ) -> Agent:
        """A machine out of its box, switched on, with the images it will need; launch() it, and it joins."""
        server = self.url if server_is_named else ""
        agent = Agent(Node(lan, name, address, self._disk / name), server=server, token=self.token, arguments=arguments)
        self.agents.append(agent)  # from here on close() takes it down
        agent.node.power_on()
        agent.put_images(self.server.data_dir / "agent/images")
        return agent

    def close(self) -> None:
        for program in reversed(self.programs):
            program.node.close()

    # --- what the API says ----------------------------------------------------------------------------------------------

    def ready(self) -> set[str]:
        """The nodes that are Ready."""
        nodes = self.server.request("GET", "/api/v1/nodes").json()["items"]
        return {node["metadata"]["name"] for node in nodes if _condition(node, "Ready") == "True"}

    def wait_until_ready(self, *names: str, seconds: float = START_SECONDS) -> float:
        """Until these nodes (default: all) are Ready; how long that took. A program that ended ends the wait."""
        wanted = set(names or (program.name for program in self.programs))
        began = time.monotonic()

        def reached() -> bool:
            for program in self.programs:
                assert program.running, f"{program.ended()}\n{program.log_tail()}"
            return wanted <= self.ready()

        try:
            until(reached, seconds=seconds, pause_seconds=0.05)
        except AssertionError as error:
            raise AssertionError(f"Ready: {sorted(self.ready())} of {sorted(wanted)}: {error}\n{self.log_tails()}") from None
        return time.monotonic() - began

    # --- logs -----------------------------------------------------------------------------------------------------------

    def log_tails(self, lines: int = 40) -> str:
        return "\n".join(f"--- {program.name}\n{program.log_tail(lines)}" for program in self.programs)

    def unexpected(self) -> str:
        """The first error that a program did not expect, with what surrounds it; "" when there was none."""
        for program in self.programs:
            text = program.log.read_text(errors="replace") if program.log.exists() else ""
            if "Traceback" in text:
                at = text.index("Traceback")
                return f"{program.name} met an error it did not expect:\n{text[max(0, at - 2000) : at + 4000]}"
        return ""


@contextmanager
def many_nodes(
    disk: Path,
    count: int,
    *,
    subnet: Subnet = HOME,
    server_arguments: Sequence[str] = (),
    agent_arguments: Sequence[str] = (),
    server_is_named: bool = True,
) -> Iterator[MultiCluster]:
    """n1 with the server, n2 to n<count> with agents, on one switch. ``disk`` gets a directory for each. ``server_is_named``
    False: nobody tells the agents where the server is."""
    began = time.monotonic()
    first = int(subnet.ipv4.network_address) + 1
    addresses = [str(type(subnet.ipv4.network_address)(first + number)) for number in range(count)]
    with ExitStack() as stack:
        lan = stack.enter_context(Lan(fresh_prefix(), subnet=subnet))
        node = Node(lan, "n1", addresses[0], disk / "n1")
        server = Cluster(node, arguments=server_arguments)
        cluster = MultiCluster(server, disk)
        stack.callback(cluster.close)
        node.power_on()
        server.put_images()
        server.start()
        for number, address in enumerate(addresses[1:], 2):
            cluster.new_agent(lan, f"n{number}", address, arguments=agent_arguments, server_is_named=server_is_named).launch()
        cluster.wait_until_ready()
        cluster.up_seconds = time.monotonic() - began
        yield cluster


def _condition(obj: dict[str, Any], kind: str) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")
