"""Resource names and quantities: requests and limits, capacities, quotas.

Enters: resource lists and resource requirements.
Leaves: causes appended to ``out``.
Holds: a quantity that does not parse has been refused by the decoder; here it is skipped.
Source: core/validation ValidateResourceRequirements, ValidateResourceQuantityValue; core/helper (the sets of names).
Next: api.validation.containers, api.validation.core, api.validation.quotas.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, check, dns_label, items, part, qualified_name, text

_CONTAINER: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_QUOTA: Final = frozenset(
    {
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
        "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas",
        "services", "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps", "services.nodeports",
        "services.loadbalancers",
    }
)  # fmt: skip
_STANDARD: Final = _QUOTA | {"storage"}
_INTEGERS: Final = frozenset(
    {
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
        "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
_HUGE_PAGES: Final = "hugepages-"
_POD_LEVEL: Final = ("cpu", "hugepages-", "memory")


def amount(quantity: Any) -> Decimal | None:
    try:
        return quantities.parse(quantity)
    except (ValueError, TypeError):
        return None


def is_huge_page(name: str) -> bool:
    return name.startswith(_HUGE_PAGES)


def is_native(name: str) -> bool:
    """Without a prefix, or with one of Kubernetes' own."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    if is_native(name) or name.startswith("requests."):
        return False
    return not qualified_name(f"requests.{name}")


def may_overcommit(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


def _standard(name: str) -> bool:
    return name in _STANDARD or is_huge_page(name) or name.startswith(("requests.hugepages-", "limits.hugepages-"))


def is_quota_name(name: str) -> bool:
    return name in _QUOTA or is_huge_page(name) or name.startswith("requests.hugepages-")


def _check_name(out: Out, name: str, field: str) -> bool:
    messages = qualified_name(name)
    check(out, messages, field, name)
    if not messages and "/" not in name and not _standard(name):
        out.append(causes.invalid(field, name, "must be a standard resource type or fully qualified"))
        return False
    return not messages


def check_container_name(out: Out, name: str, field: str) -> None:
    if name in _CONTAINER:
        return
    _check_name(out, name, field)
    if "/" not in name:
        if not is_huge_page(name):
            out.append(causes.invalid(field, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        out.append(causes.invalid(field, name, "doesn't follow extended resource name standard"))


def check_pod_level_name(out: Out, name: str, field: str) -> None:
    if _check_name(out, name, field) and name not in ("cpu", "memory") and not is_huge_page(name):
        out.append(causes.not_supported(field, name, _POD_LEVEL))


def check_quota_name(out: Out, name: str, field: str) -> None:
    _check_name(out, name, field)
    if "/" not in name and not is_quota_name(name):
        out.append(causes.invalid(field, name, "must be a standard resource for quota"))


def check_any_name(out: Out, name: str, field: str) -> None:
    _check_name(out, name, field)


def check_quantity(out: Out, name: str, quantity: Any, field: str) -> None:
    """Not negative; whole where the resource is counted."""
    value = amount(quantity)
    if value is None:
        return
    if value < 0:
        out.append(causes.invalid(field, str(quantity), causes.NEGATIVE))
    if (name in _INTEGERS or is_extended(name)) and value != value.to_integral_value():
        out.append(causes.invalid(field, str(quantity), "must be an integer"))


def check_positive_quantity(out: Out, quantity: Any, field: str) -> bool:
    value = amount(quantity)
    if value is not None and value <= 0:
        out.append(causes.invalid(field, str(quantity), causes.NOT_POSITIVE))
        return False
    return True


def _check_huge_page(out: Out, name: str, quantity: Any, field: str) -> None:
    size, value = amount(name[len(_HUGE_PAGES) :]), amount(quantity)
    if size and value is not None and value % size:
        out.append(causes.invalid(field, str(quantity), f"{quantity} is not positive integer multiple of {name}"))


def check_requirements(out: Out, resources: Object, claims: set[str], field: str, *, pod_level: bool = False) -> None:
    """Names, amounts, and requests within limits."""
    if not resources:
        return
    check_name = check_pod_level_name if pod_level else check_container_name
    limits, requests = part(resources, "limits"), part(resources, "requests")
    huge, ordinary = False, False
    for side, values in (("limits", limits), ("requests", requests)):
        for name, quantity in values.items():
            path = f"{field}.{side}[{name}]"
            check_name(out, name, path)
            check_quantity(out, name, quantity, path)
            if is_huge_page(name):
                huge = True
                _check_huge_page(out, name, quantity, path)
            ordinary = ordinary or name in ("cpu", "memory")
            if side == "requests":
                _check_within_limit(out, name, quantity, limits, field)
    if huge and not ordinary:
        out.append(causes.forbidden(field, "HugePages require cpu or memory"))
    _check_claims(out, resources, claims, f"{field}.claims")


def _check_within_limit(out: Out, name: str, quantity: Any, limits: Object, field: str) -> None:
    if limits.get(name) is None:
        if not may_overcommit(name):
            out.append(causes.required(f"{field}.limits", "Limit must be set for non overcommitable resources"))
        return
    request, limit = amount(quantity), amount(limits[name])
    if request is None or limit is None:
        return
    if request != limit and not may_overcommit(name):
        out.append(causes.invalid(f"{field}.requests", str(quantity), f"must be equal to {name} limit of {limits[name]}"))
    elif request > limit:
        detail = f"must be less than or equal to {name} limit of {limits[name]}"
        out.append(causes.invalid(f"{field}.requests", str(quantity), detail))


def _check_claims(out: Out, resources: Object, claims: set[str], field: str) -> None:
    seen: set[str] = set()
    requested_of: set[str] = set()
    for i, claim in enumerate(items(resources, "claims")):
        path, name, request = f"{field}[{i}]", text(claim, "name"), text(claim, "request")
        if not name:
            out.append(causes.required(path))
            continue
        key = f"{name}/{request}" if request else name
        if name in seen or key in seen:
            out.append(causes.duplicate(path, name if name in seen else key))
        else:
            if request:
                check(out, dns_label(request), f"{path}.request", request)
                requested_of.add(name)
            elif name in requested_of:
                out.append(causes.duplicate(path, name))
            seen.add(key)
        if name not in claims:
            among = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            detail = f"must be one of the names in pod.spec.resourceClaims{among}"
            out.append(causes.not_found(path, name, detail))
