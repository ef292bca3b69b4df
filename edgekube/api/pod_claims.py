"""Claiming pods without decoding those that stay as they are.

Enters: an owner, its selector, the view.
Leaves: facts of the pods that are its, and the calls that adopt and release.
Holds: as api.ownership.claim; only pods that are to be adopted or let go are looked at whole.
Next: controllers.replicaset, controllers.daemonset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgekube.api.calls import Call
from edgekube.api.kinds import POD, Kind
from edgekube.api.objects import Object, namespace_of, uid_of
from edgekube.api.ownership import claim
from edgekube.api.pod_facts import PodFacts
from edgekube.api.view import View


def claim_pods(
    kind: Kind,
    owner: Object,
    view: View,
    matches: Callable[[Mapping[str, str]], bool],
    *,
    adoptable: Callable[[Object], bool] = lambda _: True,
    concerns: Callable[[PodFacts], bool] = lambda _: True,
) -> tuple[list[PodFacts], list[Call]]:
    """``concerns``: which pods are looked at at all."""
    uid, namespace = uid_of(owner), namespace_of(owner)
    pods: list[PodFacts] = []
    changing: dict[str, PodFacts] = {}
    for pod in view.pod_facts_owned_by(uid):
        if not concerns(pod):
            continue
        if pod.controller == uid and matches(pod.labels):
            pods.append(pod)
        else:
            changing[pod.uid] = pod
    for pod in view.pod_facts_owned_by("", namespace):
        if concerns(pod) and matches(pod.labels):
            changing[pod.uid] = pod
    if not changing:
        return pods, []
    whole = [view.get(POD, pod.namespace, pod.name) for pod in sorted(changing.values(), key=lambda pod: pod.name)]
    candidates = [pod for pod in whole if pod is not None]
    claimed, calls = claim(kind, owner, POD, candidates, matches, adoptable=adoptable)
    return pods + [changing[uid_of(pod)] for pod in claimed], calls
