"""What those who count pods ask of each: a few hundred bytes instead of the whole object.

Enters: a pod's JSON.
Leaves: PodFacts.
Holds: the same definitions as api.podstate, read once a change of the pod and not once for each look at its siblings; pure.
Bound: about 0.6 KB a pod.
Next: reconcile.view keeps them, controllers.replicaset and controllers.endpoints read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern
from typing import Final

import msgspec
import orjson
from msgspec import Struct

from edgekube.api import podstate, times
from edgekube.api.objects import Object
from edgekube.api.reachable import is_reachable

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
#: As admission.service_account has it: a node wrote this pod, labels and all.
_MIRROR: Final = "kubernetes.io/config.mirror"
_NO_LABELS: Final[dict[str, str]] = {}


class PodFacts(Struct, frozen=True):
    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    #: The uid of the controller; "": it has none.
    controller: str
    node: str
    phase: str
    deleting: bool
    mirror: bool
    ready: bool
    #: When condition Ready last changed; None: it does not say, or is not there.
    ready_changed: float | None
    created: float
    deletion_cost: int
    restarts: int
    #: Every address that can be reached from elsewhere; the first is the primary one.
    addresses: tuple[str, ...]
    hostname: str
    subdomain: str

    @property
    def finished(self) -> bool:
        """Succeeded or Failed: its containers will not run again."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        """Counts as a replica: neither finished nor on its way out."""
        return not self.deleting and self.phase not in ("Succeeded", "Failed")

    @property
    def ready_since(self) -> float:
        """0.0 while it is not ready, or when it does not say."""
        return (self.ready_changed or 0.0) if self.ready else 0.0

    def available_in(self, min_ready_seconds: int, wall_seconds: float) -> float | None:
        """Seconds until a ready pod is available; 0.0 when it is, None while it is not ready."""
        if not self.ready:
            return None
        return podstate.wait_seconds(self.ready_since, min_ready_seconds, wall_seconds)


# The wire's names, hence the capitals.


class _Owner(msgspec.Struct):
    uid: str = ""
    controller: bool | None = None


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = ""
    uid: str = ""
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    ownerReferences: list[_Owner] | None = None


class _Spec(msgspec.Struct):
    nodeName: str | None = None
    hostname: str | None = None
    subdomain: str | None = None


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    lastTransitionTime: str | None = None


class _Container(msgspec.Struct):
    restartCount: int | None = None


class _IP(msgspec.Struct):
    ip: str | None = None


class _Status(msgspec.Struct):
    phase: str | None = None
    podIP: str | None = None
    podIPs: list[_IP] | None = None
    conditions: list[_Condition] | None = None
    containerStatuses: list[_Container] | None = None


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec | None = None
    status: _Status | None = None


_decode: Final = msgspec.json.Decoder(_Pod).decode


def pod_facts(raw: bytes, labels: Mapping[str, str] | None = None) -> PodFacts:
    """``labels``: those of the pod, where the caller has them in memory already."""
    pod = _decode(raw)
    metadata, spec, status = pod.metadata, pod.spec or _Spec(), pod.status or _Status()
    annotations = metadata.annotations or _NO_LABELS
    ready = next((each for each in status.conditions or () if each.type == "Ready"), None)
    changed = ready.lastTransitionTime if ready is not None else None
    return PodFacts(
        namespace=intern(metadata.namespace),
        name=metadata.name,
        uid=metadata.uid,
        labels=labels if labels is not None else metadata.labels or _NO_LABELS,
        controller=intern(next((each.uid for each in metadata.ownerReferences or () if each.controller), "")),
        node=intern(spec.nodeName or ""),
        phase=intern(status.phase or ""),
        deleting=bool(metadata.deletionTimestamp),
        mirror=_MIRROR in annotations,
        ready=ready is not None and ready.status == "True",
        ready_changed=times.parse(changed) if changed else None,
        created=times.parse(metadata.creationTimestamp) if metadata.creationTimestamp else 0.0,
        deletion_cost=_cost(annotations.get(DELETION_COST, "0")),
        restarts=max((each.restartCount or 0 for each in status.containerStatuses or ()), default=0),
        addresses=_addresses(status),
        hostname=spec.hostname or "",
        subdomain=spec.subdomain or "",
    )


def pod_facts_of(pod: Object) -> PodFacts:
    return pod_facts(orjson.dumps(pod))


def _cost(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _addresses(status: _Status) -> tuple[str, ...]:
    """No slice may hold one that cannot be reached."""
    found = [each.ip for each in status.podIPs or () if each.ip]
    if not found and status.podIP:
        found = [status.podIP]
    return tuple(each for each in found if is_reachable(each))
