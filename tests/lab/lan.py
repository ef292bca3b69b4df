"""A switch in a namespace: the network that lab nodes are plugged into.

Every name carries the lab's prefix, and only names with it are ever removed. Addresses are 192.0.2.0/24 (RFC 5737).
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Final

from tests.lab.shell import run

GATEWAY: Final = "192.0.2.254"


class Lan:
    """One segment: a bridge in its own network namespace, with a gateway address that nodes route to."""

    def __init__(self, prefix: str) -> None:
        if not 1 <= len(prefix) <= 8:
            raise ValueError("interface names have 15 characters: keep the prefix to 8")
        self.prefix = prefix
        self.namespace = f"{prefix}-lan"
        self._nodes: list[str] = []

    def __enter__(self) -> Lan:
        run(["ip", "netns", "add", self.namespace])
        inside = ["ip", "-n", self.namespace]
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "link", "add", "br0", "type", "bridge"])
        run([*inside, "address", "add", f"{GATEWAY}/24", "dev", "br0"])
        run([*inside, "link", "set", "br0", "up"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for namespace in [*self._nodes, self.namespace]:
            run(["ip", "netns", "delete", namespace], check=False)

    def plug(self, name: str, address: str) -> str:
        """A network namespace for a node, cabled to the bridge; its name."""
        namespace = f"{self.prefix}-{name}"
        run(["ip", "netns", "add", namespace])
        self._nodes.append(namespace)
        inside = ["ip", "-n", namespace]
        port = f"p-{name}"
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.namespace])
        run(["ip", "-n", self.namespace, "link", "set", port, "master", "br0", "up"])
        run([*inside, "address", "add", f"{address}/24", "dev", "eth0"])
        run([*inside, "link", "set", "eth0", "up"])
        run([*inside, "route", "add", "default", "via", GATEWAY])
        return namespace

    def unplug(self, namespace: str) -> None:
        with contextlib.suppress(ValueError):
            self._nodes.remove(namespace)
        run(["ip", "netns", "delete", namespace], check=False)
