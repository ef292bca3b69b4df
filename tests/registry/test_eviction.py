"""Evictions: dry runs, the condition that tells why a pod went, states that no budget guards, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.admission import disruption
from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, POD
from edgekube.api.objects import Object
from edgekube.registry.context import Context
from edgekube.registry.local import LocalVerbs, create_subresource
from edgekube.registry.state import Registry
from tests.registry.cluster import ADMIN, default_account, pod

BUDGETS = KINDS.by_resource("policy", "v1", "poddisruptionbudgets")
assert BUDGETS is not None
NOW = "2026-01-01T00:00:00Z"
DRY: Object = {"deleteOptions": {"dryRun": ["All"]}}


async def put_pod(registry: Registry, verbs: LocalVerbs, *, phase: str = "Running", ready: bool = True) -> None:
    await default_account(registry)
    made = pod("p", nodeName="pi")
    made["metadata"]["labels"] = {"app": "web"}
    made["metadata"]["finalizers"] = ["example.com/stay"]
    await verbs.create(POD, "default", made)
    conditions = [{"type": "Ready", "status": str(ready)}]
    await verbs.patch(POD, "default", "p", {"status": {"phase": phase, "conditions": conditions}}, subresource="status")


async def put_budget(verbs: LocalVerbs, name: str = "b", *, spec: Object | None = None, **status: Any) -> None:
    assert BUDGETS is not None
    selector = {"matchLabels": {"app": "web"}}
    await verbs.create(
        BUDGETS, "default", {"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": selector, **(spec or {})}}
    )
    told = {
        "observedGeneration": 1,
        "disruptionsAllowed": 0,
        "currentHealthy": 1,
        "desiredHealthy": 1,
        "expectedPods": 1,
        **status,
    }
    await verbs.patch(BUDGETS, "default", name, {"status": told}, subresource="status")


async def evict(registry: Registry, body: Object | None = None, *, dry_run: bool = False) -> Object:
    context = Context(ADMIN, dry_run=dry_run)
    return await create_subresource(
        registry, POD, "default", "p", "eviction", {"metadata": {"name": "p"}, **(body or {})}, context
    )


def target(obj: Object) -> Object | None:
    return next((one for one in obj["status"].get("conditions") or [] if one["type"] == "DisruptionTarget"), None)


async def test_an_evicted_pod_says_why_it_goes(registry: Registry, verbs: LocalVerbs) -> None:
    await put_pod(registry, verbs)
    assert (await evict(registry))["status"] == "Success"
    left = await verbs.get(POD, "default", "p")
    assert left["metadata"]["deletionTimestamp"]
    told = target(left)
    assert told is not None
    assert (told["status"], told["reason"], told["message"]) == ("True", "EvictionByEvictionAPI", "Eviction API: evicting")


@pytest.mark.parametrize(("body", "dry_run"), [(DRY, False), ({}, True), (DRY, True)])
async def test_a_dry_run_leaves_everything_as_it_is(registry: Registry, verbs: LocalVerbs, body: Object, dry_run: bool) -> None:
    await put_pod(registry, verbs)
    await put_budget(verbs, disruptionsAllowed=1)
    before = registry.store.revision()
    assert (await evict(registry, body, dry_run=dry_run))["status"] == "Success"
    assert registry.store.revision() == before


async def test_a_budget_that_is_used_up_says_what_it_needs(registry: Registry, verbs: LocalVerbs) -> None:
    await put_pod(registry, verbs)
    await put_budget(verbs)
    with pytest.raises(StatusError) as refused:
        await evict(registry)
    assert (refused.value.code, refused.value.message) == (
        429,
        "Cannot evict pod as it would violate the pod's disruption budget.",
    )
    assert refused.value.causes[0].message == "The disruption budget b needs 1 healthy pods and has 1 currently"
    assert target(await verbs.get(POD, "default", "p")) is None


async def test_a_pod_that_does_not_run_yet_is_not_guarded(registry: Registry, verbs: LocalVerbs) -> None:
    await put_pod(registry, verbs, phase="Pending", ready=False)
    await put_budget(verbs)
    await evict(registry)
    assert (await verbs.get(POD, "default", "p"))["metadata"]["deletionTimestamp"]


async def test_an_unhealthy_pod_goes_when_the_others_are_enough(registry: Registry, verbs: LocalVerbs) -> None:
    await put_pod(registry, verbs, ready=False)
    await put_budget(verbs, currentHealthy=1, desiredHealthy=2)
    with pytest.raises(StatusError):
        await evict(registry)
    assert BUDGETS is not None
    await verbs.patch(BUDGETS, "default", "b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
    await evict(registry)
    assert (await verbs.get(POD, "default", "p"))["metadata"]["deletionTimestamp"]


async def test_a_precondition_that_does_not_hold_keeps_the_pod(registry: Registry, verbs: LocalVerbs) -> None:
    await put_pod(registry, verbs)
    for precondition in ({"uid": "another"}, {"resourceVersion": "1"}):
        with pytest.raises(StatusError) as refused:
            await evict(registry, {"deleteOptions": {"preconditions": precondition}})
        assert refused.value.reason == "Conflict"
    left = await verbs.get(POD, "default", "p")
    assert "deletionTimestamp" not in left["metadata"] and target(left) is None
    current = {"resourceVersion": left["metadata"]["resourceVersion"]}
    await evict(registry, {"deleteOptions": {"preconditions": current}})


async def test_two_budgets_are_one_too_many(registry: Registry, verbs: LocalVerbs) -> None:
    await put_pod(registry, verbs)
    await put_budget(verbs, "a", disruptionsAllowed=1)
    await put_budget(verbs, "b", disruptionsAllowed=1)
    with pytest.raises(StatusError, match="more than one PodDisruptionBudget") as refused:
        await evict(registry)
    assert refused.value.code == 500


def budget(**status: Any) -> Object:
    return {"metadata": {"name": "b", "generation": 2}, "status": {"observedGeneration": 2, **status}}


def test_the_last_disruption_is_told_of() -> None:
    charged = budget(disruptionsAllowed=1)
    disruption.decrement(charged, "p", NOW)
    assert charged["status"]["disruptedPods"] == {"p": NOW}
    [condition] = charged["status"]["conditions"]
    assert (condition["status"], condition["reason"], condition["observedGeneration"]) == ("False", "InsufficientPods", 2)


@pytest.mark.parametrize(
    ("status", "code", "said", "retry"),
    [
        ({"observedGeneration": 1}, 429, "is still being processed by the server.", 10),
        ({"disruptionsAllowed": -1}, 403, "pdb disruptions allowed is negative", 0),
        ({"currentHealthy": 3, "desiredHealthy": 2}, 429, "The disruption budget b does not allow evicting pods currently", 0),
        (
            {"conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no scale"}]},
            429, "does not allow evicting pods currently because it failed sync: no scale", 0,
        ),
    ],
)  # fmt: skip
def test_refusals(status: Object, code: int, said: str, retry: int) -> None:
    with pytest.raises(StatusError) as refused:
        disruption.decrement(budget(**status), "p", NOW)
    assert (refused.value.code, refused.value.retry_after_seconds) == (code, retry)
    assert said in (refused.value.causes[0].message if refused.value.causes else refused.value.message)


async def test_evictions_of_the_old_version_are_taken(registry: Registry, verbs: LocalVerbs) -> None:
    await put_pod(registry, verbs)
    await evict(registry, {"apiVersion": "policy/v1beta1", "kind": "Eviction"})
    assert "deletionTimestamp" in (await verbs.get(POD, "default", "p"))["metadata"]
    with pytest.raises(StatusError, match='no kind "Eviction" is registered for version "policy/v2"'):
        await evict(registry, {"apiVersion": "policy/v2", "kind": "Eviction"})
