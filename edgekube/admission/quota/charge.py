"""Whether the quotas of a namespace have room for a write, and what they have used after it.

Enters: the quotas, the write, its meter.
Leaves: the amounts to add to each quota; or StatusError Forbidden.
Holds: pure; a quota decides by the limits that its status tells, so that one that nobody has counted yet decides nothing.
Source: k8s.io/apiserver admission/plugin/resourcequota (CheckRequest).
Next: registry.quotas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from edgekube.admission.pod_resources import Amounts
from edgekube.admission.quota.meters import CREATE, Meter
from edgekube.admission.quota.scopes import requirements_of
from edgekube.api import errors, quantities
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of


class Write(Struct, frozen=True):
    kind: Kind
    operation: str  # CREATE or UPDATE
    name: str
    new: Object
    old: Object | None = None
    subresource: str = ""


def limits_of(quota: Object) -> Amounts:
    hard: Amounts = (quota.get("status") or {}).get("hard") or {}
    return hard


def used_of(quota: Object) -> Amounts:
    used: Amounts = (quota.get("status") or {}).get("used") or {}
    return used


def is_counted(quota: Object, meter: Meter, obj: Object) -> bool:
    """Whether the quota limits anything of the object."""
    return any(meter.counts(name) for name in limits_of(quota)) and all(
        meter.fulfils(requirement, obj) for requirement in requirements_of(quota)
    )


def charges(quotas: Iterable[Object], write: Write, meter: Meter, now: float) -> dict[str, Amounts]:
    """Quota's name -> what the write adds to what is used of it. StatusError Forbidden when one has no room."""
    if not meter.handles(write.operation, write.subresource, write.new, write.old):
        return {}
    counting = [quota for quota in quotas if is_counted(quota, meter, write.new)]
    if not counting:
        return {}
    for quota in counting:
        _check_countable(quota, write, meter)
    usage = meter.usage(write.new, now)
    negative = sorted(name for name, amount in usage.items() if quantities.is_negative(amount))
    if negative:
        raise _forbidden(write, f"quota usage is negative for resource(s): {','.join(negative)}")
    added: dict[str, Amounts] = {}
    for quota in counting:
        more = usage
        if write.old is not None and write.operation != CREATE and is_counted(quota, meter, write.old):
            more = _more(usage, meter.usage(write.old, now))
        limits = limits_of(quota)
        more = {name: amount for name, amount in more.items() if name in limits and not quantities.is_zero(amount)}
        if not more:
            continue
        if write.subresource != "status":  # what already is cannot be refused
            _check_room(quota, write, more)
        added[name_of(quota)] = more
    return added


def _check_countable(quota: Object, write: Write, meter: Meter) -> None:
    restricted = sorted(name for name in limits_of(quota) if meter.counts(name))
    if why := meter.missing(restricted, write.new):
        raise _forbidden(write, f"failed quota: {name_of(quota)}: {why}")
    if any(name not in used_of(quota) for name in restricted):
        raise _forbidden(write, f"status unknown for quota: {name_of(quota)}, resources: {','.join(restricted)}")


def _check_room(quota: Object, write: Write, more: Amounts) -> None:
    used, limits = used_of(quota), limits_of(quota)
    over = [
        name for name, amount in more.items() if quantities.compare(quantities.add(used.get(name, "0"), amount), limits[name]) > 0
    ]
    if over:
        requested, already, limited = (_listed(amounts, over) for amounts in (more, used, limits))
        why = f"exceeded quota: {name_of(quota)}, requested: {requested}, used: {already}, limited: {limited}"
        raise _forbidden(write, why)


def _listed(amounts: Mapping[str, str], names: Iterable[str]) -> str:
    return ",".join(f"{name}={quantities.canonical(amounts[name])}" for name in sorted(names) if name in amounts)


def _more(after: Amounts, before: Amounts) -> Amounts:
    """What is used more than before; what is used less is given back when it is counted anew."""
    more = {name: quantities.subtract(amount, before.get(name, "0")) for name, amount in after.items()}
    return {name: amount for name, amount in more.items() if not quantities.is_negative(amount)}


def _forbidden(write: Write, why: str) -> errors.StatusError:
    return errors.forbidden(write.kind.group, write.kind.plural, write.name, why)
