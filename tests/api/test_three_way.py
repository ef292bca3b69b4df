"""Applying a manifest again changes what it says and takes back what it no longer says, nothing else."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.kinds import CONFIGMAP, DEPLOYMENT
from edgekube.api.patch import apply_patch
from edgekube.api.schemas import definition_of
from edgekube.api.three_way import changes
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH


def apply(live: dict[str, Any], last: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    patch = orjson.dumps(changes(last, wanted, definition_of(DEPLOYMENT)))
    full = {"apiVersion": "apps/v1", "kind": "Deployment", **live}
    result = apply_patch(DEPLOYMENT, full, STRATEGIC_MERGE_PATCH, patch)
    return {key: value for key, value in result.items() if key not in ("apiVersion", "kind")}


def containers(*names: str, **more: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": name, "image": "i", **more} for name in names]}}}}


def test_a_field_that_the_manifest_drops_goes_and_a_default_stays() -> None:
    live = {"spec": {"replicas": 3, "paused": True, "revisionHistoryLimit": 10}}
    assert apply(live, {"spec": {"replicas": 3, "paused": True}}, {"spec": {"replicas": 4}}) == {
        "spec": {"replicas": 4, "revisionHistoryLimit": 10}
    }


def test_an_item_that_the_manifest_drops_goes_and_anothers_stays() -> None:
    live = containers("web", "old", "sidecar-of-somebody")
    result = apply(live, containers("web", "old"), containers("web"))
    names = [c["name"] for c in result["spec"]["template"]["spec"]["containers"]]
    assert sorted(names) == ["sidecar-of-somebody", "web"]


def test_defaults_inside_an_item_survive() -> None:
    live = containers("web", imagePullPolicy="Always")
    result = apply(live, containers("web"), containers("web", command=["x"]))
    (web,) = result["spec"]["template"]["spec"]["containers"]
    assert web == {"name": "web", "image": "i", "imagePullPolicy": "Always", "command": ["x"]}


texts = st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=3), max_size=5)


@settings(max_examples=80, deadline=None)
@given(texts, texts, texts)
def test_the_result_has_what_is_wanted_and_not_what_was_dropped(
    last: dict[str, str], wanted: dict[str, str], others: dict[str, str]
) -> None:
    live = {"apiVersion": "v1", "kind": "ConfigMap", "data": {**others, **last}}
    patch = changes({"data": last}, {"data": wanted}, definition_of(CONFIGMAP))
    data = apply_patch(CONFIGMAP, live, STRATEGIC_MERGE_PATCH, orjson.dumps(patch)).get("data") or {}
    assert wanted.items() <= data.items()
    assert set(data) == set(wanted) | (set(others) - set(last))
