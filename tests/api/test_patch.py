import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, DEPLOYMENT, POD, SERVICE, Kind
from edgekube.api.objects import Object
from edgekube.api.patch import accepted_types, apply_patch
from edgekube.api.verbs import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from tests.api.samples import full_pod

GADGET = Kind("example.com", "v1", "Gadget", "gadgets", custom=True)


def json_patch(current: Object, *operations: Object) -> Object:
    return apply_patch(CONFIGMAP, current, JSON_PATCH, orjson.dumps(operations))


def merge(current: Object, patch: Any) -> Object:
    return apply_patch(CONFIGMAP, current, MERGE_PATCH, orjson.dumps(patch))


def strategic(current: Object, patch: Any, kind: Kind = POD) -> Object:
    current = {"apiVersion": kind.api_version, "kind": kind.kind, **current}
    before = copy.deepcopy(current)
    result = apply_patch(kind, current, STRATEGIC_MERGE_PATCH, orjson.dumps(patch))
    assert current == before, "the current object is never touched"
    return {key: value for key, value in result.items() if key not in ("apiVersion", "kind")}


def pod(*containers: Any, **spec: Any) -> Object:
    return {"spec": {"containers": list(containers), **spec}}


def failed(kind: Kind, current: Object, patch_type: str, body: bytes) -> StatusError:
    with pytest.raises(StatusError) as caught:
        apply_patch(kind, current, patch_type, body)
    return caught.value


# --- what is taken -------------------------------------------------------------------------------------------------------


def test_custom_kinds_have_no_strategic_merge() -> None:
    assert STRATEGIC_MERGE_PATCH not in accepted_types(GADGET)
    error = failed(GADGET, {}, STRATEGIC_MERGE_PATCH, b"{}")
    assert error.code == 415
    assert error.message == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )
    error = failed(POD, {}, "application/json", b"{}")
    assert (error.code, error.message) == (415, "415: Unsupported Media Type")


@pytest.mark.parametrize("patch_type", [JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH])
@pytest.mark.parametrize("body", [b"", b"{", b"3", b'"x"'])
def test_broken_bodies_are_bad_requests(patch_type: str, body: bytes) -> None:
    assert failed(POD, {}, patch_type, body).code == 400


def test_a_patch_may_name_its_charset() -> None:
    assert apply_patch(CONFIGMAP, {}, "application/merge-patch+json; charset=utf-8", b'{"a":1}') == {"a": 1}


# --- JSON patch ----------------------------------------------------------------------------------------------------------


def test_json_patch_applies_in_order() -> None:
    current: Object = {"data": {"a": "1", "l": [1, 2]}}
    result = json_patch(
        current,
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "add", "path": "/data/l/-", "value": 3},
        {"op": "add", "path": "/data/l/0", "value": 0},
        {"op": "copy", "from": "/data/a", "path": "/data/b"},
        {"op": "move", "from": "/data/b", "path": "/data/c~1d"},
        {"op": "remove", "path": "/data/l/1"},
    )
    assert result == {"data": {"a": "2", "l": [0, 2, 3], "c/d": "2"}}
    assert current == {"data": {"a": "1", "l": [1, 2]}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/a", "value": "9"},
        {"op": "replace", "path": "/x/y", "value": 1},
        {"op": "replace", "path": "/l/0", "value": 1},
        {"op": "remove", "path": "/data/x"},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "add", "path": "data", "value": 1},
        {"op": "copy", "from": "/x/y", "path": "/y"},
        {"op": "explode", "path": "/data"},
        {"op": "add", "path": "/data/a/b", "value": 1},
        {"op": "add", "path": 7, "value": 1},
        {"op": "test", "path": "/n", "value": 1.0},
        {"op": "test", "path": "/n", "value": True},
        {"path": "/data"},
        {"op": "replace", "path": "", "value": []},
    ],
)
def test_operations_that_do_not_apply_are_invalid(operation: Object) -> None:
    error = failed(CONFIGMAP, {"data": {"a": "1"}, "l": [], "n": 1}, JSON_PATCH, orjson.dumps([operation]))
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == "the server rejected our request due to an error in our request"


def test_json_patch_is_bounded() -> None:
    many = [{"op": "add", "path": "/a", "value": 1}] * (limits.JSON_PATCH_OPERATIONS_MAX + 1)
    assert failed(CONFIGMAP, {}, JSON_PATCH, orjson.dumps(many)).code == 413
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40
    assert failed(CONFIGMAP, {"a": ["x" * 1000]}, JSON_PATCH, orjson.dumps(doubling)).code == 422


# --- merge patch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "patch", "expected"),  # RFC 7386, appendix A, as far as objects go
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}), ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}), ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)  # fmt: skip
def test_merge_patch_follows_the_rfc(current: Object, patch: Object, expected: Object) -> None:
    before = copy.deepcopy(current)
    assert merge(current, patch) == expected
    assert current == before


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_DOCUMENT = st.dictionaries(st.sampled_from("abc"), _JSON, max_size=3)


def difference(before: Object, after: Object) -> Object:
    """The merge patch that leads from one document to the other."""
    patch: Object = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        if type(before.get(key)) is dict and type(value) is dict:
            patch[key] = difference(before[key], value)
        elif before.get(key) != value or type(before.get(key)) is not type(value):
            patch[key] = value
    return patch


@settings(max_examples=200, deadline=None)
@given(_DOCUMENT, _DOCUMENT)
def test_a_difference_leads_from_one_document_to_the_other(before: Object, after: Object) -> None:
    assert merge(before, difference(before, after)) == after
    assert merge(after, {}) == after


# --- strategic merge patch -----------------------------------------------------------------------------------------------


def test_lists_merge_by_their_key() -> None:
    current = pod({"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1", "env": [{"name": "X", "value": "1"}]})
    patch = pod({"name": "b", "image": "b:2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c", "image": "c:1"})
    assert strategic(current, patch) == pod(
        {"name": "a", "image": "a:1"},
        {"name": "b", "image": "b:2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
        {"name": "c", "image": "c:1"},
    )


def test_lists_without_a_strategy_are_replaced() -> None:
    current = pod({"name": "a", "args": ["x", "y"]}, tolerations=[{"key": "k"}])
    assert strategic(current, pod({"name": "a", "args": ["z"]}, tolerations=[{"key": "m"}])) == pod(
        {"name": "a", "args": ["z"]}, tolerations=[{"key": "m"}]
    )


def test_maps_merge_and_null_removes() -> None:
    current: Object = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "pi"}}
    patch = {
        "metadata": {"labels": {"a": None, "c": "3"}, "annotations": {"x": None}},
        "spec": {"nodeName": None, "hostname": None},
    }
    assert strategic(current, patch) == {"metadata": {"labels": {"b": "2", "c": "3"}, "annotations": {}}, "spec": {}}


def test_patch_delete_and_replace() -> None:
    current = pod({"name": "a"}, {"name": "b"}, nodeSelector={"x": "1", "y": "2"})
    assert strategic(current, pod({"name": "a", "$patch": "delete"})) == pod({"name": "b"}, nodeSelector={"x": "1", "y": "2"})
    assert strategic(current, pod({"$patch": "replace"}, {"name": "z"})) == pod({"name": "z"}, nodeSelector={"x": "1", "y": "2"})
    assert strategic(current, {"spec": {"nodeSelector": {"$patch": "replace", "z": "3"}}})["spec"]["nodeSelector"] == {"z": "3"}
    assert strategic(current, {"spec": {"nodeSelector": {"$patch": "delete"}}})["spec"]["nodeSelector"] == {}
    assert strategic(pod(), {"spec": {"nodeSelector": {"$patch": "replace", "z": "3"}}}) == pod(), "there was none to replace"


def test_primitive_lists_with_merge_strategy() -> None:
    current: Object = {"metadata": {"finalizers": ["a", "b", "c"]}}
    assert strategic(current, {"metadata": {"finalizers": ["d", "b"]}})["metadata"]["finalizers"] == ["d", "a", "b", "c"]
    assert strategic(current, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b", "x"]}})["metadata"]["finalizers"] == [
        "a",
        "c",
    ]
    for_nothing: list[Object] = [
        {"$deleteFromPrimitiveList/finalizers": "a"},
        {"$deleteFromPrimitiveList/ownerReferences": ["a"]},
    ]
    for metadata in for_nothing:
        assert strategic(current, {"metadata": metadata}) == current
    ordered = {
        "metadata": {
            "$setElementOrder/finalizers": ["d", "c", "a"],
            "$deleteFromPrimitiveList/finalizers": ["b"],
            "finalizers": ["d"],
        }
    }
    assert strategic(current, ordered)["metadata"]["finalizers"] == ["d", "c", "a"]


def test_set_element_order_as_kubectl_sends_it() -> None:
    current = pod({"name": "a"}, {"name": "injected"}, {"name": "b", "image": "b:1"})
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
            "containers": [{"name": "b", "image": "b:2"}, {"name": "c"}],
        }
    }
    assert [container["name"] for container in strategic(current, patch)["spec"]["containers"]] == ["injected", "b", "a", "c"]
    only_order = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert [container["name"] for container in strategic(current, only_order)["spec"]["containers"]] == ["injected", "b", "a"]
    fresh = {"spec": {"$setElementOrder/volumes": [{"name": "v"}], "volumes": [{"name": "v", "emptyDir": {}}]}}
    assert strategic(current, fresh)["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_retain_keys_turns_one_member_of_a_union_into_another() -> None:
    current: Object = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch: Object = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": None}}}
    assert strategic(current, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}
    volumes = pod(volumes=[{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}])
    patch = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}}
    assert strategic(volumes, patch)["spec"]["volumes"] == [
        {"name": "v", "configMap": {"name": "c"}},
        {"name": "w", "emptyDir": {}},
    ]


def test_service_ports_merge_by_port_and_claims_of_directives_do_not_stay() -> None:
    current: Object = {"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}
    patch = {"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443, "$patch": "delete"}]}}
    assert strategic(current, patch, SERVICE) == {"spec": {"ports": [{"port": 80, "nodePort": 30080, "name": "http"}]}}
    assert strategic({}, patch, SERVICE) == {"spec": {"ports": [{"port": 80, "name": "http"}]}}


def test_a_scale_patches_as_a_scale() -> None:
    scale: Object = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 1}}
    assert apply_patch(DEPLOYMENT, scale, STRATEGIC_MERGE_PATCH, b'{"spec":{"replicas":3}}')["spec"] == {"replicas": 3}


def test_lists_of_lists_are_invalid() -> None:
    current = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, **pod(["a"])}
    error = failed(POD, current, STRATEGIC_MERGE_PATCH, orjson.dumps(pod(["b"])))
    assert (error.code, error.message) == (422, "the server rejected our request due to an error in our request")


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        (pod({"image": "x"}), 500, "map: map[image:x] does not contain declared merge key: name"),
        (pod({"name": "a", "$patch": "explode"}), 500, "unknown patch type: explode in map: map[$patch:explode name:a]"),
        (pod({"name": "a", "$patch": "merge"}), 500, "merging lists cannot yet be specified in the patch"),
        ({"spec": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": [], "nodeName": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$setElementOrder/containers": "x"}}, 500, "expected a []interface {}, but received a string"),
        ({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}}, 500,
         "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n"),
        (pod("a"), 500, "list element types are not identical: [[map[name:a]] [a]]"),
        ({"spec": {"$patch": "explode"}}, 500, "unknown patch type: explode in map: map[$patch:explode]"),
        ({"spec": {"$patch": "merge"}}, 500, "unknown patch type: merge in map: map[$patch:merge]"),
    ],
)  # fmt: skip
def test_senseless_strategic_patches_are_refused_as_upstream_does(patch: Object, code: int, message: str) -> None:
    """What its code did not foresee is 500 without a reason."""
    error = failed(
        POD, {"apiVersion": "v1", "kind": "Pod", "metadata": {}, **pod({"name": "a"})}, STRATEGIC_MERGE_PATCH, orjson.dumps(patch)
    )
    assert (error.code, error.reason, error.message) == (code, "BadRequest" if code == 400 else "", message)


_NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=5)


@settings(max_examples=200, deadline=None)
@given(_NAMES, _NAMES, st.sets(st.sampled_from("abcdef")))
def test_merged_lists_hold_the_union_in_the_patchs_order(held: list[str], sent: list[str], gone: set[str]) -> None:
    changes: list[Object] = [{"name": name, "image": "new"} for name in sent if name not in gone]
    deletions: list[Object] = [{"name": name, "$patch": "delete"} for name in sorted(gone)]
    result = strategic(pod(*({"name": name, "image": "old"} for name in held)), pod(*changes, *deletions))["spec"]["containers"]
    names = [container["name"] for container in result]
    kept = [name for name in sent if name not in gone]
    assert sorted(names) == sorted((set(held) | set(sent)) - gone)
    assert [name for name in names if name in kept] == kept
    untouched = [name for name in held if name not in gone and name not in sent]
    assert [name for name in names if name in untouched] == untouched
    assert all(container["image"] == ("new" if container["name"] in kept else "old") for container in result)


@settings(max_examples=200, deadline=None)
@given(_DOCUMENT)
def test_any_patch_of_a_pod_is_applied_or_refused(patch: Object) -> None:
    body = orjson.dumps({"spec": patch, "metadata": {"labels": patch}, **patch})
    current = full_pod()
    try:
        result = apply_patch(POD, current, STRATEGIC_MERGE_PATCH, body)
    except StatusError as error:
        assert error.code == 400
    else:
        assert apply_patch(POD, result, STRATEGIC_MERGE_PATCH, body) == result
    assert current == full_pod()


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_patches_cannot_nest_without_end() -> None:
    deepest = nested(limits.BODY_DEPTH_MAX)
    currents: list[Object] = [nested(limits.BODY_DEPTH_MAX), {}]
    for patch_type in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        for current in currents:
            result = apply_patch(POD, {"apiVersion": "v1", "kind": "Pod", **current}, patch_type, orjson.dumps(deepest))
            assert result["a"] == deepest["a"] and orjson.dumps(result)
    grown = [{"op": "add", "path": "/a" * limits.BODY_DEPTH_MAX, "value": nested(100)}]
    assert failed(POD, deepest, JSON_PATCH, orjson.dumps(grown)).code == 422
    into_itself = [{"op": "copy", "from": "/a", "path": "/a/a"}] * 10_000
    assert failed(POD, nested(3), JSON_PATCH, orjson.dumps(into_itself)).code == 422


def test_long_lists_merge_in_reasonable_time() -> None:
    """Every item is looked up, none is searched for: 20,000 against 20,000 would otherwise hold the server for a minute."""
    held = [{"type": f"t{i}", "status": "True"} for i in range(20_000)]
    changes: list[Object] = [{"type": f"t{i}", "$patch": "delete"} for i in range(0, 20_000, 2)]
    changes += [{"type": f"t{i}", "status": "False"} for i in range(1, 20_000, 2)]
    result = strategic({"status": {"conditions": held}}, {"status": {"conditions": changes}})["status"]["conditions"]
    assert len(result) == 10_000 and all(condition["status"] == "False" for condition in result)
