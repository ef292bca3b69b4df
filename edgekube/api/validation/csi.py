"""What drivers and their nodes say of themselves: CSIDriver, CSINode, CSIStorageCapacity.

Enters: defaulted objects; the old one on update.
Leaves: causes appended to ``out``.
Holds: what a driver once said of a node, and whether it attaches, does not change.
Source: k8s.io/kubernetes pkg/apis/storage/validation.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
    check_nonnegative,
    check_one_of_given,
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
from edgekube.api.validation.metadata import check_label_selector
from edgekube.api.validation.resources import amount

_FS_GROUP_POLICIES: Final = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE_MODES: Final = ("Persistent", "Ephemeral")
_DRIVER_NAME_CHARACTERS_MAX: Final = 63
_NODE_ID_BYTES_MAX: Final = 256
_TOKEN_SECONDS_MIN: Final = 600
_TOKEN_SECONDS_MAX: Final = 2**32
_UPDATE_PERIOD_SECONDS_MIN: Final = 10


def check_driver_name(out: Out, driver: str, field: str) -> None:
    if not driver:
        out.append(causes.required(field))
        return
    if len(driver) > _DRIVER_NAME_CHARACTERS_MAX:
        out.append(causes.too_long(field, _DRIVER_NAME_CHARACTERS_MAX))
    check(out, dns_subdomain(driver.lower()), field, driver)


# --- CSIDriver


def check_csi_driver(out: Out, driver: Object) -> None:
    spec = part(driver, "spec")
    for key, field in (
        ("attachRequired", "attachedRequired"),  # upstream's word for it
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ):
        if spec.get(key) is None:
            out.append(causes.required(f"spec.{field}"))
    check_one_of_given(out, spec, "fsGroupPolicy", "spec", _FS_GROUP_POLICIES)
    _check_token_requests(out, items(spec, "tokenRequests"))
    for mode in texts(spec, "volumeLifecycleModes"):
        if mode not in _LIFECYCLE_MODES:
            out.append(causes.not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLE_MODES))
    if spec.get("seLinuxMount") is None:
        out.append(causes.required("spec.seLinuxMount"))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if isinstance(period, int) and period < _UPDATE_PERIOD_SECONDS_MIN:
        why = "must be greater than or equal to 10 seconds"
        out.append(causes.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why))
    in_secrets = spec.get("serviceAccountTokenInSecrets")
    if in_secrets is not None and not items(spec, "tokenRequests"):
        why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        out.append(causes.invalid("spec.serviceAccountTokenInSecrets", in_secrets, why))


def _check_token_requests(out: Out, requests: list[Object]) -> None:
    audiences = [text(request, "audience") for request in requests]
    again = repeated(audiences)
    for i, request in enumerate(requests):
        if i in again:
            out.append(causes.duplicate(f"spec.tokenRequests[{i}].audience", audiences[i]))
            continue
        seconds, path = request.get("expirationSeconds"), f"spec.tokenRequests[{i}].expirationSeconds"
        if isinstance(seconds, int) and seconds < _TOKEN_SECONDS_MIN:
            out.append(causes.invalid(path, seconds, "may not specify a duration less than 10 minutes"))
        if isinstance(seconds, int) and seconds > _TOKEN_SECONDS_MAX:
            out.append(causes.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))


def check_csi_driver_update(out: Out, new: Object, old: Object) -> None:
    check_csi_driver(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    check_immutable(out, spec.get("attachRequired"), before.get("attachRequired"), "spec.attachedRequired")
    check_immutable(out, spec.get("volumeLifecycleModes"), before.get("volumeLifecycleModes"), "spec.volumeLifecycleModes")


# --- CSINode


def check_csi_node(out: Out, node: Object) -> None:
    seen: set[str] = set()
    for i, driver in enumerate(items(part(node, "spec"), "drivers")):
        path, name = f"spec.drivers[{i}]", text(driver, "name")
        check_driver_name(out, name, f"{path}.name")
        if check_present(out, driver, "nodeID", path) and len(text(driver, "nodeID").encode()) > _NODE_ID_BYTES_MAX:
            why = f"must be {_NODE_ID_BYTES_MAX} characters or less"
            out.append(causes.invalid(f"{path}.nodeID", text(driver, "nodeID"), why))
        check_nonnegative(out, part(driver, "allocatable"), "count", f"{path}.allocatable")
        if name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
        keys = texts(driver, "topologyKeys")
        again = repeated(keys)
        for number, key in enumerate(keys):
            if not key:
                out.append(causes.required(path))
            if number in again:
                out.append(causes.duplicate(path, key))
            check(out, qualified_name(key), path, key)


def check_csi_node_update(out: Out, new: Object, old: Object) -> None:
    check_csi_node(out, new)
    before = {text(driver, "name"): driver for driver in items(part(old, "spec"), "drivers")}
    for driver in items(part(new, "spec"), "drivers"):
        known = before.get(text(driver, "name"))
        if known is not None and not same(_without_count(driver), _without_count(known)):
            out.append(causes.invalid("spec.drivers", driver, causes.IMMUTABLE))


def _without_count(driver: Object) -> Object:
    return {key: value for key, value in driver.items() if key != "allocatable"}


# --- CSIStorageCapacity


def check_capacity(out: Out, capacity: Object) -> None:
    check_label_selector(out, capacity.get("nodeTopology"), "nodeTopology")
    name = text(capacity, "storageClassName")
    check(out, dns_subdomain(name), "storageClassName", name)
    value = amount(capacity["capacity"]) if capacity.get("capacity") is not None else None
    if value is not None and value < 0:
        out.append(causes.invalid("capacity", str(capacity["capacity"]), causes.NEGATIVE))


def check_capacity_update(out: Out, new: Object, old: Object) -> None:
    check_capacity(out, new)
    check_immutable(out, new.get("nodeTopology"), old.get("nodeTopology"), "nodeTopology")
    check_immutable(out, new.get("storageClassName"), old.get("storageClassName"), "storageClassName", missing="")
