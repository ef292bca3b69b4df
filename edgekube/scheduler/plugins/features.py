"""What a pod needs that not every node has, or none.

Enters: a pending pod, and status.declaredFeatures of a node.
Leaves: a refusal: in upstream's words where a node's agent has not declared a feature; in our own where nobody allocates the
devices of resource claims.
Source: kube-scheduler plugin NodeDeclaredFeatures; component-helpers nodedeclaredfeatures (what a pod needs when it is placed).
Next: scheduler.profiles.
"""

from __future__ import annotations

from typing import Final

from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.plugin import Check, Filter, Refusal
from edgekube.scheduler.pods import PendingPod

FEATURES: Final = "NodeDeclaredFeatures"

DEVICES: Final = "DynamicResources"

_unallocated: Final = Refusal(
    DEVICES, ("resource claims cannot be allocated: there is no dynamic resource allocation",), hopeless=True
)
_lacking: Final = Refusal(FEATURES, ("node(s) didn't match Pod's required features",), hopeless=True)


def _features(pod: PendingPod, cluster: Cluster) -> Check | None:
    needed = pod.features
    return (lambda node: None if needed <= node.facts.features else _lacking) if needed else None


def _claims(pod: PendingPod, cluster: Cluster) -> Refusal | None:
    """Better no node than one without the device that the pod counts on."""
    return _unallocated if pod.resource_claims else None


FEATURES_FILTER: Final = Filter(FEATURES, _features, local=True)
DEVICES_FILTER: Final = Filter(DEVICES, _claims)
