"""The cluster as planners see it: a Protocol over what watches have brought in.

Enters: nothing; implementations fill themselves (reconcile.view).
Leaves: decoded objects, made when asked for; callers may change them, the next caller gets fresh ones.
Holds: one view is a state that the API had, per kind; it may lag, never lie.
Next: controllers, scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from edgekube.api.kinds import Kind
from edgekube.api.node_facts import NodeFacts
from edgekube.api.objects import Object
from edgekube.api.pod_facts import PodFacts
from edgekube.api.selectors.labels import LabelSelector


class View(Protocol):
    def get(self, kind: Kind, namespace: str, name: str) -> Object | None: ...

    def list(self, kind: Kind, namespace: str = "") -> Iterator[Object]:
        """Every object of the kind; in one namespace unless ``namespace`` is ""."""
        ...

    def selected(self, kind: Kind, namespace: str, selector: LabelSelector) -> Iterator[Object]:
        """Objects of a namespace whose labels match; only those are decoded."""
        ...

    def owned_by(self, kind: Kind, owner_uid: str, namespace: str = "") -> Iterator[Object]:
        """Objects of the kind with an owner reference of this uid (an index, not a scan); "" gives those without a controller.
        In one namespace unless ``namespace`` is ""."""
        ...

    def pod_facts_owned_by(self, owner_uid: str, namespace: str = "") -> Iterator[PodFacts]:
        """As owned_by(POD, ...), without decoding what is not asked for; in any order."""
        ...

    def pod_facts_selected(self, namespace: str, selector: LabelSelector) -> Iterator[PodFacts]:
        """As selected(POD, ...), without decoding what is not asked for; in any order."""
        ...

    def node_facts(self) -> Iterator[NodeFacts]:
        """As list(NODE), without decoding what is not asked for."""
        ...

    def pods_on(self, node_name: str) -> Iterator[Object]:
        """Pods with spec.nodeName (an index, not a scan); "" gives the unscheduled ones."""
        ...

    def changed_at(self, kind: Kind, namespace: str, name: str) -> float | None:
        """When this view last saw the object change, on the monotonic clock of Moment. What was there before the view filled
        itself counts as changed at that time. An object that ended lately has the time of its end. None: not seen, or gone."""
        ...
