"""eviction: delete a pod, unless its disruption budget says no.

Enters: a policy/v1 Eviction.
Leaves: a Status; StatusError TooManyRequests while the budget is used up.
Holds: a budget is charged before the pod goes (source: k8s.io/kubernetes pkg/registry/core/pod/storage/eviction.go;
kubernetes.io, "API-initiated eviction").
Next: registry.delete.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.api import errors, podstate, selectors
from edgekube.api.errors import Cause, StatusError
from edgekube.api.kinds import KINDS, POD, Kind
from edgekube.api.objects import Object, labels_of, metadata_of, name_of
from edgekube.api.verbs import DeleteOptions
from edgekube.registry import writing
from edgekube.registry.context import Context
from edgekube.registry.delete import delete
from edgekube.registry.faults import as_status
from edgekube.registry.get import stored
from edgekube.registry.state import Registry
from edgekube.registry.subresources.binding import SUCCESS
from edgekube.store.protocol import Key, RevisionConflict, StoreError

_ATTEMPTS_MAX: Final = 20
#: More names than this wait for their deletion to be seen: something is wrong with the budget's controller.
_DISRUPTED_PODS_MAX: Final = 2000
_RETRY_AFTER_SECONDS: Final = 10
_VIOLATES: Final = "Cannot evict pod as it would violate the pod's disruption budget."


def _budget_kind() -> Kind:
    row = KINDS.by_resource("policy", "v1", "poddisruptionbudgets")
    if row is None:
        raise LookupError("poddisruptionbudgets.policy is not in the table of kinds")
    return row


_BUDGET: Final = _budget_kind()


async def evict(registry: Registry, namespace: str, name: str, options: DeleteOptions, context: Context) -> Object:
    record = await stored(registry, POD, namespace, name)
    pod: Object = orjson.loads(record.value)
    if not _goes_freely(pod):
        budgets = await _budgets_of(registry, namespace, pod)
        if len(budgets) > 1:
            why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise StatusError("InternalError", why)
        if budgets:
            await _charge(registry, namespace, budgets[0], pod, context)
    await delete(registry, POD, namespace, name, context, options)
    return SUCCESS


def _goes_freely(pod: Object) -> bool:
    """Finished, not yet running, or on its way out: no budget counts it."""
    return bool(metadata_of(pod).get("deletionTimestamp")) or podstate.phase_of(pod) in ("Succeeded", "Failed", "Pending")


async def _budgets_of(registry: Registry, namespace: str, pod: Object) -> list[str]:
    found: list[str] = []
    for budget in await registry.everything(_BUDGET, namespace):
        selector = (budget.get("spec") or {}).get("selector")
        if selector is not None and selectors.label_selector_of(selector).matches(labels_of(pod)):
            found.append(name_of(budget))
    return found


async def _charge(registry: Registry, namespace: str, budget_name: str, pod: Object, context: Context) -> None:
    key = Key(_BUDGET.resource, namespace, budget_name)
    for _ in range(_ATTEMPTS_MAX):
        record = await registry.store.get(key)
        if record is None:
            return  # nobody guards the pod any more
        budget: Object = orjson.loads(record.value)
        if _unhealthy_may_go(budget, pod):
            return
        _decrement(budget, pod, registry.now())
        try:
            await writing.update(registry, _BUDGET, key, budget, record.revision, context)
            return
        except RevisionConflict:
            continue
        except StoreError as error:
            raise as_status(error, _BUDGET, budget_name) from error
    raise errors.too_many_requests("couldn't update PodDisruptionBudget due to conflicts", _RETRY_AFTER_SECONDS)


def _unhealthy_may_go(budget: Object, pod: Object) -> bool:
    if podstate.is_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return desired > 0 and (status.get("currentHealthy") or 0) >= desired


def _refusal(message: str) -> StatusError:
    cause = Cause("DisruptionBudget", message)
    return StatusError("TooManyRequests", _VIOLATES, causes=[cause], retry_after_seconds=_RETRY_AFTER_SECONDS)


def _decrement(budget: Object, pod: Object, now: str) -> None:
    """Take one disruption out of the budget, or refuse."""
    status = budget.setdefault("status", {})
    name = name_of(budget)
    if (status.get("observedGeneration") or 0) < (metadata_of(budget).get("generation") or 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.")
    allowed = status.get("disruptionsAllowed") or 0
    if allowed < 0:
        raise errors.forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative")
    disrupted = status.get("disruptedPods") or {}
    if len(disrupted) > _DISRUPTED_PODS_MAX:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden("policy", "poddisruptionbudgets", name, why)
    if allowed == 0:
        current, desired = status.get("currentHealthy") or 0, status.get("desiredHealthy") or 0
        raise _refusal(f"The disruption budget {name} needs {desired} healthy pods and has {current} currently")
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**disrupted, name_of(pod): now}
