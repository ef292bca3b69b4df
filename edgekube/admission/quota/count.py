"""What a namespace uses of a quota, counted from what is there.

Enters: a quota, and the objects of the kinds that it counts.
Leaves: the quota's status.
Holds: pure; the status names what the spec limits and nothing else; what nobody can count keeps what was used before.
Source: k8s.io/kubernetes pkg/controller/resourcequota (syncResourceQuota).
Next: registry.quotas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgekube.admission.pod_resources import Amounts, plus
from edgekube.admission.quota.meters import Meter
from edgekube.admission.quota.scopes import requirements_of
from edgekube.api import quantities
from edgekube.api.objects import Object


def limited(quota: Object) -> Amounts:
    hard = (quota.get("spec") or {}).get("hard") or {}
    return {name: quantities.canonical(amount) for name, amount in hard.items()}


def used_by(quota: Object, meter: Meter, objects: Iterable[Object], now: float) -> Amounts:
    """What the objects of one kind use of the quota; zero for what they could use and do not."""
    requirements = requirements_of(quota)
    names = {name for name in limited(quota) if meter.counts(name)}
    total: Amounts = dict.fromkeys(names, "0")
    for obj in objects:
        if all(meter.fulfils(requirement, obj) for requirement in requirements):
            usage = meter.usage(obj, now)
            total = plus(total, {name: usage[name] for name in names if name in usage})
    return total


def status_of(quota: Object, counted: Mapping[str, str]) -> Object:
    hard = limited(quota)
    before = (quota.get("status") or {}).get("used") or {}
    used = {name: counted[name] if name in counted else before[name] for name in hard if name in counted or name in before}
    return {"hard": hard, "used": used}


def is_news(quota: Object, status: Object) -> bool:
    """Whether the status says anything else than the one that is stored."""
    old = quota.get("status") or {}
    if "hard" not in old or "used" not in old:
        return True
    return any(not _same(old[key], status[key]) for key in ("hard", "used"))


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return one.keys() == other.keys() and all(quantities.equal(one[name], other[name]) for name in one)
