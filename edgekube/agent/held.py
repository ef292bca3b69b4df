"""What a pod of this node takes up, as far as others ask: small, for whoever enters is held against all that are here.

Enters: a pod as this node runs it.
Leaves: its requests, its ports of the node, its class.
Holds: pure; a pod that did not change takes up the same.
Next: agent.admission, agent.cgroup_tree.
"""

from __future__ import annotations

from msgspec import Struct

from edgekube.agent.resources import qos_class
from edgekube.api.host_ports import HostPort, host_ports
from edgekube.api.objects import Object
from edgekube.api.pod_requests import Amounts, pod_requests


class Held(Struct, frozen=True):
    requests: Amounts
    ports: tuple[HostPort, ...]
    qos: str


def held_by(pod: Object) -> Held:
    return Held(pod_requests(pod), host_ports(pod), qos_class(pod))
