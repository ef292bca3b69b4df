"""resource.k8s.io: slices, what drivers say of their devices (dynamic resource allocation).

Enters: defaulted ResourceSlices of resource.k8s.io/v1; the old one on update.
Leaves: causes appended to ``out``.
Holds: where devices are is said once: by the slice, or by each of its devices.
Source: resource/validation; the limits in the API reference of ResourceSlice.
Next: api.validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.devices import check_device_driver
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
    dns_label,
    dns_subdomain,
    items,
    label_value,
    number,
    part,
    qualified_name,
    text,
    texts,
)
from edgekube.api.validation.inner import NODE_TERM, inner
from edgekube.api.validation.placement import check_node_selector

_DEVICES_MAX: Final = 128
_DEVICES_WITH_DETAILS_MAX: Final = 64
_POOL_NAME_BYTES_MAX: Final = 253
_ATTRIBUTES_MAX: Final = 32
_VALUES_MAX: Final = 48
_VALUE_BYTES_MAX: Final = 64
_ID_BYTES_MAX: Final = 32
_TAINTS_MAX: Final = 16
_CONDITIONS_MAX: Final = 4
_CONSUMPTIONS_MAX: Final = 2
_COUNTERS_MAX: Final = 32
_SETS_MAX: Final = 8
_LISTS: Final = ("bools", "ints", "strings", "versions")
_TAINT_EFFECTS: Final = ("NoExecute", "NoSchedule", "None")
_EACH: Final = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the "
    "ResourceSlice spec"
)
#: Of semver.org.
_VERSION_RE: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


def _check_pool_name(out: Out, name: str, field: str) -> None:
    """A path of subdomains."""
    if not name:
        out.append(causes.required(field))
        return
    if len(name) > _POOL_NAME_BYTES_MAX:
        out.append(causes.too_long(field, _POOL_NAME_BYTES_MAX))
    for one in name.split("/"):
        check(out, dns_subdomain(one), field, one)


def check_slice(out: Out, resource_slice: Object) -> None:
    spec = part(resource_slice, "spec")
    check_device_driver(out, text(spec, "driver"), "spec.driver")
    pool = part(spec, "pool")
    _check_pool_name(out, text(pool, "name"), "spec.pool.name")
    if number(pool, "generation") < 0:
        detail = "must be greater than or equal to zero"
        out.append(causes.invalid("spec.pool.generation", number(pool, "generation"), detail))
    if number(pool, "resourceSliceCount") <= 0:
        detail = "must be greater than zero"
        out.append(causes.invalid("spec.pool.resourceSliceCount", number(pool, "resourceSliceCount"), detail))
    chosen = _check_place(out, spec, ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"), "spec")
    among = "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`"
    if not chosen:
        out.append(causes.required("spec", f"exactly one of {among} is required"))
    elif len(chosen) > 1:
        detail = f"exactly one of {among} is required, but multiple fields are set"
        out.append(causes.invalid("spec", f"{{{', '.join(chosen)}}}", detail))
    if spec.get("sharedCounters") and spec.get("devices"):
        out.append(causes.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    _check_devices(out, items(spec, "devices"), bool(spec.get("perDeviceNodeSelection")))
    _check_counter_sets(out, items(spec, "sharedCounters"))


def _check_place(out: Out, holder: Object, keys: tuple[str, ...], field: str) -> list[str]:
    """Those of the fields that say where, in backquotes."""
    chosen = []
    for key in keys:
        value = holder.get(key)
        if value is None:
            continue
        if value == "":
            detail = "must be either unset or set to a non-empty string" if field == "spec" else "must not be empty"
            out.append(causes.invalid(f"{field}.{key}", "", detail))
        elif value is False:
            out.append(causes.invalid(f"{field}.{key}", value, "must be either unset or set to true"))
        else:
            chosen.append(f"`{key}`")
        if key == "nodeName" and value:
            check(out, dns_subdomain(value), f"{field}.nodeName", value)
        if key == "nodeSelector":
            check_node_selector(out, value, f"{field}.nodeSelector")
            terms = value.get("nodeSelectorTerms")
            if field == "spec" and len(terms or ()) != 1:
                shown = [inner(term, NODE_TERM) for term in terms] if terms is not None else None
                out.append(
                    causes.invalid(f"{field}.nodeSelector.nodeSelectorTerms", shown, "must have exactly one node selector term")
                )
    return chosen


def _check_devices(out: Out, devices: list[Object], each_says_where: bool) -> None:
    most = _DEVICES_WITH_DETAILS_MAX if any(map(_has_details, devices)) else _DEVICES_MAX
    if len(devices) > most:
        out.append(causes.too_many("spec.devices", len(devices), most))
    seen: set[str] = set()
    for i, device in enumerate(devices):
        path, name = f"spec.devices[{i}]", text(device, "name")
        check(out, dns_label(name), f"{path}.name", name)
        _check_properties(out, device, path)
        _check_taints(out, items(device, "taints"), f"{path}.taints")
        _check_consumption(out, items(device, "consumesCounters"), f"{path}.consumesCounters")
        where = ("nodeName", "nodeSelector", "allNodes")
        if each_says_where:
            chosen = _check_place(out, device, where, path)
            if not chosen:
                out.append(causes.required(path, _EACH))
            elif len(chosen) > 1:
                out.append(causes.invalid(path, f"{{{', '.join(chosen)}}}", _EACH))
        elif any(device.get(key) is not None for key in where):
            detail = "can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            out.append(causes.invalid(path, None, f"`nodeName`, `nodeSelector` and `allNodes` {detail}"))
        _check_conditions(out, device, path)
        if name in seen:
            out.append(causes.duplicate(path, name))
        seen.add(name)


def _has_details(device: Object) -> bool:
    lists = any(value.get(key) is not None for value in part(device, "attributes").values() for key in _LISTS)
    return lists or bool(device.get("taints") or device.get("consumesCounters"))


def _check_properties(out: Out, device: Object, field: str) -> None:
    attributes, capacity = part(device, "attributes"), part(device, "capacity")
    if (total := len(attributes) + len(capacity)) > _ATTRIBUTES_MAX:
        detail = f"the total number of attributes and capacities must not exceed {_ATTRIBUTES_MAX}"
        out.append(causes.invalid(field, total, detail))
    if (values := sum(len(list(_values_of(value))) for value in attributes.values())) > _VALUES_MAX:
        out.append(causes.invalid(field, values, f"the total number of attribute values must not exceed {_VALUES_MAX}"))
    for key, value in attributes.items():
        _check_property_name(out, key, f"{field}.attributes")
        _check_attribute(out, value, f"{field}.attributes[{key}]")
    for key, value in capacity.items():
        _check_property_name(out, key, f"{field}.capacity")
        if value.get("requestPolicy") is not None and not device.get("allowMultipleAllocations"):
            out.append(causes.forbidden(f"{field}.capacity[{key}].requestPolicy", "allowMultipleAllocations must be true"))


def _values_of(attribute: Object) -> Iterator[Any]:
    for value in attribute.values():
        yield from value if isinstance(value, list) else (value,)


def _check_property_name(out: Out, name: str, field: str) -> None:
    """A C identifier, with or without a domain and a slash before it."""
    domain, slash, rest = name.rpartition("/")
    if "/" in domain:
        return  # kube-apiserver lets it pass
    if slash and not domain:
        out.append(causes.invalid(field, "", "the domain must not be empty"))
    elif slash:
        check_device_driver(out, domain, field)
    if slash and not rest:
        out.append(causes.invalid(field, "", "the name must not be empty"))
        return
    if len(rest) > _ID_BYTES_MAX:
        out.append(causes.too_long(field, _ID_BYTES_MAX))
    check(out, names.c_identifier(rest), field, rest)


def _check_attribute(out: Out, attribute: Object, field: str) -> None:
    given = [key for key in ("bool", "int", "string", "version", *_LISTS) if attribute.get(key) is not None]
    for key in given:
        value = attribute[key]
        if value == []:
            out.append(causes.invalid(f"{field}.{key}", value, "must not be empty if specified"))
        if key.rstrip("s") not in ("string", "version"):
            continue
        told = [(f"{field}.{key}[{i}]", one) for i, one in enumerate(value)] if key in _LISTS else [(f"{field}.{key}", value)]
        for path, one in told:
            if key.startswith("version") and not _VERSION_RE.fullmatch(one):
                out.append(causes.invalid(path, one, "must be a string compatible with semver.org spec 2.0.0"))
            if len(one.encode()) > _VALUE_BYTES_MAX:
                out.append(causes.too_long(path, _VALUE_BYTES_MAX))
    if len(given) != 1:
        out.append(causes.invalid(field, "", "exactly one value must be specified"))


def _check_taints(out: Out, taints: list[Object], field: str) -> None:
    if len(taints) > _TAINTS_MAX:
        out.append(causes.too_many(field, len(taints), _TAINTS_MAX))
        return
    for i, taint in enumerate(taints):
        path, effect = f"{field}[{i}]", text(taint, "effect")
        check(out, qualified_name(text(taint, "key")), f"{path}.key", text(taint, "key"))
        if text(taint, "value"):
            check(out, label_value(taint["value"]), f"{path}.value", taint["value"])
        if not effect:
            out.append(causes.required(f"{path}.effect"))
        elif effect not in _TAINT_EFFECTS:
            out.append(causes.not_supported(f"{path}.effect", effect, _TAINT_EFFECTS))


def _check_consumption(out: Out, consumptions: list[Object], field: str) -> None:
    if len(consumptions) > _CONSUMPTIONS_MAX:
        out.append(causes.too_many(field, len(consumptions), _CONSUMPTIONS_MAX))
        return
    _check_counters(out, consumptions, "counterSet", field)


def _check_counter_sets(out: Out, sets: list[Object]) -> None:
    if len(sets) > _SETS_MAX:
        out.append(causes.too_many("spec.sharedCounters", len(sets), _SETS_MAX))
        return
    _check_counters(out, sets, "name", "spec.sharedCounters")


def _check_counters(out: Out, holders: list[Object], key: str, field: str) -> None:
    """Sets of counters, or what is used of them, each with a name under ``key``."""
    seen: set[str] = set()
    for i, holder in enumerate(holders):
        path, name, counters = f"{field}[{i}]", text(holder, key), part(holder, "counters")
        if name:
            check(out, dns_label(name), f"{path}.{key}", name)
        else:
            out.append(causes.required(f"{path}.{key}"))
        if not counters:
            out.append(causes.required(f"{path}.counters"))
        elif len(counters) > _COUNTERS_MAX:
            out.append(causes.too_many(f"{path}.counters", len(counters), _COUNTERS_MAX))
        else:
            for counter in counters:
                check(out, dns_label(counter), f"{path}.counters", counter)
        if name in seen:
            out.append(causes.duplicate(path, name))
        seen.add(name)


def _check_conditions(out: Out, device: Object, field: str) -> None:
    pair = ("bindingConditions", "bindingFailureConditions")
    for key in pair:
        conditions = texts(device, key)
        if len(conditions) > _CONDITIONS_MAX:
            out.append(causes.too_many(f"{field}.{key}", len(conditions), _CONDITIONS_MAX))
            continue
        for i, condition in enumerate(conditions):
            check(out, qualified_name(condition), f"{field}.{key}[{i}]", condition)
            if condition in conditions[:i]:
                out.append(causes.duplicate(f"{field}.{key}[{i}]", condition))
            if key == pair[1] and condition in texts(device, pair[0]):
                detail = "bindingFailureConditions must not overlap with bindingConditions"
                out.append(causes.invalid(f"{field}.{key}[{i}]", condition, detail))
    for key, other in (pair, pair[::-1]):
        if device.get(other) and not device.get(key):
            out.append(causes.invalid(f"{field}.{key}", None, f"{key} are required to use {other}"))


def check_slice_update(out: Out, new: Object, old: Object) -> None:
    check_slice(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    name, old_name = (text(part(one, "pool"), "name") for one in (spec, before))
    check_immutable(out, name, old_name, "spec.pool.name")
    check_immutable(out, spec.get("driver"), before.get("driver"), "spec.driver", missing="")
    check_immutable(out, spec.get("nodeName"), before.get("nodeName"), "spec.nodeName")
