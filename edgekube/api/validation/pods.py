"""Pods: what may be created, and the little that may change afterwards.

Enters: defaulted pods, new and old; the subresource through which they change.
Leaves: causes appended to ``out``.
Holds: a running pod's spec is fixed but for images, a shorter deadline, added tolerations, and lifted scheduling gates.
Source: core/validation ValidatePodCreate, ValidatePodUpdate, ValidatePodStatusUpdate, ValidatePodEphemeralContainersUpdate,
    ValidatePodBinding.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.restarting import could_restart_all, restarts
from edgekube.api.validation import causes, inner
from edgekube.api.validation.addresses import check_ip
from edgekube.api.validation.fields import Out, check, dns_subdomain, items, part, qualified_name, repeated, same, text
from edgekube.api.validation.metadata import of_prefix
from edgekube.api.validation.placement import check_tolerations
from edgekube.api.validation.podspec import check_pod_annotations, check_pod_spec
from edgekube.api.validation.security import APPARMOR_PREFIX

_MIRROR: Final = "kubernetes.io/config.mirror"
_INT32_MAX: Final = 2**31 - 1
_UPDATABLE: Final = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
#: False is not the same there as nothing.
_TOLD_FROM_NOTHING: Final = (
    "automountServiceAccountToken", "enableServiceLinks", "hostUsers", "setHostnameAsFQDN", "shareProcessNamespace",
)  # fmt: skip
_SYSTEM_CONDITIONS: Final = ("PodScheduled", "Ready", "Initialized")
_STATUS_LISTS: Final = {
    "containerStatuses": "containers",
    "initContainerStatuses": "initContainers",
    "ephemeralContainerStatuses": "ephemeralContainers",
}


def check_pod(out: Out, pod: Object) -> None:
    metadata, spec = part(pod, "metadata"), part(pod, "spec")
    check_pod_annotations(out, metadata.get("annotations"), spec, "metadata.annotations")
    check_pod_spec(out, spec, "spec", is_pod=True, pod_name=text(metadata, "name"))
    if not spec.get("serviceAccountName"):
        for i, volume in enumerate(items(spec, "volumes")):
            for j, source in enumerate(items(part(volume, "projected"), "sources")):
                if source.get("serviceAccountToken") is not None:
                    path = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                    out.append(causes.forbidden(path, "must not be specified when serviceAccountName is not set"))


def check_pod_create(out: Out, pod: Object) -> None:
    check_pod(out, pod)
    spec = part(pod, "spec")
    if spec.get("ephemeralContainers"):
        out.append(causes.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        detail = "cannot be set until all schedulingGates have been cleared"
        out.append(causes.forbidden("spec.nodeName", detail))


def check_pod_update(out: Out, new: Object, old: Object) -> None:
    check_pod(out, new)
    prefix = text(part(new, "metadata"), "generateName")
    if prefix:
        for check_name in (names.path_segment, dns_subdomain):
            check(out, check_name(of_prefix(prefix)), "metadata.generateName", prefix)
    _check_annotation_changes(out, new, old)
    spec, old_spec = part(new, "spec"), part(old, "spec")
    for key in ("containers", "initContainers"):
        if len(items(spec, key)) != len(items(old_spec, key)):
            out.append(causes.forbidden(f"spec.{key}", "pod updates may not add or remove containers"))
            return
    if not _check_deadline(out, spec, old_spec):
        return
    _check_added_tolerations(out, items(spec, "tolerations"), items(old_spec, "tolerations"))
    old_gates = {text(gate, "name") for gate in items(old_spec, "schedulingGates")}
    for i, gate in enumerate(items(spec, "schedulingGates")):
        name = text(gate, "name")
        if name not in old_gates:
            detail = f"only deletion is allowed, but found new scheduling gate '{name}'"
            out.append(causes.forbidden(f"spec.schedulingGates[{i}].name", detail))
    changed = _changed_fields(out, spec, old_spec, gated=bool(old_gates))
    if changed:
        shown = "\n".join(f"  {key}" for key in changed)
        out.append(causes.forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}\n{shown}"))


def _check_annotation_changes(out: Out, new: Object, old: Object) -> None:
    after, before = part(part(new, "metadata"), "annotations"), part(part(old, "metadata"), "annotations")
    for key in sorted(after.keys() | before.keys()):
        if after.get(key) == before.get(key):
            continue
        verb = "remove or update" if key in before else "add"
        if key.startswith(APPARMOR_PREFIX):
            out.append(causes.forbidden(f"metadata.annotations[{key}]", f"may not {verb} AppArmor annotations"))
        if key == _MIRROR:
            out.append(causes.forbidden(f"metadata.annotations[{key}]", f"may not {verb} mirror pod annotation"))


def _check_deadline(out: Out, spec: Object, old_spec: Object) -> bool:
    """From none to some, or to less; False ends the checks as upstream ends them."""
    deadline, before, path = (
        spec.get("activeDeadlineSeconds"),
        old_spec.get("activeDeadlineSeconds"),
        "spec.activeDeadlineSeconds",
    )
    if deadline is None:
        if before is not None:
            out.append(causes.invalid(path, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= deadline <= _INT32_MAX:
        out.append(causes.invalid(path, deadline, names.outside(0, _INT32_MAX)))
        return False
    if before is not None and before < deadline:
        out.append(causes.invalid(path, deadline, "must be less than or equal to previous value"))
        return False
    return True


def _check_added_tolerations(out: Out, tolerations: list[Object], before: list[Object]) -> None:
    def key(toleration: Object) -> tuple[str, ...]:
        return tuple(text(toleration, part_) for part_ in ("key", "operator", "value", "effect"))

    if not {key(toleration) for toleration in before} <= {key(toleration) for toleration in tolerations}:
        detail = "existing toleration can not be modified except its tolerationSeconds"
        out.append(causes.forbidden("spec.tolerations", detail))
        return
    check_tolerations(out, tolerations, "spec.tolerations")


def _changed_fields(out: Out, spec: Object, old_spec: Object, *, gated: bool) -> list[str]:
    """Top-level fields of the spec whose change is not allowed."""
    free = {"activeDeadlineSeconds", "tolerations", "schedulingGates"}
    if gated:
        free |= {"nodeSelector", "affinity"}
        _check_gated_placement(out, spec, old_spec)
    changed = []
    for key in sorted(spec.keys() | old_spec.keys()):
        if key in free:
            continue
        value, before = spec.get(key), old_spec.get(key)
        if key in ("containers", "initContainers"):
            value = [{**one, "image": ""} for one in items(spec, key)]
            before = [{**one, "image": ""} for one in items(old_spec, key)]
        elif key == "terminationGracePeriodSeconds" and value == 1 and (before or 0) < 0:
            continue
        if not same(value, before) or (key in _TOLD_FROM_NOTHING and (value is None) != (before is None)):
            changed.append(key)
    return changed


def _check_gated_placement(out: Out, spec: Object, old_spec: Object) -> None:
    """While scheduling waits, placement may be narrowed."""
    selector, before = part(spec, "nodeSelector"), part(old_spec, "nodeSelector")
    if any(selector.get(key) != value for key, value in before.items()):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        out.append(causes.invalid("spec.nodeSelector", spec.get("nodeSelector"), detail))
    affinity, old_affinity = part(spec, "affinity"), part(old_spec, "affinity")
    for key in ("podAffinity", "podAntiAffinity"):
        if not same(affinity.get(key), old_affinity.get(key)):
            out.append(causes.forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}\n  affinity.{key}"))
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    old_terms = items(part(part(old_affinity, "nodeAffinity"), required), "nodeSelectorTerms")
    terms = items(part(part(affinity, "nodeAffinity"), required), "nodeSelectorTerms")
    path = f"spec.affinity.nodeAffinity.{required}.nodeSelectorTerms"
    if old_terms and len(terms) != len(old_terms):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        shown = [inner.inner(term, inner.NODE_TERM) for term in terms] or None
        out.append(causes.invalid(path, shown, detail))
        return
    for i, (term, old_term) in enumerate(zip(terms, old_terms, strict=False)):
        for key in ("matchExpressions", "matchFields"):
            kept = items(old_term, key)
            if not same(items(term, key)[: len(kept)], kept):
                out.append(
                    causes.invalid(
                        f"{path}[{i}]",
                        inner.inner(term, inner.NODE_TERM),
                        "only additions are allowed (no mutations or deletions)",
                    )
                )
                break


# --- subresources ------------------------------------------------------------------------------------------------------


def check_pod_status(out: Out, new: Object, old: Object) -> None:
    _check_annotation_changes(out, new, old)
    spec, old_spec, status, old_status = part(new, "spec"), part(old, "spec"), part(new, "status"), part(old, "status")
    for i, condition in enumerate(items(status, "conditions")):
        kind = text(condition, "type")
        if kind not in _SYSTEM_CONDITIONS:
            check(out, qualified_name(kind), f"metadata.conditions[{i}].Type", kind)
    if text(spec, "nodeName") != text(old_spec, "nodeName"):
        out.append(causes.forbidden("status.nodeName", "may not be changed directly"))
    nominated = text(status, "nominatedNodeName")
    if nominated and nominated != text(old_status, "nominatedNodeName"):
        check(out, dns_subdomain(nominated), "status.nominatedNodeName", nominated)
    if old_status.get("qosClass") and text(status, "qosClass") != old_status["qosClass"]:
        out.append(causes.invalid("status.qosClass", text(status, "qosClass"), causes.IMMUTABLE))
    for key, group in _STATUS_LISTS.items():
        if group == "ephemeralContainers" or not could_restart_all(old):
            _check_transitions(out, status, old, key, group)
    _check_status_ips(out, status, old_status)


def _check_transitions(out: Out, status: Object, old: Object, key: str, group: str) -> None:
    """What has ended for good stays ended."""
    after = {text(one, "name"): one for one in items(status, key)}
    containers = {text(one, "name"): one for one in items(part(old, "spec"), group)}
    for i, before in enumerate(items(part(old, "status"), key)):
        name, ended = text(before, "name"), part(before, "state").get("terminated")
        if ended is None or name not in after:
            continue
        container = containers.get(name) if group != "ephemeralContainers" else None
        if container is not None and restarts(old, container, int(ended.get("exitCode") or 0)):
            continue
        if part(after[name], "state").get("terminated") is None:
            detail = "may not be transitioned to non-terminated state"
            out.append(causes.forbidden(f"status.{key}[{i}].state", detail))


def _check_status_ips(out: Out, status: Object, before: Object) -> None:
    for key in ("podIPs", "hostIPs"):
        addresses = [text(one, "ip") for one in items(status, key)]
        again = repeated(addresses)
        for i, address in enumerate(addresses):
            check_ip(out, address, f"status.{key}[{i}]", [text(one, "ip") for one in items(before, key)])
            if i in again:
                out.append(causes.duplicate(f"status.{key}[{i}]", {"IP": address}))
        families = [":" in address for address in addresses]
        if len(addresses) > 2 or len(set(families)) != len(families):
            detail = "may specify no more than one IP for each IP family"
            out.append(causes.invalid(f"status.{key}", status.get(key), detail))


def check_ephemeral_update(out: Out, new: Object, old: Object) -> None:
    if _MIRROR in part(part(old, "metadata"), "annotations"):
        out.append(causes.forbidden("", "static pods do not support ephemeral containers"))
        return
    check_pod(out, new)
    after = {text(one, "name"): one for one in items(part(new, "spec"), "ephemeralContainers")}
    path = "spec.ephemeralContainers"
    for before in items(part(old, "spec"), "ephemeralContainers"):
        name = text(before, "name")
        if name not in after:
            detail = f"existing ephemeral containers {causes.quoted(name)} may not be removed\n"
            out.append(causes.forbidden(path, detail))
        elif not same(after[name], before):
            changed = sorted(key for key in after[name].keys() | before.keys() if not same(after[name].get(key), before.get(key)))
            shown = "\n".join(f"  {key}" for key in changed)
            detail = f"existing ephemeral containers {causes.quoted(name)} may not be changed\n{shown}"
            out.append(causes.forbidden(path, detail))


def check_binding(out: Out, binding: Object) -> None:
    target = part(binding, "target")
    if target.get("kind") and target["kind"] != "Node":
        out.append(causes.not_supported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        out.append(causes.required("target.name"))
