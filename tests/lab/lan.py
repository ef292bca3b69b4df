"""A switch in a namespace: the network that lab nodes are plugged into, and everything that can go wrong with it.

Enters: a prefix, an address plan, who is plugged in under which name.
Leaves: a network namespace for each of them; faults, each a method or a ``with`` that heals it, in any combination.
Holds: every name carries the lab's prefix, and only names with it are ever removed. Nothing leaves the namespaces.
Next: tests.lab.node, tests.lab.guest, tests.lab.router.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from tests.lab import faults
from tests.lab.faults import Drop
from tests.lab.shell import run
from tests.lab.subnet import HOME, Subnet

#: The switch has an address, too: it is the gateway, and a neighbour that is not a node.
GATEWAY: Final = str(HOME.ipv4[-2])


class Lan:
    """One segment: a bridge in its own network namespace. ``name``: labs of several segments tell them apart by it."""

    def __init__(self, prefix: str, *, name: str = "lan", subnet: Subnet = HOME) -> None:
        if not 1 <= len(prefix) <= 8:
            raise ValueError("interface names have 15 characters: keep the prefix to 8")
        self.prefix = prefix
        self.subnet = subnet
        self.namespace = f"{prefix}-{name}"
        self._nodes: list[str] = []
        self._drops: list[Drop] = []

    def __enter__(self) -> Lan:
        run(["ip", "netns", "add", self.namespace])
        # Multicast is flooded, as by the switches that people own; and the packet filter for IP leaves bridged frames alone.
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "nf_call_iptables", "0", "nf_call_ip6tables", "0")
        for address in self.subnet.gateways:
            self.ip("address", "add", address, "dev", "br0", *without_detection(address))
        self.ip("link", "set", "br0", "up")
        self.write_sysctl("net/bridge/bridge-nf-call-iptables", "0")
        self.write_sysctl("net/bridge/bridge-nf-call-ip6tables", "0")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for namespace in [*self._nodes, self.namespace]:
            run(["ip", "netns", "delete", namespace], check=False)

    # --- plugs ----------------------------------------------------------------------------------------------------------

    def plug(self, name: str, address: str) -> str:
        """A network namespace, cabled to the bridge; its name."""
        namespace = f"{self.prefix}-{name}"
        run(["ip", "netns", "add", namespace])
        self._nodes.append(namespace)
        port = faults.port(name)
        run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        run(["ip", "-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.namespace])
        self.ip("link", "set", port, "master", "br0", "up")
        run(["ip", "-n", namespace, "link", "set", "eth0", "up"])
        self.give_address(namespace, address)
        return namespace

    def unplug(self, namespace: str) -> None:
        with contextlib.suppress(ValueError):
            self._nodes.remove(namespace)
        # The kernel takes a namespace apart when it gets round to it: the port must be free for the next one of this name.
        port = faults.port(namespace.removeprefix(f"{self.prefix}-"))
        run(["ip", "-n", self.namespace, "link", "delete", port], check=False)
        run(["ip", "netns", "delete", namespace], check=False)

    def give_address(self, namespace: str, address: str) -> None:
        """As a DHCP client does with a new lease: the old address goes, and every route that hung on it; then comes the new."""
        run(["ip", "-n", namespace, "-4", "address", "flush", "dev", "eth0"])
        run(["ip", "-n", namespace, "-6", "address", "flush", "dev", "eth0", "scope", "global"])
        scope = ["scope", "link"] if self.subnet.ipv4.is_link_local else []
        for member in self.subnet.members(address):
            options = without_detection(member) or scope
            run(["ip", "-n", namespace, "address", "add", member, "dev", "eth0", *options])
        if self.subnet.default_route:
            for gateway in self.subnet.gateways:
                run(["ip", "-n", namespace, "route", "replace", "default", "via", gateway.partition("/")[0]])

    # --- faults ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def cable_pulled(self, name: str) -> Iterator[None]:
        """No carrier at either end."""
        self.pull_cable(name)
        try:
            yield
        finally:
            self.plug_cable(name)

    def pull_cable(self, name: str) -> None:
        self.ip("link", "set", faults.port(name), "down")

    def plug_cable(self, name: str) -> None:
        self.ip("link", "set", faults.port(name), "up")

    @contextmanager
    def silence(self, one: str, other: str | None = None) -> Iterator[None]:
        """Neither hears the other (None: anybody), and no link is down."""
        with self.dropping(Drop(one, other), Drop(other, one)):
            yield

    @contextmanager
    def deaf(self, listener: str, speaker: str | None = None) -> Iterator[None]:
        """One way only: what ``speaker`` (None: anybody) sends does not reach ``listener``; the other way all is well."""
        with self.dropping(Drop(speaker, listener)):
            yield

    @contextmanager
    def loss(self, name: str, percent: int) -> Iterator[None]:
        """So many of the frames to and from ``name`` get lost."""
        with self.dropping(Drop(name, None, percent), Drop(None, name, percent)):
            yield

    @contextmanager
    def slow(self, name: str, *, kilobits_per_second: int) -> Iterator[None]:
        """A thin line to ``name``, both ways."""
        shape = ["root", "tbf", "rate", f"{kilobits_per_second}kbit", "burst", "16kb", "latency", "400ms"]
        ends = [(self.namespace, faults.port(name)), (f"{self.prefix}-{name}", "eth0")]
        for namespace, interface in ends:
            run(["tc", "-n", namespace, "qdisc", "replace", "dev", interface, *shape])
        try:
            yield
        finally:
            for namespace, interface in ends:
                run(["tc", "-n", namespace, "qdisc", "delete", "dev", interface, "root"])

    @contextmanager
    def dropping(self, *drops: Drop) -> Iterator[None]:
        """Any combination: what ``silence``, ``deaf`` and ``loss`` are made of."""
        self._drops.extend(drops)
        self._write_drops()
        try:
            yield
        finally:
            for drop in drops:
                self._drops.remove(drop)
            self._write_drops()

    def _write_drops(self) -> None:
        self.inside(["nft", "-f", "-"], stdin=faults.table(self._drops))

    # --- its namespace --------------------------------------------------------------------------------------------------

    def ip(self, *arguments: str) -> str:
        return run(["ip", "-n", self.namespace, *arguments])

    def inside(self, command: list[str], *, stdin: str | None = None) -> str:
        return run(["nsenter", f"--net=/run/netns/{self.namespace}", *command], stdin=stdin)

    def write_sysctl(self, name: str, value: str) -> None:
        # /proc/sys/net shows the namespace of whoever opens it.
        self.inside(["sh", "-c", 'if [ -e "/proc/sys/$1" ]; then echo "$2" >"/proc/sys/$1"; fi', "sysctl", name, value])


def without_detection(address: str) -> list[str]:
    """IPv6 would look for another holder of the address for a second before it uses it."""
    return ["nodad"] if ":" in address else []
