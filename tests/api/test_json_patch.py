"""JSON patches of which no object is left."""

from __future__ import annotations

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.json_patch import patched


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
        with pytest.raises(StatusError) as refused:
            patched({"list": [0]}, [{"op": "replace", "path": path, "value": 1}])
        assert refused.value.code == 422 and "replace operation" in refused.value.message
