"""PersistentVolumes, claims, and the storage.k8s.io group.

Enters: defaulted objects; the old one on update.
Leaves: causes appended to ``out``.
Holds: what a volume is made of does not change; a bound claim may only grow.
Source: core/validation ValidatePersistentVolume, ValidatePersistentVolumeClaim; storage/validation.
Next: api.validation.
"""

from __future__ import annotations

import posixpath
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
    check_no_backsteps,
    check_one_of,
    check_present,
    dns_subdomain,
    items,
    part,
    qualified_name,
    repeated,
    same,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_label_key, check_label_selector
from edgekube.api.validation.placement import check_node_selector
from edgekube.api.validation.resources import amount, check_positive_quantity
from edgekube.api.validation.volumes import VOLUME_MODES, check_access_modes, check_claim_spec, check_source

_SOURCES: Final = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip
_RECLAIM: Final = ("Delete", "Recycle", "Retain")
_BINDING_MODES: Final = ("Immediate", "WaitForFirstConsumer")
_FS_GROUP_POLICIES: Final = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE_MODES: Final = ("Ephemeral", "Persistent")
_PARAMETERS_BYTES_MAX: Final = 256 * 1024
_PARAMETERS_MAX: Final = 512
_DRIVER_NAME_CHARACTERS_MAX: Final = 63
_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_CLAIM_FREE: Final = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


# --- PersistentVolume ------------------------------------------------------------------------------------------------


def check_volume(out: Out, volume: Object) -> None:
    spec = part(volume, "spec")
    check_access_modes(out, spec, "spec")
    capacity = part(spec, "capacity")
    if not capacity:
        out.append(causes.required("spec.capacity"))
    elif set(capacity) != {"storage"}:
        out.append(causes.not_supported("spec.capacity", capacity, ("storage",)))
    for name, quantity in capacity.items():
        check_positive_quantity(out, quantity, f"spec.capacity[{name}]")
    check_one_of(out, spec, "persistentVolumeReclaimPolicy", "spec", _RECLAIM, needed=False)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            out.append(causes.required("spec.nodeAffinity.required", "must specify required node constraints"))
        else:
            check_node_selector(out, affinity["required"], "spec.nodeAffinity.required")
    _check_volume_source(out, spec, has_affinity=affinity is not None)
    if text(spec, "storageClassName"):
        check(out, dns_subdomain(text(spec, "storageClassName")), "spec.storageClassName", text(spec, "storageClassName"))
    check_one_of(out, spec, "volumeMode", "spec", VOLUME_MODES, needed=False)
    attributes = spec.get("volumeAttributesClassName")
    if attributes is not None:
        if not attributes:
            out.append(causes.required("spec.volumeAttributesClassName", "an empty string is disallowed"))
        else:
            check(out, dns_subdomain(attributes), "spec.volumeAttributesClassName", attributes)
        if spec.get("csi") is None:
            out.append(causes.required("spec.csi", "has to be specified when using volumeAttributesClassName"))


def _check_volume_source(out: Out, spec: Object, *, has_affinity: bool) -> None:
    given = [key for key in _SOURCES if spec.get(key) is not None]
    if not given:
        out.append(causes.required("spec", "must specify a volume type"))
        return
    for key in given[1:]:
        out.append(causes.forbidden(f"spec.{key}", "may not specify more than 1 volume type"))
    kind = given[0]
    source, path = spec[kind], f"spec.{kind}"
    if kind == "local":
        if check_present(out, source, "path", path):
            check_no_backsteps(out, source["path"], f"{path}.path")
        if not has_affinity:
            out.append(causes.required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    elif kind == "csi":
        _check_driver(out, text(source, "driver"), f"{path}.driver")
        check_present(out, source, "volumeHandle", path)
    else:
        check_source(out, kind, source, path)
    if kind == "hostPath" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        host_path = text(source, "path")
        if host_path and posixpath.normpath(host_path) == "/":
            detail = "may not be 'recycle' for a hostPath mount of '/'"
            out.append(causes.forbidden("spec.persistentVolumeReclaimPolicy", detail))


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
        out.append(causes.invalid("nodeAffinity", spec.get("nodeAffinity"), detail))
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
    if size is not None and old_size is not None and size < old_size:
        has = amount(part(part(old, "status"), "capacity").get("storage")) or 0
        if size <= has:
            out.append(causes.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    check_immutable(out, spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    if before.get("volumeAttributesClassName"):
        chosen, path = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
        if chosen is None:
            out.append(causes.forbidden(path, "update from non-nil value to nil is forbidden"))
        elif not chosen:
            out.append(causes.forbidden(path, "update from non-nil value to an empty string is forbidden"))


def check_claim_status(out: Out, new: Object, old: Object) -> None:
    for name, quantity in part(part(new, "status"), "capacity").items():
        value = amount(quantity)
        if value is not None and value < 0:
            out.append(causes.invalid(f"status.capacity[{name}]", str(quantity), "must be a valid resource quantity"))


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


def check_storage_class(out: Out, storage_class: Object) -> None:
    provisioner = text(storage_class, "provisioner")
    if not provisioner:
        out.append(causes.required("provisioner"))
    else:
        check(out, qualified_name(provisioner.lower()), "provisioner", provisioner)
    _check_parameters(out, part(storage_class, "parameters"), "parameters")
    check_one_of(out, storage_class, "reclaimPolicy", "", ("Delete", "Retain"), needed=False)
    check_one_of(out, storage_class, "volumeBindingMode", "", _BINDING_MODES)
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
        if raw in seen:
            out.append(causes.duplicate(f"{path}.matchLabelExpressions", ""))
        seen.append(raw)


def check_storage_class_update(out: Out, new: Object, old: Object) -> None:
    if not same(new.get("parameters"), old.get("parameters")):
        out.append(causes.forbidden("parameters", "updates to parameters are forbidden."))
    if text(new, "provisioner") != text(old, "provisioner"):
        out.append(causes.forbidden("provisioner", "updates to provisioner are forbidden."))
    if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
        out.append(causes.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
    check_immutable(out, new.get("volumeBindingMode"), old.get("volumeBindingMode"), "volumeBindingMode")
    check_storage_class(out, new)


def _check_driver(out: Out, driver: str, field: str) -> None:
    if not driver:
        out.append(causes.required(field))
        return
    if len(driver) > _DRIVER_NAME_CHARACTERS_MAX:
        out.append(causes.too_long(field, _DRIVER_NAME_CHARACTERS_MAX))
    check(out, dns_subdomain(driver.lower()), field, driver)


def check_csi_driver(out: Out, driver: Object) -> None:
    _check_driver(out, text(part(driver, "metadata"), "name"), "metadata.name")
    spec = part(driver, "spec")
    for key in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(key) is None:
            out.append(causes.required(f"spec.{key}"))
    check_one_of(out, spec, "fsGroupPolicy", "spec", _FS_GROUP_POLICIES, needed=False)
    for i, mode in enumerate(texts(spec, "volumeLifecycleModes")):
        if mode not in _LIFECYCLE_MODES:
            out.append(causes.not_supported(f"spec.volumeLifecycleModes[{i}]", mode, _LIFECYCLE_MODES))
    audiences = [text(request, "audience") for request in items(spec, "tokenRequests")]
    again = repeated(audiences)
    for i, request in enumerate(items(spec, "tokenRequests")):
        if i in again:
            out.append(causes.duplicate(f"spec.tokenRequests[{i}].audience", audiences[i]))
        seconds = request.get("expirationSeconds")
        if isinstance(seconds, int):
            if seconds < 600:
                detail = "may not specify a duration less than 10 minutes"
                out.append(causes.invalid(f"spec.tokenRequests[{i}].expirationSeconds", seconds, detail))
            if seconds > 2**32:
                detail = "may not specify a duration larger than 2^32 seconds"
                out.append(causes.invalid(f"spec.tokenRequests[{i}].expirationSeconds", seconds, detail))


def check_csi_driver_update(out: Out, new: Object, old: Object) -> None:
    check_csi_driver(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    for key in ("attachRequired", "volumeLifecycleModes"):
        check_immutable(out, spec.get(key), before.get(key), f"spec.{key}")


def check_csi_node(out: Out, node: Object) -> None:
    seen: set[str] = set()
    for i, driver in enumerate(items(part(node, "spec"), "drivers")):
        path, name = f"spec.drivers[{i}]", text(driver, "name")
        _check_driver(out, name, f"{path}.name")
        if name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
        check_present(out, driver, "nodeID", path)
        for key in texts(driver, "topologyKeys"):
            check(out, qualified_name(key), path, key)


def check_capacity(out: Out, capacity: Object) -> None:
    name = text(capacity, "storageClassName")
    if name or check_present(out, capacity, "storageClassName", ""):
        check(out, dns_subdomain(name), "storageClassName", name)
    check_label_selector(out, capacity.get("nodeTopology"), "nodeTopology")
    for key in ("capacity", "maximumVolumeSize"):
        value = amount(capacity[key]) if capacity.get(key) is not None else None
        if value is not None and value < 0:
            out.append(causes.invalid(key, str(capacity[key]), causes.NEGATIVE))


def check_capacity_update(out: Out, new: Object, old: Object) -> None:
    check_capacity(out, new)
    check_immutable(out, new.get("nodeTopology"), old.get("nodeTopology"), "nodeTopology")
    check_immutable(out, new.get("storageClassName"), old.get("storageClassName"), "storageClassName")


def check_attachment(out: Out, attachment: Object) -> None:
    spec = part(attachment, "spec")
    attacher = text(spec, "attacher")
    _check_driver(out, attacher, "spec.attacher")
    source, node = part(spec, "source"), text(spec, "nodeName")
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if name is None and inline is None:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        out.append(causes.required("spec.source", detail))
    elif name is not None and inline is not None:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        out.append(causes.forbidden("spec.source", detail))
    elif name is not None and not name:
        out.append(causes.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
    if not node:
        out.append(causes.required("spec.nodeName"))
    else:
        check(out, dns_subdomain(node), "spec.nodeName", node)


def check_attachment_update(out: Out, new: Object, old: Object) -> None:
    check_attachment(out, new)
    check_immutable(out, new.get("spec"), old.get("spec"), "spec")


def check_attributes_class(out: Out, attributes: Object) -> None:
    _check_driver(out, text(attributes, "driverName"), "driverName")
    parameters = part(attributes, "parameters")
    if not parameters:
        out.append(causes.required("parameters", "must contain at least one key/value pair"))
    _check_parameters(out, parameters, "parameters")


def check_attributes_class_update(out: Out, new: Object, old: Object) -> None:
    if text(new, "driverName") != text(old, "driverName"):
        out.append(causes.forbidden("driverName", "updates to driverName are forbidden."))
    if not same(new.get("parameters"), old.get("parameters")):
        out.append(causes.forbidden("parameters", "updates to parameters are forbidden."))
