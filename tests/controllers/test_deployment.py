"""A Deployment rolls from template to template within its bounds, and tells about it as kubectl expects."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import podstate
from edgekube.api.kinds import DEPLOYMENT, POD, REPLICASET
from edgekube.api.objects import Object, annotations_of, name_of, uid_of
from edgekube.controllers.deployment import facts, rollout
from edgekube.controllers.deployment.controller import DEPLOYMENT_CONTROLLER
from edgekube.controllers.replicaset import REPLICASET_CONTROLLER
from tests.controllers.world import World, kubelet


def deployment(replicas: int, image: str = "v1", **spec: object) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "default", "annotations": {"team": "blue"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


def current(world: World) -> Object:
    found = world.get(DEPLOYMENT, "default", "web")
    assert found is not None
    return found


def change(world: World, **spec: object) -> None:
    found = current(world)
    found["spec"].update(spec)
    world.put(DEPLOYMENT, found)


def set_image(world: World, image: str) -> None:
    found = current(world)
    found["spec"]["template"]["spec"]["containers"][0]["image"] = image
    world.put(DEPLOYMENT, found)


def controllers_turn(world: World) -> None:
    world.step(DEPLOYMENT_CONTROLLER, "default", "web")
    for replicaset in list(world.list(REPLICASET)):
        world.step(REPLICASET_CONTROLLER, "default", name_of(replicaset))


def settle(world: World, *, check: Callable[[World], None] = lambda _: None, turns: int = 60) -> None:
    """Controllers and node take turns until nothing changes."""
    for _ in range(turns):
        before = world._revision
        controllers_turn(world)
        check(world)
        for pod in list(world.list(POD)):
            if not podstate.is_ready(pod) or pod["metadata"].get("deletionTimestamp"):
                kubelet(world, pod)
        check(world)
        if world._revision == before:
            return
        world.now += 1
    raise AssertionError("it does not settle")


def sizes(world: World) -> dict[str, int]:
    return {
        each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"] for each in world.list(REPLICASET)
    }


def condition(world: World, type_: str) -> tuple[str, str, str]:
    found = podstate.condition_of(current(world), type_)
    assert found is not None
    return found["status"], found["reason"], found["message"]


def test_apply_makes_a_replica_set_and_says_so() -> None:
    world = World()
    world.put(DEPLOYMENT, deployment(3))
    controllers_turn(world)
    (replicaset,) = world.list(REPLICASET)
    name = name_of(replicaset)
    digest = replicaset["metadata"]["labels"]["pod-template-hash"]
    assert name == f"web-{digest}"
    assert replicaset["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
    assert annotations_of(replicaset) == {
        "team": "blue",
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert annotations_of(current(world))["deployment.kubernetes.io/revision"] == "1"
    assert world.events[0] == f"ScalingReplicaSet: Scaled up replica set {name} from 0 to 3"
    assert condition(world, "Progressing") == ("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
    assert condition(world, "Available")[:2] == ("False", "MinimumReplicasUnavailable")
    settle(world)
    assert condition(world, "Available")[:2] == ("True", "MinimumReplicasAvailable")
    assert condition(world, "Progressing") == (
        "True",
        "NewReplicaSetAvailable",
        f'ReplicaSet "{name}" has successfully progressed.',
    )
    status = current(world)["status"]
    del status["conditions"]
    assert status == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "terminatingReplicas": 0,
    }


def test_a_new_image_rolls_and_undo_brings_the_old_replica_set_back() -> None:
    world = World()
    world.put(DEPLOYMENT, deployment(3))
    settle(world)
    set_image(world, "v2")
    settle(world)
    assert sizes(world) == {"v1": 0, "v2": 3}
    assert annotations_of(current(world))[facts.REVISION] == "2"
    set_image(world, "v1")
    settle(world)
    assert sizes(world) == {"v1": 3, "v2": 0}
    old = next(each for each in world.list(REPLICASET) if each["spec"]["replicas"])
    assert annotations_of(old)[facts.REVISION] == "3"
    assert annotations_of(old)[facts.REVISION_HISTORY] == "1"
    assert annotations_of(current(world))[facts.REVISION] == "3"


def test_recreate_never_runs_two_templates_at_once() -> None:
    def one_template(world: World) -> None:
        images = {pod["spec"]["containers"][0]["image"] for pod in world.list(POD)}
        assert len(images) <= 1

    world = World()
    world.put(DEPLOYMENT, deployment(3, strategy={"type": "Recreate"}))
    settle(world, check=one_template)
    set_image(world, "v2")
    settle(world, check=one_template)
    assert sizes(world) == {"v1": 0, "v2": 3}
    change(world, replicas=5)
    settle(world, check=one_template)
    assert sizes(world) == {"v1": 0, "v2": 5}


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    world = World()
    world.put(DEPLOYMENT, deployment(2))
    settle(world)
    change(world, paused=True)
    set_image(world, "v2")
    change(world, replicas=4)
    settle(world)
    assert sizes(world) == {"v1": 4}
    assert condition(world, "Progressing")[:2] == ("Unknown", "DeploymentPaused")
    change(world, paused=False)
    settle(world)
    assert sizes(world) == {"v1": 0, "v2": 4}


def test_scaling_during_a_rollout_shares_out_in_proportion() -> None:
    """The example of the documentation: 10 replicas, maxSurge 3, maxUnavailable 2, a rollout that is stuck, scaled to 15."""
    world = World()
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    world.put(DEPLOYMENT, deployment(10, strategy=rolling))
    settle(world)
    set_image(world, "broken")
    for _ in range(6):
        controllers_turn(world)
        for pod in list(world.list(POD)):
            kubelet(world, pod, ready=pod["spec"]["containers"][0]["image"] == "v1")
    assert sizes(world) == {"v1": 8, "broken": 5}
    change(world, replicas=15)
    world.step(DEPLOYMENT_CONTROLLER, "default", "web")
    assert sizes(world) == {"v1": 11, "broken": 7}


def test_a_stuck_rollout_exceeds_its_deadline() -> None:
    world = World()
    world.put(DEPLOYMENT, deployment(1, progressDeadlineSeconds=10))
    for _ in range(3):
        controllers_turn(world)
        for pod in list(world.list(POD)):
            kubelet(world, pod, ready=False)
    world.step(DEPLOYMENT_CONTROLLER, "default", "web")
    assert world.later is not None
    world.now += world.later
    world.step(DEPLOYMENT_CONTROLLER, "default", "web")
    status, reason, message = condition(world, "Progressing")
    assert (status, reason) == ("False", "ProgressDeadlineExceeded")
    assert message.endswith("has timed out progressing.")
    settle(world)
    assert condition(world, "Progressing")[:2] == ("True", "NewReplicaSetAvailable"), "it recovers"


def test_the_history_is_cut_at_its_limit() -> None:
    world = World()
    world.put(DEPLOYMENT, deployment(1, revisionHistoryLimit=2))
    for image in ("v1", "v2", "v3", "v4", "v5"):
        set_image(world, image)
        settle(world)
    assert set(sizes(world)) == {"v3", "v4", "v5"}


def test_a_taken_name_is_a_collision_and_gets_another_hash() -> None:
    world = World()
    world.put(DEPLOYMENT, deployment(1))
    name = f"web-{facts.template_hash(current(world)['spec']['template'], None)}"
    foreign = {"apiVersion": "v1", "kind": "Other", "name": "x", "uid": "x", "controller": True}
    squatter = deployment(0)
    squatter["metadata"] = {"name": name, "namespace": "default", "ownerReferences": [foreign]}
    world.put(REPLICASET, squatter)
    settle(world)
    assert current(world)["status"]["collisionCount"] == 1
    assert [each["spec"]["replicas"] for each in world.owned_by(REPLICASET, uid_of(current(world)))] == [1]


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    one = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"x": 1, "y": [1, 2]}}
    two = {"spec": {"y": [1, 2], "x": 1}, "metadata": {"labels": {"b": "2", "a": "1"}}}
    assert facts.template_hash(one, None) == facts.template_hash(two, None)
    assert facts.template_hash(one, 1) != facts.template_hash(one, None)
    other = {**two, "spec": {"x": 2}}
    assert facts.template_hash(one, None) != facts.template_hash(other, None)


def test_pods_that_an_old_replicaset_has_yet_to_delete_are_not_counted_on() -> None:
    """The old ReplicaSet was told to go from 6 to 5 and has not: its sixth pod serves now, but not for long."""
    owner = deployment(6, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 0}})

    def replicaset(name: str, size: int, available: int) -> Object:
        return {"metadata": {"name": name}, "spec": {"replicas": size}, "status": {"availableReplicas": available}}

    new, old = replicaset("new", 4, 2), replicaset("old", 5, 6)
    assert rollout.rolling(owner, new, [old]) == {"old": 4}


COUNTS = st.integers(0, 4) | st.sampled_from(["0%", "25%", "34%", "50%", "100%"])


@settings(max_examples=80, deadline=None)
@given(
    replicas=st.integers(1, 7),
    surge=COUNTS,
    unavailable=COUNTS,
    images=st.lists(st.sampled_from(["v1", "v2", "v3"]), min_size=1, max_size=3),
    choices=st.randoms(use_true_random=False),
)
def test_a_rolling_update_stays_within_its_bounds(replicas, surge, unavailable, images, choices) -> None:  # type: ignore[no-untyped-def]
    world = World()
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    world.put(DEPLOYMENT, deployment(replicas, strategy=rolling))
    settle(world)

    def within_bounds(world: World) -> None:
        owner = current(world)
        alive = [pod for pod in world.list(POD) if podstate.is_active(pod)]
        assert len(alive) <= replicas + facts.max_surge(owner)
        assert sum(map(podstate.is_ready, alive)) >= replicas - facts.max_unavailable(owner)

    for image in images:
        set_image(world, image)
        for _ in range(choices.randint(0, 6)):
            controllers_turn(world)
            within_bounds(world)
            for pod in list(world.list(POD)):
                if choices.random() < 0.5 and (not podstate.is_ready(pod) or pod["metadata"].get("deletionTimestamp")):
                    kubelet(world, pod)
            within_bounds(world)
            world.now += 1
    settle(world, check=within_bounds, turns=120)
    assert {image: size for image, size in sizes(world).items() if size} == {images[-1]: replicas}
