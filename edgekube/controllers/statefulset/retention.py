"""Who owns a claim: persistentVolumeClaimRetentionPolicy, as owner references that the garbage collector acts on.

Enters: a StatefulSet, a pod and one of its claims.
Leaves: the owner references that the claim should have; None when they are right, or not ours to touch.
Holds: what another controller owns is left to it; a reference to an earlier namesake is left to the garbage collector.
Source: k8s.io/kubernetes pkg/controller/statefulset isClaimOwnerUpToDate, updateClaimOwnerRefForSetAndPod.
Next: stepping.
"""

from __future__ import annotations

from edgekube.api.kinds import POD, STATEFULSET, Kind
from edgekube.api.objects import Object, name_of, owners_of, spec_of, uid_of
from edgekube.api.ownership import controller_reference
from edgekube.controllers.statefulset.identity import in_range, ordinal_of


def _policy(stateful: Object) -> tuple[bool, bool]:
    """(delete when the set is deleted, delete when the pod is scaled away)."""
    policy = spec_of(stateful).get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenDeleted") == "Delete", policy.get("whenScaled") == "Delete"


def _names(reference: Object, kind: Kind, obj: Object) -> bool:
    return (
        reference.get("apiVersion") == kind.api_version
        and reference.get("kind") == kind.kind
        and reference.get("name") == name_of(obj)
    )


def has_stale_owner(claim: Object, kind: Kind, obj: Object) -> bool:
    """A reference to an object of this name that was another one."""
    reference = next((each for each in owners_of(claim) if _names(each, kind, obj)), None)
    return reference is not None and reference.get("uid") != uid_of(obj)


def is_stale(stateful: Object, pod: Object, claim: Object) -> bool:
    """The claim goes with the pod before: the next one must wait until it is gone."""
    return _policy(stateful)[1] and has_stale_owner(claim, POD, pod)


def conflicting_controller(claim: Object, stateful: Object, pod: Object) -> bool:
    """Somebody else controls the claim, while the policy would have us own it."""
    if not any(_policy(stateful)):
        return False
    for each in owners_of(claim):
        if _names(each, STATEFULSET, stateful):
            if each.get("uid") != uid_of(stateful):
                return True
        elif _names(each, POD, pod):
            if each.get("uid") != uid_of(pod):
                return True
        elif each.get("controller"):
            return True
    return False


def first_owners(stateful: Object) -> list[Object]:
    """What a claim is made with."""
    return [controller_reference(STATEFULSET, stateful)] if _policy(stateful)[0] else []


def owners_for(claim: Object, stateful: Object, pod: Object) -> list[Object] | None:
    if has_stale_owner(claim, STATEFULSET, stateful) or has_stale_owner(claim, POD, pod):
        return None
    uids = {uid_of(stateful), uid_of(pod)}
    ours = [each for each in owners_of(claim) if each.get("uid") in uids]
    others = [each for each in owners_of(claim) if not _names(each, STATEFULSET, stateful) and not _names(each, POD, pod)]
    if conflicting_controller(claim, stateful, pod):
        return others if ours else None
    wanted = _wanted(stateful, pod)
    right = {each.get("uid") for each in ours} == {each["uid"] for each in wanted} and all(
        each.get("controller") for each in ours
    )
    return None if right else others + wanted


def _wanted(stateful: Object, pod: Object) -> list[Object]:
    when_deleted, when_scaled = _policy(stateful)
    scaled_away = not in_range(stateful, ordinal_of(pod))
    if when_scaled and scaled_away:
        return [controller_reference(POD, pod)]
    return [controller_reference(STATEFULSET, stateful)] if when_deleted else []
