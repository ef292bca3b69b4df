"""eviction: delete a pod, unless its disruption budget says no.

Enters: an Eviction, of policy/v1 or v1beta1.
Leaves: a Status; StatusError TooManyRequests while the budget is used up.
Holds: a budget is charged before the pod goes; a pod that is not guarded because of its state goes in that state or not at all;
the pod says why it went (condition DisruptionTarget). Nothing of it happens on a dry run, asked for by the request or by the
Eviction's deleteOptions (source: k8s.io/kubernetes pkg/registry/core/pod/storage/eviction.go; kubernetes.io, "API-initiated
eviction").
Next: admission.disruption decides; registry.delete.
"""

from __future__ import annotations

from typing import Final

import orjson
from msgspec.structs import replace

from edgekube.admission import disruption
from edgekube.admission.request import AdmissionRequest
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import POD, PODDISRUPTIONBUDGET, Kind
from edgekube.api.objects import Object, labels_of, name_of
from edgekube.api.selectors.labels import label_selector_of
from edgekube.api.verbs import DeleteOptions
from edgekube.registry import gate, writing
from edgekube.registry.context import Context
from edgekube.registry.delete import check_preconditions, delete
from edgekube.registry.faults import as_status
from edgekube.registry.get import stored
from edgekube.registry.state import Registry
from edgekube.registry.subresources.binding import SUCCESS
from edgekube.store.protocol import Key, RevisionConflict, StoreError

EVICTION: Final = Kind("policy", "v1", "Eviction", "evictions", verbs=())
#: Evictions of this version are taken as well, as upstream's; Java's fabric8 sends no others. Their fields are the same.
OLD_VERSION: Final = "policy/v1beta1"
_ATTEMPTS_MAX: Final = 20


async def evict(
    registry: Registry, namespace: str, name: str, options: DeleteOptions, context: Context, request: AdmissionRequest
) -> Object:
    await gate.validate(registry, request)
    if options.dry_run:
        context.dry_run = True
    for _ in range(_ATTEMPTS_MAX):
        record = await stored(registry, POD, namespace, name)
        pod: Object = orjson.loads(record.value)
        if not disruption.goes_freely(pod):
            break
        # One that does not run yet may run the next moment, and is then guarded.
        in_this_state = options
        if not disruption.is_over(pod) and options.precondition_revision is None:
            in_this_state = replace(options, precondition_revision=str(record.revision))
        try:
            await _mark_and_delete(registry, namespace, name, context, in_this_state)
        except StatusError as error:
            if error.reason != "Conflict" or options.precondition_revision is not None:
                raise
            continue
        return SUCCESS
    else:
        raise errors.conflict("", "pods", name)
    await _guarded(registry, namespace, pod, str(record.revision), options, context)
    return SUCCESS


async def _guarded(
    registry: Registry, namespace: str, pod: Object, revision: str, options: DeleteOptions, context: Context
) -> None:
    """A running pod: at most one budget, which lets it go."""
    budgets = await _budgets_of(registry, namespace, pod)
    if len(budgets) > 1:
        why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError("InternalError", why)
    unhealthy = bool(budgets) and not await _charge(registry, namespace, budgets[0], pod, context)
    only_in_this_state = unhealthy and options.precondition_revision is None
    if only_in_this_state:
        options = replace(options, precondition_revision=revision)
    try:
        await _mark_and_delete(registry, namespace, name_of(pod), context, options)
    except StatusError as error:
        if error.reason == "Conflict" and only_in_this_state:
            raise disruption.still_processed(budgets[0]) from error
        raise


async def _mark_and_delete(registry: Registry, namespace: str, name: str, context: Context, options: DeleteOptions) -> None:
    if not context.dry_run:
        revision = await _mark(registry, namespace, name, context, options)
        if options.precondition_revision is not None:
            options = replace(options, precondition_revision=revision)
    await delete(registry, POD, namespace, name, context, options, admitted=True)


async def _mark(registry: Registry, namespace: str, name: str, context: Context, options: DeleteOptions) -> str:
    """The pod says that it is being evicted; its revision afterwards."""
    key = Key(POD.resource, namespace, name)
    for _ in range(_ATTEMPTS_MAX):
        record = await stored(registry, POD, namespace, name)
        pod: Object = orjson.loads(record.value)
        check_preconditions(POD, name, pod, options)
        if not disruption.mark(pod, registry.now()):
            return str(record.revision)
        try:
            written = await writing.update(registry, POD, key, pod, record.revision, context)
        except RevisionConflict:
            continue
        except StoreError as error:
            raise as_status(error, POD, name) from error
        return str(written.object["metadata"]["resourceVersion"])
    raise errors.conflict("", "pods", name)


async def _budgets_of(registry: Registry, namespace: str, pod: Object) -> list[str]:
    found: list[str] = []
    for budget in await registry.everything(PODDISRUPTIONBUDGET, namespace):
        selector = (budget.get("spec") or {}).get("selector")
        if selector is not None and label_selector_of(selector).matches(labels_of(pod)):
            found.append(name_of(budget))
    return found


async def _charge(registry: Registry, namespace: str, budget_name: str, pod: Object, context: Context) -> bool:
    """Take one disruption out of the budget. False: it does not guard the pod, which is not healthy."""
    key = Key(PODDISRUPTIONBUDGET.resource, namespace, budget_name)
    for _ in range(_ATTEMPTS_MAX):
        record = await registry.store.get(key)
        if record is None:
            return True  # nobody guards the pod any more
        budget: Object = orjson.loads(record.value)
        if disruption.unhealthy_may_go(budget, pod):
            return False
        disruption.decrement(budget, name_of(pod), registry.now())
        if context.dry_run:
            return True
        try:
            await writing.update(registry, PODDISRUPTIONBUDGET, key, budget, record.revision, context)
            return True
        except RevisionConflict:
            continue
        except StoreError as error:
            raise as_status(error, PODDISRUPTIONBUDGET, budget_name) from error
    raise disruption.busy(budget_name)
