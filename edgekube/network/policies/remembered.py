"""What a node knew of policies when it last heard of them: for a start at which the server cannot be heard.

Enters: a planner.
Leaves: one file's bytes, and from them a planner that knows again what concerns this node's pods.
Holds: pure; only policies in force here, the pods that they let in or out, and namespaces. What cannot be read is refused whole.
Bound: as many pods as active policies name; a node without policies remembers nothing.
Next: network.policies.enforcer says when.
"""

from __future__ import annotations

from typing import Final

import msgspec

from edgekube.api.pod_address import Metadata, PodAddress, Port
from edgekube.network.policies.model import policy_from
from edgekube.network.policies.planner import Planner


class RememberedPolicy(msgspec.Struct):
    namespace: str
    name: str
    spec: msgspec.Raw


class Remembered(msgspec.Struct):
    namespaces: dict[str, dict[str, str]] = {}
    policies: list[RememberedPolicy] = []
    pods: list[PodAddress] = []


class Unreadable(Exception):
    """The bytes are not what remember() made."""


_decode: Final = msgspec.json.Decoder(Remembered).decode
#: Of a node that no policy concerns; as good as no file.
NOTHING: Final = msgspec.json.encode(Remembered())


def remember(planner: Planner) -> bytes:
    policies = [RememberedPolicy(p.namespace, p.name, msgspec.Raw(p.spec)) for p in planner.active_policies()]
    if not policies:
        return NOTHING
    pods = [
        PodAddress(
            Metadata(pod.name, pod.group.namespace, pod.uid, dict(pod.group.labels), str(pod.revision)),
            nodeName=planner.node_name if pod.local else "",
            podIPs=list(pod.addresses),
            ports=[Port(port.name, port.number, port.protocol.upper()) for port in pod.ports],
        )
        for pod in planner.concerned_pods()
    ]
    return msgspec.json.encode(Remembered(planner.namespace_labels(), policies, pods))


def recall(planner: Planner, data: bytes) -> None:
    """Raises Unreadable, having changed nothing."""
    try:
        remembered = _decode(data)
        policies = [policy_from(each.namespace, each.name, msgspec.json.decode(each.spec)) for each in remembered.policies]
    except (msgspec.DecodeError, AttributeError, TypeError, ValueError) as error:
        raise Unreadable(str(error)) from error
    for name, labels in remembered.namespaces.items():
        planner.put_namespace(name, labels)
    for policy in policies:
        planner.put_policy(policy)
    for pod in remembered.pods:
        planner.put_pod(pod)
