"""Ports of the node that a pod takes for itself, and whether two pods can have theirs on one node.

Enters: pods.
Leaves: HostPorts.
Holds: a port of all addresses clashes with the same port of any.
Source: Kubernetes documentation, "hostPort" of a container port.
Next: scheduler.facts, agent.admission.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edgekube.api.objects import Object

ANY_ADDRESS: Final = "0.0.0.0"


class HostPort(NamedTuple):
    address: str
    protocol: str
    port: int

    def clashes(self, other: HostPort) -> bool:
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return self.address == other.address or ANY_ADDRESS in (self.address, other.address)


def host_ports(pod: Object) -> tuple[HostPort, ...]:
    """Of ordinary containers and sidecars; init containers have ended when ports matter."""
    spec = pod.get("spec") or {}
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return tuple(
        HostPort(port.get("hostIP") or ANY_ADDRESS, port.get("protocol") or "TCP", int(port["hostPort"]))
        for container in [*(spec.get("containers") or ()), *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )
