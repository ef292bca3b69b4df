"""Leases say who runs the control loops."""

from __future__ import annotations

import itertools

import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import EVENT, LEASE
from edgekube.api.objects import Object
from edgekube.reconcile.leadership import hold
from edgekube.reconcile.recorder import Recorder
from tests.reconcile.conftest import Api


async def held(api: Api, holder: str, renewals: int) -> Object:
    """The Lease after so many renewals by this holder."""
    ticks = itertools.count(1_800_000_000)

    async def renewed() -> Object | None:
        try:
            spec: Object = (await api.verbs.get(LEASE, "kube-system", "kube-scheduler"))["spec"]
        except StatusError:
            return None
        mine = spec["holderIdentity"] == holder and spec["renewTime"] >= f"2027-01-15T08:00:{renewals:02}"
        return spec if mine else None

    async with trio.open_nursery() as nursery:
        recorder = Recorder(api.verbs)
        nursery.start_soon(recorder.run)

        async def leader() -> None:
            await hold(api.verbs, recorder, "kube-scheduler", holder, renew_seconds=0.01, clock=lambda: float(next(ticks)))

        nursery.start_soon(leader)
        spec: Object = await api.until(renewed)

        async def told() -> bool:
            events = [each for each in await api.all(EVENT) if each["reason"] == "LeaderElection"]
            return f"{holder} became leader" in [each["message"] for each in events]

        await api.until(told)
        nursery.cancel_scope.cancel()
    return spec


async def test_the_lease_is_held_renewed_and_taken_over(api: Api) -> None:
    spec = await held(api, "n1_a", renewals=3)
    assert spec["acquireTime"] == "2027-01-15T08:00:00.000000Z"
    assert spec["leaseTransitions"] == 0
    assert spec["leaseDurationSeconds"] == 60
    spec = await held(api, "n1_b", renewals=2)
    assert spec["leaseTransitions"] == 1
