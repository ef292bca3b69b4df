"""JSON patches of which no object is left."""

from __future__ import annotations

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.json_patch import Fault, applied, patched
from edgekube.api.objects import Object


@pytest.mark.parametrize("value", [None, 5, "text"])
def test_a_document_that_becomes_a_scalar_is_refused(value: object) -> None:
    with pytest.raises(StatusError) as refused:
        patched({"a": 1}, [{"op": "add", "path": "", "value": value}])
    assert refused.value.code == 422


def test_a_member_that_is_not_there_is_replaced_in_an_object_that_is() -> None:
    """As kube-apiserver's library does it, whatever RFC 6902 says; external-snapshotter counts on it."""
    assert patched({"spec": {}}, [{"op": "replace", "path": "/status", "value": {"a~/": 1}}]) == {
        "spec": {},
        "status": {"a~/": 1},
    }
    for path in ("/status/ready", "/list/1", "/list/x"):
        with pytest.raises(Fault, match=f"replace operation does not apply: doc is missing (path|key): {path}: missing value"):
            applied({"list": [0]}, [{"op": "replace", "path": path, "value": 1}])


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/list/-1", "value": 9}, {"list": [1, 2, 9], "none": None}),
        ({"op": "add", "path": "/list/-2", "value": 9}, {"list": [1, 9, 2], "none": None}),
        ({"op": "remove", "path": "/list/-1"}, {"list": [1], "none": None}),
        ({"op": "replace", "path": "/list/01", "value": 9}, {"list": [1, 9], "none": None}),
        ({"op": "test", "path": "/there", "value": None}, {"list": [1, 2], "none": None}),
        ({"op": "test", "path": "/none"}, {"list": [1, 2], "none": None}),
        ({"op": "copy", "from": "/there", "path": "/here"}, {"list": [1, 2], "none": None, "here": None}),
        ({"op": "add", "path": "/here"}, {"list": [1, 2], "none": None, "here": None}),
        ({"op": "replace", "path": "any/list", "value": []}, {"list": [], "none": None}),
        ({"op": "replace", "path": "", "value": {"a": 1}}, {"a": 1}),
        ({"op": "move", "from": "/list", "path": "/a~1b~01"}, {"a/b~1": [1, 2], "none": None}),
    ],
)
def test_what_kube_apiservers_library_lets_pass(operation: Object, expected: Object) -> None:
    assert patched({"list": [1, 2], "none": None}, [operation]) == expected


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "bogus", "path": "/a"}, "Unexpected kind: bogus"),
        ({"op": 5, "path": "/a"}, "Unexpected kind: unknown"),
        ({"op": "add", "value": 1}, "add operation failed to decode path: missing value"),
        ({"op": "add", "path": "a", "value": 1}, 'add operation does not apply: doc is missing path: "a": missing value'),
        ({"op": "add", "path": "/none/a", "value": 1},
         'add operation does not apply: doc is missing path: "/none/a": missing value'),
        ({"op": "add", "path": "/list/x", "value": 1},
         "error in add for path: '/list/x': "
         "value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"op": "add", "path": "/list/4", "value": 1},
         "error in add for path: '/list/4': Unable to access invalid index: 4: invalid index referenced"),
        ({"op": "remove", "path": "/b"}, "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value"),
        ({"op": "remove", "path": "/list/2"},
         "error in remove for path: '/list/2': Unable to access invalid index: 2: invalid index referenced"),
        ({"op": "move", "from": "/b", "path": "/c"},
         "error in move for path: 'b': Unable to remove nonexistent key: b: missing value"),
        ({"op": "move", "path": "/c"}, "move operation failed to decode from: missing value"),
        ({"op": "copy", "from": "/b/c", "path": "/c"},
         "copy operation does not apply: doc is missing from path: /b/c: missing value"),
        ({"op": "copy", "from": "/b", "path": "/c/d"},
         "copy operation does not apply: doc is missing destination path: /c/d: missing value"),
        ({"op": "test", "path": "/list/0", "value": True}, "testing value /list/0 failed: test failed"),
        ({"op": "test", "path": "/a/b", "value": 1}, "test operation does not apply: is missing path: /a/b: missing value"),
    ],
)  # fmt: skip
def test_why_an_operation_does_not_apply(operation: Object, why: str) -> None:
    """Webhooks' and policies' patches are answered with it; clients hear nothing of it."""
    with pytest.raises(Fault) as fault:
        applied({"list": [1, 2], "none": None}, [operation])
    assert str(fault.value) == why
    with pytest.raises(StatusError) as refused:
        patched({"list": [1, 2], "none": None}, [operation])
    assert (refused.value.code, refused.value.message) == (422, "the server rejected our request due to an error in our request")
