"""Seats of the priority levels, and a flood against the server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import FLOWSCHEMA, PRIORITYLEVELCONFIGURATION
from edgekube.registry.flowcontrol import default_flow_objects
from edgekube.server.fairness.dangling import changed_status
from edgekube.server.fairness.fairness import LEVEL_HEADER, SCHEMA_HEADER, Fairness
from edgekube.server.fairness.seats import LevelRules, Seats, rules_of
from tests.server.running import running_api

QUEUES: dict[str, Any] = {"queues": 2, "queue_max": 3}


def seats(total: int, *levels: LevelRules) -> Seats:
    made = Seats(total)
    made.follow(levels)
    return made


async def test_a_flood_in_one_level_takes_no_seat_of_another() -> None:
    held = seats(4, LevelRules("low", shares=1), LevelRules("high", shares=1))
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(held.seat("low", "mallory"))
        with pytest.raises(StatusError, match="too many requests") as refused:
            await stack.enter_async_context(held.seat("low", "mallory"))
        assert (refused.value.code, refused.value.retry_after_seconds) == (429, 1)
        await stack.enter_async_context(held.seat("high", "node"))
        assert held.running() == {"low": 2, "high": 1} and held.refused() == {"low": 1}
    assert held.running() == {"low": 0, "high": 0}


async def test_who_sits_down_without_a_wait_lets_others_go_first_and_gets_up_once() -> None:
    held = seats(1, LevelRules("x", **QUEUES), LevelRules("free", exempt=True))
    first, second = held.seat("x", "a"), held.seat("x", "b")
    assert first.sit() and held.running()["x"] == 1
    assert not second.sit()
    second.leave()  # it has none to give back
    async with trio.open_nursery() as nursery:
        seated = trio.Event()

        async def wait() -> None:
            async with second:
                seated.set()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not held.seat("x", "c").sit()
        first.leave()
        first.leave()
        await seated.wait()
    assert held.running() == {"x": 0, "free": 0} and held.waiting()["x"] == 0
    assert held.seat("free", "a").sit() and held.seat("nowhere", "a").sit()


async def test_idle_seats_are_lent_and_come_back() -> None:
    held = seats(8, LevelRules("low", shares=1), LevelRules("high", shares=1, lendable_percent=50))
    async with AsyncExitStack() as stack:
        for _ in range(6):  # its own four, and half of the other's
            await stack.enter_async_context(held.seat("low", "a"))
        with pytest.raises(StatusError):
            await stack.enter_async_context(held.seat("low", "a"))
        for _ in range(4):
            await stack.enter_async_context(held.seat("high", "b"))
    capped = seats(8, LevelRules("low", shares=1, borrow_percent=25), LevelRules("high", shares=1, lendable_percent=100))
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(capped.seat("low", "a"))
        with pytest.raises(StatusError):
            await stack.enter_async_context(capped.seat("low", "a"))


async def test_flows_take_turns_whatever_one_of_them_sends() -> None:
    held = seats(1, LevelRules("x", **QUEUES))
    served: list[str] = []
    may_end = trio.Event()

    async def ask(flow: str) -> None:
        async with held.seat("x", flow):
            served.append(flow)
            if len(served) == 1:
                await may_end.wait()

    async with trio.open_nursery() as nursery:
        for flow in ("a", "a", "a", "a", "b"):
            nursery.start_soon(ask, flow)
            await wait_all_tasks_blocked()
        with pytest.raises(StatusError):
            await ask("a")  # three of its own wait already
        may_end.set()
    assert served == ["a", "a", "b", "a", "a"]


async def test_who_waits_too_long_or_leaves_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    held = seats(1, LevelRules("x", **QUEUES))
    async with held.seat("x", "a"):
        began = trio.current_time()
        with pytest.raises(StatusError):
            async with held.seat("x", "b"):
                raise AssertionError("nobody got up")
        assert trio.current_time() - began == pytest.approx(limits.REQUEST_WAIT_SECONDS)
        with trio.move_on_after(1):
            async with held.seat("x", "b"):
                raise AssertionError("nobody got up")
        assert held.waiting() == {"x": 0}
    async with held.seat("x", "b"):
        assert held.running() == {"x": 1}


async def test_a_level_that_goes_keeps_nobody_waiting() -> None:
    held = seats(1, LevelRules("x", **QUEUES))
    async with trio.open_nursery() as nursery, held.seat("x", "a"):

        async def ask() -> None:
            with pytest.raises(StatusError):
                async with held.seat("x", "b"):
                    raise AssertionError("the level is gone")

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        held.follow([LevelRules("y")])
    async with held.seat("x", "a"):
        assert held.running() == {"y": 0}


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=40))
@settings(max_examples=100, deadline=None)
def test_seats_are_never_lost(steps: list[tuple[str, bool]]) -> None:
    """Taken and given back in any order: what runs is bounded, and in the end nothing runs."""
    held = seats(6, *(LevelRules(name, shares=2, lendable_percent=50) for name in "xyz"))

    async def run() -> None:
        stacks: list[AsyncExitStack] = []
        for level, takes in steps:
            if takes:
                stack = AsyncExitStack()
                try:
                    await stack.enter_async_context(held.seat(level, "f"))
                    stacks.append(stack)
                except StatusError:
                    assert held.running()[level] >= 2
            elif stacks:
                await stacks.pop(0).aclose()
            assert sum(held.running().values()) == len(stacks) <= 9
        for stack in stacks:
            await stack.aclose()

    trio.run(run)
    assert not any(held.running().values())


def test_a_schema_says_whether_its_level_is_there() -> None:
    schema = {"spec": {"priorityLevelConfiguration": {"name": "x"}}}
    lost = changed_status(schema, False, "t1")
    assert lost is not None and lost["conditions"][0]["status"] == "True"
    assert changed_status({**schema, "status": lost}, False, "t2") is None
    found = changed_status({**schema, "status": lost}, True, "t3")
    assert found is not None and (found["conditions"][0]["reason"], found["conditions"][0]["lastTransitionTime"]) == (
        "Found",
        "t3",
    )


def test_a_levels_rules() -> None:
    by_name = {
        obj["metadata"]["name"]: rules_of(obj) for obj in default_flow_objects() if obj["kind"] == PRIORITYLEVELCONFIGURATION.kind
    }
    assert by_name["exempt"].exempt and not by_name["system"].exempt
    assert (by_name["workload-low"].shares, by_name["workload-low"].lendable_percent, by_name["workload-low"].queue_max) == (
        100,
        90,
        50,
    )
    assert by_name["catch-all"].queue_max == 0, "refused at once"


async def test_answers_name_the_flow_and_changes_count_at_once(tmp_path: Path) -> None:
    fairness = Fairness()
    async with running_api(tmp_path, fairness=fairness) as api, trio.open_nursery() as nursery:
        for obj in default_flow_objects():
            kind = PRIORITYLEVELCONFIGURATION if obj["kind"] == PRIORITYLEVELCONFIGURATION.kind else FLOWSCHEMA
            if await api.registry.find(kind, "", obj["metadata"]["name"]) is None:
                await api.verbs.create(kind, "", obj)
        nursery.start_soon(fairness.run, api.verbs)
        base = "/apis/flowcontrol.apiserver.k8s.io/v1"

        async def uids(name: str, level: str) -> tuple[str, str]:
            schema = (await api.ask("GET", f"{base}/flowschemas/{name}")).json
            found = (await api.ask("GET", f"{base}/prioritylevelconfigurations/{level}")).json
            return schema["metadata"]["uid"], found["metadata"]["uid"]

        async def seen(wanted: tuple[str, str]) -> None:
            with trio.fail_after(60):
                while True:
                    headers = (await api.ask("GET", "/api/v1/namespaces/default/pods", user="alice")).headers
                    if (headers.get(SCHEMA_HEADER), headers.get(LEVEL_HEADER)) == wanted:
                        return
                    await trio.sleep(0.02)

        await seen(await uids("global-default", "global-default"))
        mine = {
            "metadata": {"name": "mine"},
            "spec": {
                "priorityLevelConfiguration": {"name": "workload-high"},
                "matchingPrecedence": 50,
                "rules": [{
                    "subjects": [{"kind": "User", "user": {"name": "alice"}}],
                    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
                }],
            },
        }  # fmt: skip
        await api.verbs.create(FLOWSCHEMA, "", mine)
        await seen(await uids("mine", "workload-high"))
        with trio.fail_after(60):
            while True:
                status = (await api.ask("GET", f"{base}/flowschemas/mine")).json.get("status") or {}
                if [(c["type"], c["status"]) for c in status.get("conditions", ())] == [("Dangling", "False")]:
                    break
                await trio.sleep(0.02)
        api.roles.put({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "readers"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
        })  # fmt: skip
        # A get of one object sits down without a wait, and gets up again though it fails.
        assert (await api.ask("GET", "/api/v1/namespaces/default/pods/none", user="alice")).status == 404
        assert (await api.ask("GET", f"{base}/flowschemas/mine", user="alice")).status == 200
        text = (await api.ask("GET", "/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith("apiserver_flowcontrol_nominal_limit_seats")]
        assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-high"} 20' in lines
        assert 'apiserver_flowcontrol_current_executing_requests{priority_level="workload-high"} 0' in text
        nursery.cancel_scope.cancel()
