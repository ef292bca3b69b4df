"""What a node keeps of a pod."""

from __future__ import annotations

import tracemalloc

import orjson

from edgekube.agent.restart import Backoff
from edgekube.agent.state import PodMemory, Waiting, kept
from edgekube.api.objects import Object


def pod() -> Object:
    managers = [{"manager": "kubectl", "fieldsV1": {f"f:field-{number}": {} for number in range(50)}}]
    metadata = {"name": "web", "uid": "u", "labels": {"app": "web"}, "managedFields": managers}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}}


def test_who_wrote_which_field_is_nothing_that_a_node_keeps() -> None:
    given = pod()
    told = orjson.loads(kept(given))
    assert told == {**pod(), "metadata": {"name": "web", "uid": "u", "labels": {"app": "web"}}}
    assert given == pod(), "somebody else's"
    assert orjson.loads(kept({"spec": {}})) == {"spec": {}, "metadata": {}}


def test_a_thousand_pods_take_no_more_room_than_their_text() -> None:
    given, text = pod(), len(kept(pod()))
    tracemalloc.start()
    try:
        held = [kept(given) for _ in range(1000)]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(held) * text < used < len(held) * (text + 200)


def test_what_is_waited_for_comes_when_it_would_have_come_though_the_clock_was_set() -> None:
    memory = PodMemory(started_at=1000.0, stopping_since=2000.0)
    memory.waiting["main"] = Waiting("ErrImagePull", "no", 2010.0, 2002.0, "ImagePullBackOff", "no")
    memory.troubles["sandbox"] = Waiting("UNKNOWN", "no", 2005.0)
    memory.shift(-1500.0)
    assert memory.stopping_since == 500.0
    assert memory.waiting["main"] == Waiting("ErrImagePull", "no", 510.0, 502.0, "ImagePullBackOff", "no")
    assert memory.troubles["sandbox"] == Waiting("UNKNOWN", "no", 505.0)


def test_a_container_that_ended_in_the_future_is_tried_now() -> None:
    backoff = Backoff()
    backoff.advance("main", 5000.0)
    assert backoff.remaining_seconds("main", 5001.0, 5001.0) == 10.0
    assert backoff.remaining_seconds("main", 5001.0, 1400.0) == 0.0
