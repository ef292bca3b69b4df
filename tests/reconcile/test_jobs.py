"""Jobs on the real registry: complete, cut off at any write, and taken away with their pods."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import JOB, POD
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of
from edgekube.api.verbs import MERGE_PATCH, STRATEGIC_MERGE_PATCH, DeleteOptions, Verbs
from edgekube.controllers.job.controller import new_controller
from edgekube.controllers.job.orphans import ORPHAN_CONTROLLER
from edgekube.controllers.serviceaccount import SERVICEACCOUNT_CONTROLLER
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.garbage import GarbageCollector
from edgekube.reconcile.recorder import Recorder
from tests.reconcile.conftest import Api


def job(name: str, **spec: object) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {**spec, "template": {"spec": pod}}}


async def end(api: Api, pod: Object, phase: str = "Succeeded") -> None:
    await api.verbs.patch(
        POD, namespace_of(pod), name_of(pod), {"status": {"phase": phase}}, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"
    )


async def nodes(api: Api) -> None:
    """Every pod succeeds soon; what is deleted goes."""
    while True:
        for pod in await api.all(POD):
            try:
                if is_deleting(pod):
                    options = DeleteOptions(grace_period_seconds=0, precondition_uid=pod["metadata"]["uid"])
                    await api.verbs.delete(POD, namespace_of(pod), name_of(pod), options)
                elif pod["status"]["phase"] == "Pending":
                    await end(api, pod)
            except StatusError as error:
                assert error.reason in ("NotFound", "Conflict"), "somebody was faster"
        await trio.sleep(0.005)


class CutOff:
    """The verbs, whose user ends before or after the given write."""

    def __init__(self, verbs: Verbs, writes: int, *, before: bool) -> None:
        self.scope = trio.CancelScope()
        self._verbs = verbs
        self._left = writes
        self._before = before

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._verbs, name)
        return verb if name in ("get", "list", "watch") else partial(self._write, verb)

    async def _write(self, verb: Any, *arguments: Any, **named: Any) -> Any:
        self._left -= 1
        if self._left == 0 and self._before:
            self.scope.cancel()
            await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            answer = await verb(*arguments, **named)
        if self._left == 0:
            self.scope.cancel()
            await trio.lowlevel.checkpoint()
        return answer


async def run(api: Api, verbs: Any) -> None:
    controllers = [new_controller(), ORPHAN_CONTROLLER, SERVICEACCOUNT_CONTROLLER]
    engine = Engine(verbs, controllers, recorder=Recorder(api.verbs))
    await engine.run()


async def complete(api: Api, name: str) -> Object:
    async def finished() -> Object | None:
        found = await api.verbs.get(JOB, "default", name)
        return found if found["status"].get("completionTime") else None

    found: Object = await api.until(finished)
    return found


async def test_a_job_cut_off_at_any_write_counts_every_pod_once(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nodes, api)
        for cut in range(1, 13):
            for before in (True, False):
                name = f"cut-{cut}-{'before' if before else 'after'}"
                await api.verbs.create(JOB, "default", job(name, completions=3, parallelism=2))
                verbs = CutOff(api.verbs, cut, before=before)
                with verbs.scope:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(run, api, verbs)
                        await complete(api, name)
                        inner.cancel_scope.cancel()
                async with trio.open_nursery() as inner:
                    inner.start_soon(run, api, api.verbs)
                    status = (await complete(api, name))["status"]
                    inner.cancel_scope.cancel()
                pods = [pod for pod in await api.all(POD) if pod["metadata"]["labels"]["job-name"] == name]
                assert (status["succeeded"], status.get("failed"), len(pods)) == (3, None, 3), name
                assert all("finalizers" not in pod["metadata"] for pod in pods)
        nursery.cancel_scope.cancel()


async def test_a_job_that_is_deleted_takes_its_pods_with_it(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, api, api.verbs)
        await nursery.start(GarbageCollector(api.verbs, lambda: (JOB, POD), Recorder(api.verbs)).run)
        for policy in ("Background", "Foreground"):
            await api.verbs.create(JOB, "default", job("work", completions=2, parallelism=2))

            async def two() -> bool:
                return len(await api.all(POD)) == 2

            async def none() -> bool:
                return not await api.all(POD) and not await api.all(JOB)

            await api.until(two)
            await api.verbs.delete(JOB, "default", "work", DeleteOptions(propagation_policy=policy))
            await api.until(none)
        nursery.cancel_scope.cancel()


async def test_a_suspended_job_may_change_where_it_runs(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, api, api.verbs)
        await api.verbs.create(JOB, "default", job("work", suspend=True))

        async def suspended() -> bool:
            conditions = (await api.verbs.get(JOB, "default", "work"))["status"].get("conditions") or ()
            return any(each["type"] == "Suspended" and each["status"] == "True" for each in conditions)

        await api.until(suspended)
        template = {"spec": {"nodeSelector": {"disk": "fast"}}}
        await api.verbs.patch(JOB, "default", "work", {"spec": {"template": template, "suspend": False}}, patch_type=MERGE_PATCH)

        async def placed() -> bool:
            return [pod["spec"].get("nodeSelector") for pod in await api.all(POD)] == [{"disk": "fast"}]

        await api.until(placed)
        nursery.cancel_scope.cancel()
