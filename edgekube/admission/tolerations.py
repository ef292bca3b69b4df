"""Pods outlast a short loss of their node: five minutes of not-ready and unreachable, unless they say otherwise.

Enters: a pod about to be created; a node about to be registered.
Leaves: the pod with default tolerations; the node with the taint that it starts with.
Holds: pure (sources: k8s.io/kubernetes plugin/pkg/admission/{defaulttolerationseconds,nodetaint}).
Next: registry.admit.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
DEFAULT_TOLERATION_SECONDS: Final = 300


def _covers(toleration: Object, key: str) -> bool:
    if toleration.get("effect") not in (None, "", "NoExecute"):
        return False
    return toleration.get("key") in (key, None, "")


def admit_pod(pod: Object) -> None:
    spec = pod["spec"]
    tolerations = spec.get("tolerations") or []
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_TOLERATION_SECONDS}
        for key in (NOT_READY, UNREACHABLE)
        if not any(_covers(toleration, key) for toleration in tolerations)
    ]
    if added:
        spec["tolerations"] = [*tolerations, *added]


def admit_node(node: Object) -> None:
    """A new node takes no pods until its conditions say that it can (TaintNodesByCondition)."""
    spec = node.setdefault("spec", {})
    taints = spec.get("taints") or []
    if not any(t.get("key") == NOT_READY and t.get("effect") == "NoSchedule" for t in taints):
        spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]
