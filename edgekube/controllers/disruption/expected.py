"""How many pods a budget is about, and how many of them must stay healthy.

Enters: a PodDisruptionBudget, the pods that it selects, and their controllers: through the view; the scale of those of other
kinds, as somebody asked for it.
Leaves: Expected.
Holds: a share is one of what the pods' controllers want, not of what is there; pods without controller do not count then.
Cannot tell, and says so: pods of kinds without a scale.
Next: budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct, field

from edgekube.api import intstr
from edgekube.api.kinds import DEPLOYMENT, POD, REPLICASET, REPLICATIONCONTROLLER, STATEFULSET, Kind
from edgekube.api.objects import Object, controller_of, uid_of
from edgekube.api.pod_facts import PodFacts
from edgekube.api.view import View

_SCALED: Final[dict[tuple[str, str], Kind]] = {
    ("", "ReplicationController"): REPLICATIONCONTROLLER,
    ("apps", "ReplicaSet"): REPLICASET,
    ("apps", "StatefulSet"): STATEFULSET,
    ("apps", "Deployment"): DEPLOYMENT,
}


class CannotTell(Exception):
    """Why the number of pods is not known."""


#: By the controller's uid: how many pods it wants; None, if it is not there; or why that is not known.
Scales: TypeAlias = Mapping[str, int | CannotTell | None]


class Expected(Struct):
    pods: int
    healthy: int
    unmanaged: list[str] = field(default_factory=list)


def expected(view: View, budget: Object, pods: Sequence[PodFacts], scales: Scales) -> Expected:
    spec = budget.get("spec") or {}
    if spec.get("maxUnavailable") is not None:
        wanted, unmanaged = _scale(view, pods, scales)
        return Expected(wanted, max(0, wanted - _share(spec["maxUnavailable"], wanted)), unmanaged)
    least = spec.get("minAvailable")
    if least is None:
        return Expected(0, 0)
    if isinstance(least, int):
        return Expected(len(pods), least)
    wanted, unmanaged = _scale(view, pods, scales)
    return Expected(wanted, _share(least, wanted), unmanaged)


def asked_elsewhere(view: View, budget: Object, pods: Sequence[PodFacts]) -> dict[str, Object]:
    """References to controllers whose scale no view has, by uid; none where the budget does not depend on them."""
    spec = budget.get("spec") or {}
    if spec.get("maxUnavailable") is None and not isinstance(spec.get("minAvailable"), str):
        return {}
    one_of_each = {pod.controller: pod for pod in reversed(pods) if pod.controller}
    owners = {uid: _controller_of(view, pod) for uid, pod in one_of_each.items()}
    return {uid: owner for uid, owner in owners.items() if owner is not None and _in_view(owner) is None}


def _controller_of(view: View, pod: PodFacts) -> Object | None:
    found = view.get(POD, pod.namespace, pod.name)
    return None if found is None else controller_of(found)


def _share(value: int | str, total: int) -> int:
    try:
        return intstr.resolve(value, total, round_up=True)
    except ValueError as error:
        raise CannotTell(str(error)) from None


def _scale(view: View, pods: Sequence[PodFacts], scales: Scales) -> tuple[int, list[str]]:
    """What the pods' controllers want together, and the pods that have none."""
    wanted: dict[str, int] = {}
    seen: set[str] = set()
    unmanaged: list[str] = []
    for pod in pods:
        if not pod.controller:
            unmanaged.append(pod.name)
        elif pod.controller not in seen:
            uid = pod.controller
            seen.add(uid)
            owner = _controller_of(view, pod) or {}
            if _in_view(owner) is not None:
                found = _controller(view, owner, pod.namespace)
                scale = None if found is None else _replicas(found)
                uid = uid if found is None else uid_of(found)
            else:
                scale = _told(scales.get(uid, CannotTell(f"{owner.get('kind')} {owner.get('name')} was not asked for its scale")))
            if scale is None:
                raise CannotTell(f'found no controllers for pod "{pod.name}"')
            wanted[uid] = scale
    return sum(wanted.values()), unmanaged


def _replicas(obj: Object) -> int:
    replicas = (obj.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _told(scale: int | CannotTell | None) -> int | None:
    if isinstance(scale, CannotTell):
        raise scale
    return scale


def _in_view(reference: Object) -> Kind | None:
    group = str(reference.get("apiVersion") or "").rpartition("/")[0]
    return _SCALED.get((group, str(reference.get("kind"))))


def _controller(view: View, reference: Object, namespace: str) -> Object | None:
    """The object that says how many: a ReplicaSet's Deployment, if it has one."""
    kind = _in_view(reference)
    if kind is None:
        return None
    found = view.get(kind, namespace, str(reference.get("name")))
    if found is None or uid_of(found) != reference.get("uid"):
        return None
    parent = controller_of(found)
    if kind is REPLICASET and parent is not None and parent.get("kind") == DEPLOYMENT.kind:
        return _controller(view, parent, namespace)
    return found
