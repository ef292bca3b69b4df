"""On which nodes a DaemonSet wants a pod, and on which one may stay.

Enters: a DaemonSet and nodes.
Leaves: (should run, may stay) for a node.
Holds: what a node lacks for the moment (room, ports) is the scheduler's business; names, labels and taints are asked here.
Source: k8s.io/kubernetes pkg/controller/daemon NodeShouldRunDaemonPod.
Next: managing, rolling, status.
"""

from __future__ import annotations

from typing import NamedTuple

from edgekube.api import node_affinity, taints
from edgekube.api.node_facts import NodeFacts
from edgekube.api.objects import Object
from edgekube.controllers.daemonset.making import template_of, tolerations


class Wanted(NamedTuple):
    """``run``: a pod belongs there. ``stay``: one that is there already may go on."""

    run: bool
    stay: bool


class Placing:
    """One DaemonSet's view of the nodes; its template is taken apart once."""

    def __init__(self, daemon: Object) -> None:
        spec = template_of(daemon).get("spec") or {}
        self._only = spec.get("nodeName") or ""
        self._selector: dict[str, str] = spec.get("nodeSelector") or {}
        self._affinity: Object = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        self._tolerations = tolerations(spec)
        self._answers: dict[str, Wanted] = {}

    def on(self, node: NodeFacts) -> Wanted:
        """Asked several times in one plan, decided once."""
        name = node.name
        if name not in self._answers:
            self._answers[name] = self._decide(node)
        return self._answers[name]

    def _decide(self, node: NodeFacts) -> Wanted:
        if self._only not in ("", node.name):
            return Wanted(False, False)
        if not node_affinity.required(self._selector, self._affinity, node.name, node.labels):
            return Wanted(False, False)
        if taints.untolerated(node.taints, self._tolerations, (taints.NO_SCHEDULE, taints.NO_EXECUTE)) is None:
            return Wanted(True, True)
        return Wanted(False, taints.untolerated(node.taints, self._tolerations, (taints.NO_EXECUTE,)) is None)
