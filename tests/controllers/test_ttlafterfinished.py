"""A finished Job goes when its time is over, and not before."""

from __future__ import annotations

from edgekube.api import times
from edgekube.api.kinds import JOB
from edgekube.controllers.ttlafterfinished import TTL_CONTROLLER
from tests.controllers.jobs import job
from tests.controllers.world import World


def test_a_job_goes_with_its_pods_when_its_time_is_over() -> None:
    world = World()
    obj = job(ttlSecondsAfterFinished=60)
    world.put(JOB, obj)
    assert world.step(TTL_CONTROLLER, "default", "work") == [], "it has not ended"
    obj["status"]["conditions"] = [{"type": "Failed", "status": "True", "lastTransitionTime": times.rfc3339(world.now)}]
    world.put(JOB, obj)
    world.now += 20
    world.step(TTL_CONTROLLER, "default", "work")
    assert world.later == 40
    world.now += 40
    world.step(TTL_CONTROLLER, "default", "work")
    found = world.get(JOB, "default", "work") or {}
    assert found["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert world.step(TTL_CONTROLLER, "default", "work") == []
