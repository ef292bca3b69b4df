"""JSON patch, as kube-apiserver's library has it, with its bounds and its errors.

Enters: a document that is ours to change, and decoded operations.
Leaves: the patched document; Fault for an operation that does not apply, StatusError 400 for what is no operation, 413 for too
many.
Holds: where the library differs from RFC 6902 (a member that is not there can be replaced and copied, an index may count from
the end, a number is not equal to one that is written otherwise), it is the library that clients have met.
Bound: limits.JSON_PATCH_OPERATIONS_MAX; limits.BODY_DEPTH_MAX of the result; copies may add limits.REQUEST_BODY_BYTES_MAX in
total, or they could double without end.
Source: RFC 6902; gopkg.in/evanphx/json-patch.v4.
Next: api.patch.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from edgekube import limits
from edgekube.api.decode import is_too_deep, kind_of_json
from edgekube.api.errors import bad_request, entity_too_large, rejected
from edgekube.api.objects import Object

_INDEX: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_MISSING: Final = "missing value"
_NO_INDEX: Final = "invalid index referenced"


class Fault(Exception):
    """An operation does not apply."""


class TestFailed(Fault):
    """An operation ``test`` found another value."""


def patched(document: Object, operations: Any) -> Object:
    """As ``applied``, for a client's patch: it is told that it was wrong, not where, as upstream answers."""
    try:
        return applied(document, operations)
    except Fault:
        raise rejected() from None


def applied(document: Object, operations: Any) -> Object:
    if type(operations) is not list:
        raise bad_request(f"json: cannot unmarshal {kind_of_json(operations)} into Go value of type jsonpatch.Patch")
    for operation in operations:
        if type(operation) is not dict and operation is not None:
            raise bad_request(f"json: cannot unmarshal {kind_of_json(operation)} into Go value of type jsonpatch.Operation")
    if len(operations) > limits.JSON_PATCH_OPERATIONS_MAX:
        raise entity_too_large(
            f"The allowed maximum operations in a JSON patch is {limits.JSON_PATCH_OPERATIONS_MAX}, got {len(operations)}"
        )
    steps = _Steps(document)
    for operation in operations:
        steps.take(operation or {})
    if type(steps.document) is not dict:
        raise Fault(f"the patched document is no object but {kind_of_json(steps.document)}")
    if is_too_deep(steps.document):
        raise Fault(f"the patched document exceeds max depth of {limits.BODY_DEPTH_MAX}")
    return steps.document


class _Steps:
    """The document between one operation and the next."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self._copied_bytes = 0

    def take(self, operation: Object) -> None:
        name = operation.get("op")
        match name:
            case "add":
                self._add(name, self._path(name, operation), operation.get("value"))
            case "remove":
                path = self._path(name, operation)
                _remove(*self._found(name, path, f'doc is missing path: "{path}"'), f"error in remove for path: '{path}'")
            case "replace":
                self._replace(self._path(name, operation), operation.get("value"))
            case "move":
                self._move(operation)
            case "test":
                self._test(self._path(name, operation), operation.get("value"))
            case "copy":
                self._copy(operation)
            case _:
                raise Fault(f"Unexpected kind: {name if isinstance(name, str) else 'unknown'}")

    @staticmethod
    def _path(name: str, operation: Object, member: str = "path") -> str:
        path = operation.get(member)
        if not isinstance(path, str):
            raise Fault(f"{name} operation failed to decode {member}: {_MISSING}")
        return path

    def _found(self, name: str, path: str, lacking: str) -> tuple[Any, str]:
        """The object or list that holds what the path names, and its key there."""
        _, *parts = path.split("/")  # what stands before the first slash is not looked at
        holder = self.document
        for part in parts[:-1]:
            holder = _get(holder, _decoded(part))
            if not isinstance(holder, dict | list):
                break
        if not parts or not isinstance(holder, dict | list):
            raise Fault(f"{name} operation does not apply: {lacking}: {_MISSING}")
        return holder, _decoded(parts[-1])

    def _add(self, name: str, path: str, value: Any) -> None:
        lacking = f'doc is missing path: "{path}"' if name == "add" else f"doc is missing destination path: {path}"
        _insert(*self._found(name, path, lacking), value, f"error in {'add' if name == 'copy' else name} for path: '{path}'")

    def _replace(self, path: str, value: Any) -> None:
        if not path:
            if not isinstance(value, dict | list):
                raise Fault("replace operation value must be object or array")
            self.document = value
            return
        holder, key = self._found("replace", path, f"doc is missing path: {path}")
        if isinstance(holder, list):
            holder[_index(holder, key, f"replace operation does not apply: doc is missing key: {path}", _MISSING)] = value
        else:
            holder[key] = value

    def _move(self, operation: Object) -> None:
        source = self._path("move", operation, "from")
        holder, key = self._found("move", source, f"doc is missing from path: {source}")
        where = f"error in move for path: '{key}'"
        value = holder[_index(holder, key, where)] if isinstance(holder, list) else holder.get(key)
        _remove(holder, key, where)
        self._add("move", self._path("move", operation), value)

    def _test(self, path: str, value: Any) -> None:
        if not path:
            found = self.document
        else:
            holder, key = self._found("test", path, f"is missing path: {path}")
            where = f"error in test for path: '{path}'"
            found = holder[_index(holder, key, where)] if isinstance(holder, list) else holder.get(key)
        if not _equal(found, value):
            raise TestFailed(f"testing value {path} failed: test failed")

    def _copy(self, operation: Object) -> None:
        source = self._path("copy", operation, "from")
        holder, key = self._found("copy", source, f"doc is missing from path: {source}")
        where = f"error in copy for from: '{source}'"
        value = holder[_index(holder, key, where)] if isinstance(holder, list) else holder.get(key)
        path = self._path("copy", operation)
        try:
            written = orjson.dumps(value)
        except TypeError:  # it was copied into itself, again and again
            raise Fault(f"the patched document exceeds max depth of {limits.BODY_DEPTH_MAX}") from None
        self._copied_bytes += len(written)
        if self._copied_bytes > limits.REQUEST_BODY_BYTES_MAX:
            raise Fault(
                f"Unable to complete the copy, the accumulated size increase of copy is {self._copied_bytes}, "
                f"exceeding the limit {limits.REQUEST_BODY_BYTES_MAX}"
            )
        self._add("copy", path, orjson.loads(written))


def _decoded(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _index(holder: list[Any], key: str, where: str, why: str = "") -> int:
    """The place of an item that is there; Fault."""
    if not _INDEX.fullmatch(key):
        raise Fault(f"{where}: {why or _no_number(key)}")
    index = int(key)
    if not -len(holder) <= index < len(holder):
        raise Fault(f"{where}: {why or f'Unable to access invalid index: {index}: {_NO_INDEX}'}")
    return index % len(holder)


def _no_number(key: str) -> str:
    return f'strconv.Atoi: parsing "{key}": invalid syntax'


def _get(holder: Any, key: str) -> Any:
    if isinstance(holder, list):
        if not _INDEX.fullmatch(key) or not -len(holder) <= int(key) < len(holder):
            return None
        return holder[int(key)]
    return holder.get(key)


def _insert(holder: Any, key: str, value: Any, where: str) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    elif not _INDEX.fullmatch(key):
        raise Fault(f"{where}: value was not a proper array index: '{key}': {_no_number(key)}")
    elif not -len(holder) - 1 <= int(key) <= len(holder):
        raise Fault(f"{where}: Unable to access invalid index: {int(key)}: {_NO_INDEX}")
    else:
        holder.insert(int(key) % (len(holder) + 1), value)


def _remove(holder: Any, key: str, where: str) -> None:
    if isinstance(holder, list):
        del holder[_index(holder, key, where)]
    elif key in holder:
        del holder[key]
    else:
        raise Fault(f"{where}: Unable to remove nonexistent key: {key}: {_MISSING}")


def _equal(one: Any, other: Any) -> bool:
    """True is not 1, and 1 is not 1.0."""
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if type(left) is dict:
            if left.keys() != right.keys():
                return False
            pairs += [(value, right[key]) for key, value in left.items()]
        elif type(left) is list:
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif left != right:
            return False
    return True
