"""Whose scale a budget goes by: subresources are those of the version that a pod's owner names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekube.api.calls import Update
from edgekube.api.controller import Key
from edgekube.api.kinds import DEPLOYMENT, POD, PODDISRUPTIONBUDGET
from edgekube.api.objects import Object, uid_of
from edgekube.reconcile import custom_scales
from tests.controllers.world import World
from tests.reconcile.conftest import Api

FLEETS = {
    ("apps/v1", "Fleet"): replace(DEPLOYMENT, kind="Fleet"),
    ("apps/v1beta1", "Fleet"): replace(DEPLOYMENT, kind="Fleet", subresources=("status",)),
}


@pytest.mark.parametrize(
    ("version", "pods", "why"),
    [
        ("apps/v1", 7, ""),
        ("apps/v1beta1", 0, "deployments.apps does not implement the scale subresource"),
        ("apps/v2", 0, 'no matches for kind "Fleet" in version "apps/v2"'),
    ],
)
async def test_a_scale_is_that_of_the_owners_version(api: Api, version: str, pods: int, why: str) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec: Object = {"replicas": 7, "selector": {"matchLabels": labels}, "template": template}
    made = await api.verbs.create(DEPLOYMENT, "default", {"metadata": {"name": "web"}, "spec": spec})
    world = World()
    owner = {"apiVersion": version, "kind": "Fleet", "name": "web", "uid": uid_of(made), "controller": True}
    world.put(POD, {"metadata": {"name": "p", "namespace": "default", "labels": labels, "ownerReferences": [owner]}})
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    world.put(PODDISRUPTIONBUDGET, {"metadata": {"name": "b", "namespace": "default"}, "spec": budget})
    controller = custom_scales.controller(api.verbs, lambda version, kind: FLEETS.get((version, kind)))
    assert controller.gather is not None
    plan = await controller.gather(world, Key("default", "b"))
    (update,) = (call for call in plan(world, Key("default", "b"), world.moment()) if isinstance(call, Update))
    status = update.object["status"]
    assert (status["expectedPods"], status["conditions"][0]["message"]) == (pods, why)
