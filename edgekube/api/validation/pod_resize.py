"""Resizing a pod: cpu and memory of containers, and of the pod, may become others; nothing else.

Enters: defaulted pods, new and old, through pods/resize.
Leaves: causes appended to ``out``.
Holds: pure. What was set may be changed and not taken away; the QoS class stays.
Source: core/validation ValidatePodResize.
Next: api.validation.rules.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.qos import qos_class
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, items, part, same, text
from edgekube.api.validation.pods import check_pod

_MIRROR: Final = "kubernetes.io/config.mirror"
_RESIZABLE: Final = ("cpu", "memory")
_SIDES: Final = ("requests", "limits")


def check_resize(out: Out, new: Object, old: Object) -> None:
    if _MIRROR in part(part(old, "metadata"), "annotations"):
        out.append(causes.forbidden("", "static pods cannot be resized"))
        return
    spec, old_spec = part(new, "spec"), part(old, "spec")
    if part(old_spec, "os").get("name") == "windows":
        out.append(causes.forbidden("", "windows pods cannot be resized"))
        return
    check_pod(out, new)
    if qos_class(new) != qos_class(old):
        value = text(part(new, "status"), "qosClass")
        out.append(causes.invalid("spec", value, "Pod QOS Class may not change as a result of resizing"))
    if not _supported(old):
        out.append(causes.forbidden("spec", "Pod running on node without support for resize"))
    _check_pod_level(out, spec, old_spec)
    if part(old, "status").get("nodeAllocatableResourceClaimStatuses"):
        out.append(causes.forbidden("spec", "pods with node allocatable resource claims cannot be resized"))
    if not _check_order(out, spec, old_spec):
        return
    for key in ("initContainers", "containers"):
        for i, (container, before) in enumerate(zip(items(spec, key), items(old_spec, key), strict=True)):
            _check_removed(out, container, before, f"spec.{key}[{i}].resources", "resource")
    for container, before in zip(items(spec, "containers"), items(old_spec, "containers"), strict=True):
        if not same(_without_resizable(container), _without_resizable(before)):
            out.append(causes.forbidden("spec", "only cpu and memory resources are mutable"))
    for i, (container, before) in enumerate(zip(items(spec, "initContainers"), items(old_spec, "initContainers"), strict=True)):
        _check_init(out, container, before, f"spec.initContainers[{i}]")
    fixed = (spec.keys() | old_spec.keys()) - {"containers", "initContainers", "resources"}
    if not out and any(not same(spec.get(key), old_spec.get(key)) for key in fixed):
        out.append(causes.forbidden("spec", "only cpu and memory resources are mutable"))


def _supported(old: Object) -> bool:
    """The first running container tells: a node that resizes says what it has."""
    for status in items(part(old, "status"), "containerStatuses"):
        if part(status, "state").get("running") is not None:
            return status.get("resources") is not None
    return True


def _check_pod_level(out: Out, spec: Object, old_spec: Object) -> None:
    resources, before = spec.get("resources"), old_spec.get("resources")
    if before is not None and resources is None:
        out.append(causes.forbidden("spec.resources", "pod-level resources cannot be removed"))
        return
    if before is not None:
        _check_removed(out, spec, old_spec, "spec.resources", "pod-level resource")
    if _others(part(spec, "resources")) != _others(part(old_spec, "resources")):
        out.append(causes.forbidden("spec", "only cpu and memory resources are mutable at pod-level"))


def _check_order(out: Out, spec: Object, old_spec: Object) -> bool:
    good = True
    for key in ("containers", "initContainers"):
        after, before = items(spec, key), items(old_spec, key)
        if len(after) != len(before):
            out.append(causes.forbidden(f"spec.{key}", f"{key} may not be added or removed on resize"))
            good = False
            continue
        for i, (container, old) in enumerate(zip(after, before, strict=True)):
            if text(container, "name") != text(old, "name"):
                out.append(causes.forbidden(f"spec.{key}[{i}].name", f"{key} may not be renamed or reordered on resize"))
                good = False
    return good


def _check_removed(out: Out, holder: Object, before: Object, path: str, what: str) -> None:
    resources, old = part(holder, "resources"), part(before, "resources")
    for side in _SIDES:
        if part(old, side).keys() - part(resources, side).keys():
            out.append(causes.forbidden(f"{path}.{side}", f"{what} {side} cannot be removed"))


def _check_init(out: Out, container: Object, before: Object, path: str) -> None:
    if not same(_without_resizable(container), _without_resizable(before)):
        detail = "only cpu and memory resources for init or sidecar containers are mutable"
        out.append(causes.forbidden(path, detail))
    if before.get("restartPolicy") == "Always" or same(container, before):
        return
    for policy in items(container, "resizePolicy"):
        if policy.get("restartPolicy") == "RestartContainer":
            detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
            out.append(causes.forbidden(path, detail))


def _without_resizable(container: Object) -> Object:
    rest = {key: value for key, value in container.items() if key != "resources"}
    return {**rest, "resources": _others(part(container, "resources"))}


def _others(resources: Object) -> dict[str, Any]:
    """All but cpu and memory; claims too."""
    kept: dict[str, Any] = {f"{side}/{n}": q for side in _SIDES for n, q in part(resources, side).items() if n not in _RESIZABLE}
    if resources.get("claims"):
        kept["claims"] = resources["claims"]
    return kept
