"""JSON patch, with the bounds and the errors of kube-apiserver.

Enters: a document that is ours to change, and decoded operations.
Leaves: the patched document; StatusError 413 for too many operations, 422 for one that does not apply or a test that fails.
Bound: limits.JSON_PATCH_OPERATIONS_MAX; limits.BODY_DEPTH_MAX of the result; copies may add limits.REQUEST_BODY_BYTES_MAX in
total, or they could double without end.
Source: RFC 6902.
Next: api.patch.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from edgekube import limits
from edgekube.api.decode import is_too_deep, kind_of_json
from edgekube.api.errors import StatusError, bad_request, entity_too_large
from edgekube.api.objects import Object

REJECTED: Final = "the server rejected our request due to an error in our request: "


class TestFailed(Exception):
    """An operation ``test`` found another value."""


def _rejected(why: str) -> StatusError:
    return StatusError("Invalid", f"{REJECTED}{why}")


def _lacks(parent: Any, name: Any) -> bool:
    return type(parent) is dict and name is not None and name not in parent


def patched(document: Object, operations: Any) -> Object:
    try:
        return applied(document, operations)
    except TestFailed as error:
        raise _rejected(str(error)) from None


def applied(document: Object, operations: Any) -> Object:
    """As ``patched``, but a failed test is TestFailed: to some it is an error, to others an answer."""
    import jsonpatch  # 1 MB that most runs never need
    import jsonpointer

    if type(operations) is not list:
        raise bad_request(f"json: cannot unmarshal {kind_of_json(operations)} into Go value of type jsonpatch.Patch")
    if len(operations) > limits.JSON_PATCH_OPERATIONS_MAX:
        raise entity_too_large(
            f"The allowed maximum operations in a JSON patch is {limits.JSON_PATCH_OPERATIONS_MAX}, got {len(operations)}"
        )
    copied_bytes = 0
    result: Any = document
    for operation in operations:
        if type(operation) is not dict:
            raise bad_request(f"json: cannot unmarshal {kind_of_json(operation)} into Go value of type jsonpatch.Operation")
        try:
            if operation.get("op") == "copy":
                copied = jsonpointer.resolve_pointer(result, operation.get("from") or "")
                copied_bytes += len(orjson.dumps(copied))
                if copied_bytes > limits.REQUEST_BODY_BYTES_MAX:
                    raise _rejected(
                        f"Unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, "
                        f"exceeding the limit {limits.REQUEST_BODY_BYTES_MAX}"
                    )
            # As kube-apiserver's library has it: snapshotters replace a status that is not there yet.
            adds = operation.get("op") == "replace" and _lacks(
                *jsonpointer.JsonPointer(operation.get("path") or "").to_last(result)
            )
            step = {**operation, "op": "add"} if adds else operation
            result = jsonpatch.JsonPatch([step]).apply(result, in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise TestFailed(f"testing value {operation.get('path')} failed: {error}") from None
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
            where = f"{operation.get('op')} operation does not apply at {operation.get('path')}"
            raise _rejected(f"{where}: {error}") from None
        except (TypeError, KeyError, IndexError, ValueError, AttributeError, RecursionError) as error:
            # The library does not guard against every malformed operation (a number as a path, a step into a string).
            raise _rejected(f"{operation.get('op')} operation is malformed: {error}") from None
    if type(result) is not dict:
        raise _rejected(f"the patched document is no object but {kind_of_json(result)}")
    if is_too_deep(result):
        raise _rejected(f"the patched document exceeds max depth of {limits.BODY_DEPTH_MAX}")
    return result
