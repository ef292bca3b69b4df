"""Aggregated ClusterRoles: their rules are those of the roles that they select."""

from __future__ import annotations

from edgekube.api.kinds import CLUSTERROLE
from edgekube.api.objects import Object
from edgekube.controllers.roleaggregation import AGGREGATION_CONTROLLER
from tests.controllers.world import World


def role(world: World, name: str, *resources: str, label: str = "", selects: str = "") -> None:
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]} for resource in resources]
    obj: Object = {"metadata": {"name": name, "labels": {label: "true"} if label else {}}, "rules": rules}
    if selects:
        obj["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {selects: "true"}}]}
    world.put(CLUSTERROLE, obj)


def resources_of(world: World, name: str) -> list[str]:
    found = world.get(CLUSTERROLE, "", name)
    assert found is not None
    return [rule["resources"][0] for rule in found["rules"]]


def test_a_role_collects_what_it_selects_and_again_when_that_changes() -> None:
    world = World()
    role(world, "b", "pods", "secrets", label="to-x")
    role(world, "a", "services", "pods", label="to-x")
    role(world, "c", "nodes")
    role(world, "x", "stale", selects="to-x", label="to-x")
    world.step(AGGREGATION_CONTROLLER, "", "x")
    assert resources_of(world, "x") == ["services", "pods", "secrets"]
    assert world.step(AGGREGATION_CONTROLLER, "", "x") == []
    world.gone(CLUSTERROLE, "", "b")
    world.step(AGGREGATION_CONTROLLER, "", "x")
    assert resources_of(world, "x") == ["services", "pods"]
    assert world.step(AGGREGATION_CONTROLLER, "", "a") == [], "a role without a rule of aggregation is left alone"
