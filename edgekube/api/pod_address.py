"""What a node has to know of other nodes' pods: where they are and what selects them, and nothing of how they are made.

Enters: a stored Pod, as JSON.
Leaves: a PodAddress (internal.edgekube.io/v1), as JSON; whether two states of a pod differ in it.
Holds: pure; environment, images, volumes and annotations of a pod never leave through here. Only named ports are told, for
only they are looked up by others.
Bound: one pod's answer is remembered for as long as the next few dozen are being asked about, since each node asks the same.
Next: registry.conversion serves it, network.policies.pods reads it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from edgekube import limits
from edgekube.api.kinds import PODADDRESS

# The wire's names, hence the capitals. Fields that a pod leaves out stay out of the answer.


class Metadata(msgspec.Struct, omit_defaults=True):
    name: str
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    resourceVersion: str = "0"


class Port(msgspec.Struct):
    name: str
    containerPort: int
    protocol: str = "TCP"


class PodAddress(msgspec.Struct, omit_defaults=True, tag_field="kind", tag=PODADDRESS.kind):
    metadata: Metadata
    apiVersion: str = ""
    nodeName: str = ""
    phase: str = ""
    hostNetwork: bool = False
    podIPs: list[str] = msgspec.field(default_factory=list)
    ports: list[Port] = msgspec.field(default_factory=list)


class _Port(msgspec.Struct):
    containerPort: int = 0
    name: str | None = None
    protocol: str | None = None


class _Container(msgspec.Struct):
    ports: list[_Port] | None = None
    restartPolicy: str | None = None


class _Spec(msgspec.Struct):
    containers: list[_Container] | None = None
    initContainers: list[_Container] | None = None
    nodeName: str | None = None
    hostNetwork: bool | None = None


class _IP(msgspec.Struct):
    ip: str


class _Status(msgspec.Struct):
    phase: str | None = None
    podIPs: list[_IP] | None = None


class _Pod(msgspec.Struct):
    metadata: Metadata
    spec: _Spec | None = None
    status: _Status | None = None


_decode: Final = msgspec.json.Decoder(_Pod).decode
_encode: Final = msgspec.json.Encoder().encode


def read(raw: bytes) -> PodAddress:
    pod = _decode(raw)
    spec, status = pod.spec or _Spec(), pod.status or _Status()
    # An init container that runs on beside the others (a sidecar) is a container like them.
    sidecars = [container for container in spec.initContainers or () if container.restartPolicy == "Always"]
    return PodAddress(
        metadata=pod.metadata,
        apiVersion=PODADDRESS.api_version,
        nodeName=spec.nodeName or "",
        phase=status.phase or "",
        hostNetwork=bool(spec.hostNetwork),
        podIPs=[item.ip for item in status.podIPs or ()],
        ports=[
            Port(port.name, port.containerPort, port.protocol or "TCP")
            for container in (*(spec.containers or ()), *sidecars)
            for port in container.ports or ()
            if port.name
        ],
    )


@lru_cache(maxsize=limits.POD_ADDRESS_CACHE_ENTRIES_MAX)
def project(raw: bytes) -> bytes:
    return _encode(read(raw))


@lru_cache(maxsize=limits.POD_ADDRESS_CACHE_ENTRIES_MAX)
def same(one: bytes, other: bytes) -> bool:
    """Two stored states of a pod that make the same answer, their revisions apart."""
    before, after = read(one), read(other)
    before.metadata.resourceVersion = after.metadata.resourceVersion
    return before == after
