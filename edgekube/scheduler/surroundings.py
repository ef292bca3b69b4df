"""What the scheduler knows of things that are neither nodes nor pods.

Enters: decoded objects, as they come and go.
Leaves: labels of namespaces; selectors of services and of what owns pods; storage (scheduler.volumes reads it).
Holds: of each object the few fields that a rule reads.
Next: scheduler.plugins.
"""

from __future__ import annotations

from msgspec import Struct, field

from edgekube.api.objects import Object, namespace_of
from edgekube.api.selectors.labels import LabelSelector
from edgekube.scheduler.storage import Storage
from edgekube.scheduler.terms import selector_of


class Budget(Struct, frozen=True):
    """What a PodDisruptionBudget still allows."""

    namespace: str
    selector: LabelSelector
    allowed: int
    #: Names of pods whose eviction has been counted already.
    disrupted: frozenset[str] = frozenset()


def budget_of(obj: Object) -> Budget:
    status = obj.get("status") or {}
    return Budget(
        namespace=namespace_of(obj),
        selector=selector_of((obj.get("spec") or {}).get("selector")),
        allowed=int(status.get("disruptionsAllowed") or 0),
        disrupted=frozenset(status.get("disruptedPods") or ()),
    )


class Surroundings(Struct):
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    #: namespace -> name -> spec.selector, of services that select.
    services: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    #: uid of a ReplicaSet, StatefulSet or ReplicationController -> what it selects.
    owners: dict[str, LabelSelector] = field(default_factory=dict)
    #: uid -> PodDisruptionBudget.
    budgets: dict[str, Budget] = field(default_factory=dict)
    storage: Storage = field(default_factory=Storage)
