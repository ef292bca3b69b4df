"""Carrying out plans: in order, slowly at first, and not beyond a failure."""

from __future__ import annotations

from edgekube.api.calls import Call, Create, Delete, Later, Patch, Record, Report, Require, RequireGone
from edgekube.api.kinds import CONFIGMAP, NAMESPACE
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions
from edgekube.reconcile.execute import execute
from tests.reconcile.conftest import Api


def body(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def names(api: Api) -> set[str]:
    return {each["metadata"]["name"] for each in await api.all(CONFIGMAP)}


async def test_everything_in_order_and_what_was_written(api: Api) -> None:
    told: list[Record] = []
    about = await api.verbs.get(NAMESPACE, "", "default")
    report = Report(about, "SuccessfulCreate", "Created: {name}")
    calls: list[Call] = [Create(CONFIGMAP, "default", body(f"c{number}"), report=report) for number in range(10)]
    calls += [
        Patch(CONFIGMAP, "default", "c0", {"data": {"key": "value"}}),
        Record(about, "Normal", "Done", "all of it"),
        Later(7),
        Later(3),
        Delete(CONFIGMAP, "default", "c9", DeleteOptions()),
        Delete(CONFIGMAP, "default", "never-was"),
    ]
    outcome = await execute(api.verbs, calls, told.append)
    assert outcome.failure is None, "deleting what is not there is no failure"
    assert outcome.later_seconds == 3
    assert [call.name for call in outcome.deletions] == ["c9"]
    assert await names(api) == {f"c{number}" for number in range(9)}
    first = await api.verbs.get(CONFIGMAP, "default", "c0")
    assert outcome.revisions[CONFIGMAP] == int(first["metadata"]["resourceVersion"])
    assert sorted(event.message for event in told) == ["Created: " + f"c{number}" for number in range(10)] + ["all of it"]


async def test_a_refusal_stops_the_run_early_and_the_remedy_is_applied(api: Api) -> None:
    """Starting 1, 2, 4 …: when the third fails, at most the one beside it has been tried."""
    await api.verbs.create(CONFIGMAP, "default", body("c2"))
    about = await api.verbs.get(NAMESPACE, "", "default")
    told: list[Record] = []
    remedies: list[str] = []

    def remedy(error: Exception) -> list[Call]:
        remedies.append(str(error))
        return [Patch(CONFIGMAP, "default", "c2", {"data": {"failed": "yes"}})]

    report = Report(about, "Made", "{name}", "FailedCreate", "Error creating: {error}")
    calls: list[Call] = [
        Create(CONFIGMAP, "default", body(f"c{number}"), report=report, on_failure=remedy) for number in range(20)
    ]
    outcome = await execute(api.verbs, [*calls, Record(about, "Normal", "Never", "reached")], told.append)
    assert outcome.failure is not None
    assert outcome.failure.reason == "AlreadyExists"
    assert await names(api) == {"c0", "c1", "c2"}
    assert remedies == ['configmaps "c2" already exists']
    assert (await api.verbs.get(CONFIGMAP, "default", "c2"))["data"] == {"failed": "yes"}
    assert [event.message for event in told if event.reason == "FailedCreate"] == [
        'Error creating: configmaps "c2" already exists'
    ]
    assert "Never" not in {event.reason for event in told}


async def test_a_namesake_is_not_deleted_in_its_place(api: Api) -> None:
    await api.verbs.create(CONFIGMAP, "default", body("web"))
    options = DeleteOptions(precondition_uid="of-the-one-before")
    outcome = await execute(api.verbs, [Delete(CONFIGMAP, "default", "web", options)], lambda _: None)
    assert outcome.failure is not None
    assert outcome.failure.reason == "Conflict"
    assert await names(api) == {"web"}


async def test_nothing_is_done_for_an_owner_that_is_on_its_way_out(api: Api) -> None:
    """The view may be a moment behind; children that are adopted then would be deleted with their owner."""
    owner = body("owner")
    owner["metadata"]["finalizers"] = ["example.com/hold"]
    uid = (await api.verbs.create(CONFIGMAP, "default", owner))["metadata"]["uid"]
    adopt: list[Call] = [Require(CONFIGMAP, "default", "owner", uid), Create(CONFIGMAP, "default", body("child"))]
    await api.verbs.delete(CONFIGMAP, "default", "owner")
    outcome = await execute(api.verbs, adopt, lambda _: None)
    assert outcome.failure is not None
    assert outcome.failure.reason == "Conflict"
    assert await names(api) == {"owner"}


async def test_what_must_be_gone_is_asked_of_the_api_itself(api: Api) -> None:
    await api.verbs.create(CONFIGMAP, "default", body("claim"))
    uid = (await api.verbs.get(CONFIGMAP, "default", "claim"))["metadata"]["uid"]
    release: list[Call] = [RequireGone(CONFIGMAP, "default", "claim", uid), Create(CONFIGMAP, "default", body("released"))]
    outcome = await execute(api.verbs, release, lambda _: None)
    assert outcome.failure is not None and outcome.failure.reason == "Conflict" and await names(api) == {"claim"}
    outcome = await execute(api.verbs, [RequireGone(CONFIGMAP, "default", "claim", "another"), *release[1:]], lambda _: None)
    assert outcome.failure is None and await names(api) == {"claim", "released"}
    await api.verbs.delete(CONFIGMAP, "default", "claim")
    outcome = await execute(api.verbs, [RequireGone(CONFIGMAP, "default", "claim")], lambda _: None)
    assert outcome.failure is None
