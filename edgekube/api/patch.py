"""Apply a patch request to an object.

Enters: the kind, the current object, the patch's media type and its body.
Leaves: the patched object; the current one is never touched, but by apply_patch_onto. StatusError 400, 413, 415 or 422 as
upstream answers.
Holds: nothing of the result is checked against the schema; strict.check does that next.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply.
Next: registry.patch.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from edgekube import limits
from edgekube.api import go_text, merge_patch, schemas, strategic_merge
from edgekube.api.decode import JSON_TYPE, Repeated, decode_json_value, duplicate_fields, kind_of_json, media_type
from edgekube.api.errors import StatusError, bad_request, failed, rejected, unsupported_media_type
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

_OPERATION: Final = frozenset({"op", "path", "from", "value"})
_BUILT_IN_TYPES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)


_PREFIX: Final = "error decoding patch: "


def accepted_types(kind: Kind) -> tuple[str, ...]:
    """Media types that a PATCH of the kind takes. Custom kinds have no merge keys, so no strategic merge."""
    return (JSON_PATCH, MERGE_PATCH, APPLY_PATCH) if kind.custom else _BUILT_IN_TYPES


def unknown_type(kind: Kind) -> StatusError:
    """A built-in kind's patch is refused by upstream's router, which names no alternatives."""
    if not kind.custom:
        return unsupported_media_type("415: Unsupported Media Type")
    accepted = ", ".join(accepted_types(kind))
    return unsupported_media_type(f"the body of the request was in an unknown format - accepted media types include: {accepted}")


def _object_patch(body: bytes, prefix: str) -> Object:
    """``prefix``: what upstream says before the fault."""
    patch = _decoded(body, prefix)
    if patch is None:
        return {}
    if type(patch) is not dict:
        what = kind_of_json(patch)
        raise bad_request(f"{prefix}json: cannot unmarshal {what} into Go value of type map[string]interface {{}}")
    return patch


def read_patch(patch_type: str, body: bytes) -> tuple[Any, Repeated]:
    """The decoded patch, and what ``fieldValidation`` says of its own text. StatusError BadRequest when it is none."""
    if media_type(patch_type) != JSON_PATCH:
        if media_type(patch_type) == MERGE_PATCH and body.strip() == b"null":
            raise bad_request("Invalid JSON Patch")
        patch = _object_patch(body, "" if media_type(patch_type) == STRATEGIC_MERGE_PATCH else _PREFIX)
        return patch, duplicate_fields(body, JSON_TYPE, patch)
    operations: Any = _decoded(body, _PREFIX)
    if operations is None:
        return [], Repeated()
    _check_operations(operations)
    found = [
        f'json patch unknown field "[{index}].{key}"'
        for index, operation in enumerate(operations[: limits.JSON_PATCH_OPERATIONS_MAX])
        if type(operation) is dict
        for key in operation.keys() - _OPERATION
    ]
    twice = [f"json patch {message}" for message in duplicate_fields(body, JSON_TYPE, operations)]
    return operations, Repeated([*found, *twice][: limits.STRICT_MESSAGES_MAX])


def _merge_patch(body: bytes) -> Object:
    """Where nobody looked at its fields, upstream does not say what is wrong with it either."""
    try:
        patch = decode_json_value(body)
    except StatusError:
        patch = None
    if type(patch) is not dict:
        raise bad_request("Invalid JSON Patch")
    return patch


def _check_operations(operations: Any) -> None:
    cannot = f"{_PREFIX}json: cannot unmarshal"
    if type(operations) is not list:
        raise bad_request(f"{cannot} {kind_of_json(operations)} into Go value of type []handlers.jsonPatchOp")
    for operation in operations:
        if operation is None:
            continue
        if type(operation) is not dict:
            raise bad_request(f"{cannot} {kind_of_json(operation)} into Go value of type handlers.jsonPatchOp")
        for key in ("op", "path", "from"):
            if not isinstance(operation.get(key, ""), str | None):
                what = kind_of_json(operation[key])
                raise bad_request(f"{cannot} {what} into Go struct field jsonPatchOp.{key} of type string")


def shown(patch_type: str, body: bytes) -> str:
    """A strategic merge patch as a refusal shows it; "": it shows the object that the patch made."""
    return go_text.plain(_decoded(body, "")) if media_type(patch_type) == STRATEGIC_MERGE_PATCH else ""


def _decoded(body: bytes, prefix: str) -> object:
    try:
        return decode_json_value(body)
    except StatusError as error:
        why = error.message.partition("json parse error: ")[2] or "unexpected end of JSON input"
        raise bad_request(f"{prefix}{why}") from None


def apply_patch(kind: Kind, current: Object, patch_type: str, body: bytes) -> Object:
    """The patched object. Its type is the one that it says it has, so that a Deployment's Scale patches as a Scale."""
    return apply_patch_onto(kind, orjson.loads(orjson.dumps(current)), patch_type, body)


def apply_patch_onto(kind: Kind, current: Object, patch_type: str, body: bytes, decoded: Any = None) -> Object:
    """As apply_patch, but the result is made of ``current`` itself: nobody may use that afterwards, least of all after an error.
    ``decoded``: what read_patch made of the body, if nothing else was made of it."""
    type_ = media_type(patch_type)
    if type_ not in accepted_types(kind):
        raise unknown_type(kind)
    if type_ == JSON_PATCH:
        from edgekube.api import json_patch

        return json_patch.patched(current, _decoded(body, "") if decoded is None else decoded)
    if type_ == MERGE_PATCH and decoded is None:
        decoded = _merge_patch(body)
    patch = _object_patch(body, "") if decoded is None else decoded
    if type_ == MERGE_PATCH:
        result: Object = merge_patch.merged(current, patch)
        return result
    name = schemas.name_of(str(current.get("apiVersion")), str(current.get("kind")))
    node = schemas.definition(name) if name is not None else schemas.definition_of(kind)
    try:
        return strategic_merge.merged(current, patch, node)
    except ValueError as error:
        if str(error) == strategic_merge.LIST_OF_LISTS:
            raise rejected() from None
        if str(error) in strategic_merge.BAD_FORMATS:
            raise bad_request(str(error)) from None
        raise failed(str(error)) from None
