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
from edgekube.api import merge_patch, schemas
from edgekube.api.decode import JSON_TYPE, Repeated, decode_json_value, duplicate_fields, kind_of_json, media_type
from edgekube.api.errors import StatusError, bad_request, unsupported_media_type
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

_OPERATION: Final = frozenset({"op", "path", "from", "value"})
_BUILT_IN_TYPES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)


def accepted_types(kind: Kind) -> tuple[str, ...]:
    """Media types that a PATCH of the kind takes. Custom kinds have no merge keys, so no strategic merge."""
    return (JSON_PATCH, MERGE_PATCH, APPLY_PATCH) if kind.custom else _BUILT_IN_TYPES


def _object_patch(body: bytes) -> Object:
    patch = _decoded(body)
    if type(patch) is not dict:
        what = kind_of_json(patch)
        raise bad_request(f"error decoding patch: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}")
    return patch


def read_patch(patch_type: str, body: bytes) -> tuple[Any, Repeated]:
    """The decoded patch, and what ``fieldValidation`` says of its own text. StatusError BadRequest when it is none."""
    if media_type(patch_type) != JSON_PATCH:
        patch = _object_patch(body)
        return patch, duplicate_fields(body, JSON_TYPE, patch)
    operations = _decoded(body)
    if type(operations) is not list:
        what = kind_of_json(operations)
        raise bad_request(f"error decoding patch: json: cannot unmarshal {what} into Go value of type []handlers.jsonPatchOp")
    found = [
        f'json patch unknown field "[{index}].{key}"'
        for index, operation in enumerate(operations[: limits.JSON_PATCH_OPERATIONS_MAX])
        if type(operation) is dict
        for key in operation.keys() - _OPERATION
    ]
    twice = [f"json patch {message}" for message in duplicate_fields(body, JSON_TYPE, operations)]
    return operations, Repeated([*found, *twice][: limits.STRICT_MESSAGES_MAX])


def shown(patch_type: str, body: bytes) -> str:
    """A strategic merge patch as a refusal shows it; "": it shows the object that the patch made."""
    return go_text(_decoded(body)) if media_type(patch_type) == STRATEGIC_MERGE_PATCH else ""


def go_text(value: object) -> str:
    """A decoded value as Go's %v writes it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case dict():
            return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
        case list():
            return "[" + " ".join(map(go_text, value)) + "]"
    return str(value)


def _decoded(body: bytes) -> object:
    try:
        return decode_json_value(body)
    except StatusError as error:
        why = error.message.partition("json parse error: ")[2] or "unexpected end of JSON input"
        raise bad_request(f"error decoding patch: {why}") from None


def apply_patch(kind: Kind, current: Object, patch_type: str, body: bytes) -> Object:
    """The patched object. Its type is the one that it says it has, so that a Deployment's Scale patches as a Scale."""
    return apply_patch_onto(kind, orjson.loads(orjson.dumps(current)), patch_type, body)


def apply_patch_onto(kind: Kind, current: Object, patch_type: str, body: bytes, decoded: Any = None) -> Object:
    """As apply_patch, but the result is made of ``current`` itself: nobody may use that afterwards, least of all after an error.
    ``decoded``: what read_patch made of the body, if nothing else was made of it."""
    type_ = media_type(patch_type)
    if type_ not in accepted_types(kind):
        raise unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted_types(kind))
        )
    if type_ == JSON_PATCH:
        from edgekube.api import json_patch

        return json_patch.patched(current, _decoded(body) if decoded is None else decoded)
    patch = _object_patch(body) if decoded is None else decoded
    if type_ == MERGE_PATCH:
        result: Object = merge_patch.merged(current, patch)
        return result
    from edgekube.api import json_patch, strategic_merge

    name = schemas.name_of(str(current.get("apiVersion")), str(current.get("kind")))
    node = schemas.definition(name) if name is not None else schemas.definition_of(kind)
    try:
        return strategic_merge.merged(current, patch, node)
    except ValueError as error:
        if str(error) == strategic_merge.LIST_OF_LISTS:
            raise StatusError("Invalid", f"{json_patch.REJECTED}{error}") from None
        raise bad_request(str(error)) from None
