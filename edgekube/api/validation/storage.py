"""PersistentVolumes, claims, and the classes of both.

Enters: defaulted objects; the old one on update.
Leaves: causes appended to ``out``.
Holds: what a volume is made of does not change; a bound claim may only grow.
Source: core/validation ValidatePersistentVolume, ValidatePersistentVolumeClaim; storage/validation.
Next: api.validation.
"""

from __future__ import annotations

import posixpath
from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.csi import check_driver_name
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
    check_no_backsteps,
    check_one_of,
    check_one_of_given,
    check_present,
    dns_label,
    dns_subdomain,
    items,
    part,
    qualified_name,
    repeated,
    same,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_label_key
from edgekube.api.validation.placement import check_node_selector
from edgekube.api.validation.resources import amount, check_positive_quantity
from edgekube.api.validation.volumes import (
    MISNAMED,
    NAMED_OTHERWISE,
    VOLUME_MODES,
    check_access_modes,
    check_claim_spec,
    check_source,
)

_SOURCES: Final = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip
_CSI_SECRETS: Final = (
    "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
)  # fmt: skip
_RECLAIM: Final = ("Delete", "Recycle", "Retain")
_INLINE: Final = "in the context of inline volumes"
_BINDING_MODES: Final = ("Immediate", "WaitForFirstConsumer")
_PARAMETERS_BYTES_MAX: Final = 256 * 1024
_PARAMETERS_MAX: Final = 512
_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
#: What may be said of a resize, in status.allocatedResourceStatuses.
_RESIZE_STATES: Final = (
    "ControllerResizeInfeasible", "ControllerResizeInProgress", "NodeResizeInfeasible", "NodeResizeInProgress",
    "NodeResizePending",
)  # fmt: skip
_CLAIM_FREE: Final = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


# --- PersistentVolume ------------------------------------------------------------------------------------------------


def check_volume(out: Out, volume: Object) -> None:
    check_volume_spec(out, part(volume, "spec"), "spec")


def check_volume_spec(out: Out, spec: Object, path: str, *, inline: bool = False) -> None:
    """``inline``: of a VolumeAttachment, for a volume of a pod that is no object of its own."""
    if inline:
        for key in ("claimRef", "capacity"):
            if spec.get(key):
                out.append(causes.forbidden(f"{path}.{key}", f"may not be specified {_INLINE}"))
        if spec.get("csi") is None:
            out.append(causes.required(f"{path}.csi", f"has to be specified {_INLINE}"))
    check_access_modes(out, spec, path, missing="")
    if inline:
        if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
            detail = f"may only be Retain {_INLINE}"
            out.append(causes.forbidden(f"{path}.persistentVolumeReclaimPolicy", detail))
    else:
        _check_volume_capacity(out, spec.get("capacity"), f"{path}.capacity")
        check_one_of(out, spec, "persistentVolumeReclaimPolicy", path, _RECLAIM, needed=False)
    affinity = spec.get("nodeAffinity")
    if affinity is not None and inline:
        out.append(causes.forbidden(f"{path}.nodeAffinity", f"may not be specified {_INLINE}"))
    elif affinity is not None and affinity.get("required") is None:
        out.append(causes.required(f"{path}.nodeAffinity.required", "must specify required node constraints"))
    elif affinity is not None:
        check_node_selector(out, affinity["required"], f"{path}.nodeAffinity.required")
    _check_volume_source(out, spec, path, has_affinity=affinity is not None and not inline)
    if text(spec, "storageClassName"):
        if inline:
            out.append(causes.forbidden(f"{path}.storageClassName", f"may not be specified {_INLINE}"))
        else:
            check(out, dns_subdomain(text(spec, "storageClassName")), f"{path}.storageClassName", text(spec, "storageClassName"))
    if not inline:
        check_one_of_given(out, spec, "volumeMode", path, VOLUME_MODES)
        _check_volume_attributes(out, spec, path)
    elif spec.get("volumeMode") not in (None, "Filesystem"):
        out.append(causes.forbidden(f"{path}.volumeMode", f"may not specify volumeMode other than Filesystem {_INLINE}"))


def _check_volume_capacity(out: Out, capacity: Object | None, path: str) -> None:
    if not capacity:
        out.append(causes.required(path))
    if not capacity or set(capacity) != {"storage"}:
        out.append(causes.not_supported(path, None if capacity is None else dict(sorted(capacity.items())), ("storage",)))
    for name, quantity in (capacity or {}).items():
        check_positive_quantity(out, quantity, f"{path}[{name}]")


def _check_volume_attributes(out: Out, spec: Object, path: str) -> None:
    attributes = spec.get("volumeAttributesClassName")
    if attributes is None:
        return
    if not attributes:
        out.append(causes.required(f"{path}.volumeAttributesClassName", "an empty string is disallowed"))
    else:
        check(out, dns_subdomain(attributes), f"{path}.volumeAttributesClassName", attributes)
    if spec.get("csi") is None:
        out.append(causes.required(f"{path}.csi", "has to be specified when using volumeAttributesClassName"))


def _check_volume_source(out: Out, spec: Object, path: str, *, has_affinity: bool) -> None:
    given = [key for key in _SOURCES if spec.get(key) is not None]
    if not given:
        out.append(causes.required(path, "must specify a volume type"))
        return
    for key in given[1:]:
        out.append(causes.forbidden(f"{path}.{MISNAMED.get(key, key)}", "may not specify more than 1 volume type"))
    kind = given[0]
    source, within = spec[kind], f"{path}.{NAMED_OTHERWISE.get(kind, kind)}"
    if kind == "local":
        if check_present(out, source, "path", within):
            check_no_backsteps(out, source["path"], f"{within}.path")
        if not has_affinity:
            out.append(causes.required(f"{within}.nodeAffinity", "Local volume requires node affinity"))
    elif kind == "csi":
        check_driver_name(out, text(source, "driver"), f"{within}.driver")
        check_present(out, source, "volumeHandle", within)
        for key in _CSI_SECRETS:
            if source.get(key) is not None:
                _check_secret_reference(out, source[key], f"{within}.{key}")
    else:
        check_source(out, kind, source, within)
    if kind == "hostPath" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        host_path = text(source, "path")
        if host_path and posixpath.normpath(host_path) == "/":
            detail = "may not be 'recycle' for a hostPath mount of '/'"
            out.append(causes.forbidden(f"{path}.persistentVolumeReclaimPolicy", detail))


def _check_secret_reference(out: Out, reference: Object, field: str) -> None:
    for key, check_name in (("name", dns_subdomain), ("namespace", dns_label)):
        if check_present(out, reference, key, field):
            check(out, check_name(reference[key]), f"{field}.{key}", reference[key])


def check_volume_update(out: Out, new: Object, old: Object) -> None:
    check_volume(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    changed = []
    for key in _SOURCES:
        source, old_source = spec.get(key), before.get(key)
        if key == "csi" and source and old_source and old_source.get("controllerExpandSecretRef") is None:
            source = {name: value for name, value in source.items() if name != "controllerExpandSecretRef"}
        if not same(source, old_source) or (source is None) != (old_source is None):
            changed.append(key)
    if changed:
        shown = "\n".join(f"  {key}" for key in changed)
        detail = f"spec.persistentvolumesource is immutable after creation\n{shown}"
        out.append(causes.forbidden("spec.persistentvolumesource", detail))
    check_immutable(out, spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    if before.get("nodeAffinity") is not None and not same(spec.get("nodeAffinity"), before["nodeAffinity"]):
        detail = f"{causes.IMMUTABLE}, except for updating from beta label to GA"
        shown = inner.inner(spec.get("nodeAffinity"), inner.VOLUME_AFFINITY)
        out.append(causes.invalid("nodeAffinity", shown, detail))
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        out.append(causes.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"))


# --- PersistentVolumeClaim -------------------------------------------------------------------------------------------


def check_claim(out: Out, claim: Object) -> None:
    check_claim_spec(out, part(claim, "spec"), "spec")


def check_claim_update(out: Out, new: Object, old: Object) -> None:
    check_claim(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    bound = part(new, "status").get("phase") == "Bound"
    free = {"resources", "volumeMode"}
    if not before.get("volumeName"):
        free.add("volumeName")
    if before.get("storageClassName") is None and spec.get("storageClassName") is not None:
        annotated = part(part(old, "metadata"), "annotations").get(_BETA_CLASS)
        if annotated is None or annotated == spec["storageClassName"]:
            free.add("storageClassName")
    if bound:
        free.add("volumeAttributesClassName")
    changed = sorted(key for key in (spec.keys() | before.keys()) - free if not same(spec.get(key), before.get(key)))
    resources, old_resources = part(spec, "resources"), part(before, "resources")
    requests, old_requests = part(resources, "requests"), part(old_resources, "requests")
    others = {key: value for key, value in requests.items() if key != "storage"}
    old_others = {key: value for key, value in old_requests.items() if key != "storage"}
    size, old_size = amount(requests.get("storage")), amount(old_requests.get("storage"))
    if (
        not same(others, old_others)
        or not same(resources.get("limits"), old_resources.get("limits"))
        or (not bound and size != old_size)
    ):
        changed.append("resources")
    if changed:
        shown = "\n".join(f"  {key}" for key in changed)
        out.append(causes.forbidden("spec", f"{_CLAIM_FREE}\n{shown}"))
    if (size or 0) < (old_size or 0):
        has = amount(part(part(old, "status"), "capacity").get("storage")) or 0
        if (size or 0) <= has:
            out.append(causes.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    check_immutable(out, spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    chosen, path = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    current = part(old, "status").get("currentVolumeAttributesClassName")
    if current is not None and chosen != before.get("volumeAttributesClassName") and not chosen:
        what = "nil" if chosen is None else "empty string"
        out.append(
            causes.forbidden(path, f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil")
        )


def check_claim_status(out: Out, new: Object, old: Object) -> None:
    status = part(new, "status")
    for name, quantity in part(status, "capacity").items():
        _check_amount(out, quantity, f"status.capacity[{name}]")
    path = "status.allocatedResourceStatuses"
    for name, state in part(status, "allocatedResourceStatuses").items():
        _check_resource_key(out, name, path)
        if state not in _RESIZE_STATES:
            out.append(causes.not_supported(path, name, _RESIZE_STATES))
    path = "status.allocatedResources"
    for name, quantity in part(status, "allocatedResources").items():
        if _check_resource_key(out, name, path):
            _check_amount(out, quantity, f"{path}[{name}]")


def _check_amount(out: Out, quantity: Any, field: str) -> None:
    value = amount(quantity)
    if value is not None and value < 0:
        out.append(causes.invalid(field, str(quantity), "must be a valid resource quantity"))


def _check_resource_key(out: Out, name: str, field: str) -> bool:
    messages = qualified_name(name)
    if messages:
        check(out, messages, field, name)
    elif name != "storage" and _is_native(name):
        out.append(causes.not_supported(field, name, ("storage",)))
        return False
    return not messages


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


# --- storage.k8s.io --------------------------------------------------------------------------------------------------


def _check_parameters(out: Out, parameters: Object, field: str) -> None:
    if len(parameters) > _PARAMETERS_MAX:
        out.append(causes.too_long(field, _PARAMETERS_MAX))
        return
    size_bytes = 0
    for key, value in parameters.items():
        if not key:
            out.append(causes.invalid(field, key, "field can not be empty."))
        size_bytes += len(key) + len(value or "")
    if size_bytes > _PARAMETERS_BYTES_MAX:
        out.append(causes.too_long(field, _PARAMETERS_BYTES_MAX))


def _check_provisioner(out: Out, obj: Object, key: str) -> None:
    name = text(obj, key)
    if not name:
        out.append(causes.required(key))
    else:
        check(out, qualified_name(name.lower()), key, name.lower())


def check_storage_class(out: Out, storage_class: Object) -> None:
    _check_provisioner(out, storage_class, "provisioner")
    _check_parameters(out, part(storage_class, "parameters"), "parameters")
    check_one_of(out, storage_class, "reclaimPolicy", "", ("Delete", "Retain"), needed=False)
    if storage_class.get("volumeBindingMode") is None:
        out.append(causes.required("volumeBindingMode"))
    check_one_of_given(out, storage_class, "volumeBindingMode", "", _BINDING_MODES)
    _check_topologies(out, items(storage_class, "allowedTopologies"))


def _check_topologies(out: Out, terms: list[Object]) -> None:
    seen: list[dict[str, frozenset[str]]] = []
    for i, term in enumerate(terms):
        path, raw = f"allowedTopologies[{i}]", {}
        for j, requirement in enumerate(items(term, "matchLabelExpressions")):
            at, key, values = f"{path}.matchLabelExpressions[{j}]", text(requirement, "key"), texts(requirement, "values")
            if not values:
                out.append(causes.required(f"{at}.values"))
            again = repeated(values)
            for k, value in enumerate(values):
                if k in again:
                    out.append(causes.duplicate(f"{at}.values[{k}]", value))
            check_label_key(out, key, f"{at}.key")
            if key in raw:
                out.append(causes.duplicate(f"{at}.key", key))
            raw[key] = frozenset(values)
        # Upstream's list begins with one empty term for each term, so that one without requirements is always a duplicate.
        if raw in seen or not raw:
            out.append(causes.duplicate(f"{path}.matchLabelExpressions", ""))
        seen.append(raw)


def check_storage_class_update(out: Out, new: Object, old: Object) -> None:
    check_storage_class(out, new)
    for key in ("parameters", "reclaimPolicy", "volumeBindingMode"):
        check_immutable(out, new.get(key), old.get(key), key)
    check_immutable(out, new.get("provisioner"), old.get("provisioner"), "provisioner", missing="")


def check_attributes_class(out: Out, attributes: Object) -> None:
    _check_provisioner(out, attributes, "driverName")
    parameters = part(attributes, "parameters")
    if not parameters:
        out.append(causes.required("parameters", "must contain at least one key/value pair"))
    _check_parameters(out, parameters, "parameters")


def check_attributes_class_update(out: Out, new: Object, old: Object) -> None:
    if text(new, "driverName") != text(old, "driverName"):
        out.append(causes.forbidden("driverName", "updates to driverName are forbidden."))
    if not same(new.get("parameters"), old.get("parameters")):
        out.append(causes.forbidden("parameters", "updates to parameters are forbidden."))
    check_attributes_class(out, new)
