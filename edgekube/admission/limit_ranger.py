"""Limit ranges of a namespace: defaults for containers, and bounds for containers, pods and claims.

Enters: the limit ranges of a namespace; a pod or claim that is to be written.
Leaves: the pod with its defaults; what the bounds forbid, as text.
Holds: pure; defaults come before bounds, from each range in turn; what a container says itself stays.
Source: k8s.io/kubernetes plugin/pkg/admission/limitranger; kubernetes.io/docs/concepts/policy/limit-range.
Next: registry.limit_ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from edgekube.admission.pod_resources import Amounts, amounts_of, asked
from edgekube.api import quantities
from edgekube.api.objects import Object, metadata_of

ANNOTATION: Final = "kubernetes.io/limit-ranger"
CONTAINER: Final = "Container"
POD: Final = "Pod"
CLAIM: Final = "PersistentVolumeClaim"


def _rows(limit_range: Object, kind: str) -> Iterator[Object]:
    return (row for row in (limit_range.get("spec") or {}).get("limits") or () if row.get("type") == kind)


def fill(limit_range: Object, pod: Object) -> None:
    """Requests and limits where a container has none; an annotation tells what was done."""
    wanted: dict[str, Amounts] = {"requests": {}, "limits": {}}
    for row in _rows(limit_range, CONTAINER):
        wanted["requests"] |= row.get("defaultRequest") or {}
        wanted["limits"] |= row.get("default") or {}
    done: list[str] = []
    spec = pod.get("spec") or {}
    for group, noun in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(group) or ():
            for key, what in (("requests", "request"), ("limits", "limit")):
                added = _add_missing(container, key, wanted[key])
                if added:
                    done.append(f"{', '.join(added)} {what} for {noun} {container.get('name') or ''}")
    if done:
        annotations = metadata_of(pod).setdefault("annotations", {})
        annotations[ANNOTATION] = f"LimitRanger plugin set: {'; '.join(done)}"


def _add_missing(container: Object, key: str, wanted: Amounts) -> list[str]:
    if not wanted:
        return []
    resources = dict(container.get("resources") or {})
    present = resources.get(key) or {}
    missing = sorted(wanted.keys() - present.keys())
    if missing:
        resources[key] = {**present, **{name: wanted[name] for name in missing}}
        container["resources"] = resources
    return missing


def objections(limit_range: Object, group_resource: str, obj: Object) -> list[str]:
    """What the bounds of one range forbid about a pod or a claim. Empty: nothing."""
    if group_resource == "persistentvolumeclaims":
        return list(_to_claim(limit_range, obj))
    return list(_to_pod(limit_range, obj))


def refusal(texts: Iterable[str]) -> str:
    """Several objections as one text."""
    distinct = list(dict.fromkeys(texts))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"


def _to_pod(limit_range: Object, pod: Object) -> Iterator[str]:
    spec = pod.get("spec") or {}
    for row in (limit_range.get("spec") or {}).get("limits") or ():
        if row.get("type") == CONTAINER:
            for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
                yield from _bounds(row, amounts_of(container, "requests"), amounts_of(container, "limits"))
        elif row.get("type") == POD:
            yield from _bounds(row, asked(pod, "requests"), asked(pod, "limits"))


def _to_claim(limit_range: Object, claim: Object) -> Iterator[str]:
    requests = amounts_of(claim.get("spec") or {}, "requests")
    for row in _rows(limit_range, CLAIM):
        for name, bound in _sorted(row.get("min")):
            yield from _too_little(CLAIM, name, bound, requests, {})
        for name, bound in _sorted(row.get("max")):
            if name not in requests:
                yield f"maximum {name} usage per {CLAIM} is {bound}.  No request is specified"
            elif _over(requests[name], bound):
                yield f"maximum {name} usage per {CLAIM} is {bound}, but request is {requests[name]}"


def _sorted(bounds: Mapping[str, str] | None) -> list[tuple[str, str]]:
    return [(name, quantities.canonical(bound)) for name, bound in sorted((bounds or {}).items())]


def _bounds(row: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = str(row.get("type"))
    for name, bound in _sorted(row.get("min")):
        yield from _too_little(kind, name, bound, requests, limits)
    for name, bound in _sorted(row.get("max")):
        yield from _too_much(kind, name, bound, requests, limits)
    for name, bound in _sorted(row.get("maxLimitRequestRatio")):
        yield from _too_far_apart(kind, name, bound, requests, limits)


def _over(amount: str, bound: str) -> bool:
    return quantities.to_milli(amount) > quantities.to_milli(bound)


def _too_little(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    bounded = f"minimum {name} usage per {kind} is {bound}"
    if name not in requests:
        yield f"{bounded}.  No request is specified"
    elif _over(bound, requests[name]):
        yield f"{bounded}, but request is {requests[name]}"
    elif name in limits and _over(bound, limits[name]):
        yield f"{bounded}, but limit is {limits[name]}"


def _too_much(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    bounded = f"maximum {name} usage per {kind} is {bound}"
    if name not in limits:
        yield f"{bounded}.  No limit is specified"
    elif _over(limits[name], bound):
        yield f"{bounded}, but limit is {limits[name]}"
    elif name in requests and _over(requests[name], bound):
        yield f"{bounded}, but request is {requests[name]}"


def _too_far_apart(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> Iterator[str]:
    bounded = f"{name} max limit to request ratio per {kind} is {bound}"
    request, limit = (quantities.to_milli(part.get(name, "0")) for part in (requests, limits))
    if not request:
        yield f"{bounded}, but no request is specified or request is 0"
    elif not limit:
        yield f"{bounded}, but no limit is specified or limit is 0"
    elif limit * 1000 > request * quantities.to_milli(bound):
        yield f"{bounded}, but provided ratio is {limit / request:f}"
