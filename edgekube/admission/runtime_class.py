"""A pod that names a RuntimeClass takes over its overhead and its scheduling.

Enters: a pod about to be created and the class it names (None: there is none of that name).
Leaves: the pod, changed in place; or the StatusError that refuses.
Holds: pure (source: k8s.io/kubernetes plugin/pkg/admission/runtimeclass).
Next: registry.admit.
"""

from __future__ import annotations

from edgekube.api import errors
from edgekube.api.objects import Object, name_of


def admit(pod: Object, named: str, found: Object | None) -> None:
    spec = pod["spec"]
    if not named:
        if spec.get("overhead"):
            why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise errors.forbidden("", "pods", name_of(pod), why)
        return
    if found is None:
        raise errors.forbidden("", "pods", name_of(pod), f'pod rejected: RuntimeClass "{named}" not found')
    overhead = (found.get("overhead") or {}).get("podFixed")
    if spec.get("overhead") and spec["overhead"] != overhead:
        why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        raise errors.forbidden("", "pods", name_of(pod), why)
    if overhead:
        spec["overhead"] = overhead
    scheduling = found.get("scheduling") or {}
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if selector.setdefault(key, value) != value:
            why = (
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {selector[key]}"
            )
            raise errors.forbidden("", "pods", name_of(pod), why)
    if selector:
        spec["nodeSelector"] = selector
    tolerations = spec.get("tolerations") or []
    added = [toleration for toleration in scheduling.get("tolerations") or [] if toleration not in tolerations]
    if added:
        spec["tolerations"] = [*tolerations, *added]
