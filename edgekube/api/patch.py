"""Apply a patch request to an object.

Enters: the kind, the current object, the patch's media type and its body.
Leaves: a new object; the current one is never touched. StatusError 400, 413, 415 or 422 as upstream answers.
Holds: nothing of the result is checked against the schema; strict.check does that next.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply.
Next: registry.patch.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.api import merge_patch, schemas
from edgekube.api.decode import decode_json_value, kind_of_json, media_type
from edgekube.api.errors import StatusError, bad_request, unsupported_media_type
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

APPLY_PATCH: Final = "application/apply-patch+yaml"


def accepted_types(kind: Kind) -> tuple[str, ...]:
    """Media types that a PATCH of the kind takes. Custom kinds have no merge keys, so no strategic merge."""
    return (JSON_PATCH, MERGE_PATCH) if kind.custom else (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)


def _copy(obj: Object) -> Object:
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied


def _object_patch(body: bytes) -> Object:
    patch = _decoded(body)
    if type(patch) is not dict:
        raise bad_request(f"json: cannot unmarshal {kind_of_json(patch)} into Go value of type map[string]interface {{}}")
    return patch


def _decoded(body: bytes) -> object:
    try:
        return decode_json_value(body)
    except StatusError as error:
        why = error.message.partition("json parse error: ")[2] or "unexpected end of JSON input"
        raise bad_request(f"error decoding patch: {why}") from None


def apply_patch(kind: Kind, current: Object, patch_type: str, body: bytes) -> Object:
    """The patched object. Its type is the one that it says it has, so that a Deployment's Scale patches as a Scale."""
    type_ = media_type(patch_type)
    if type_ not in accepted_types(kind):
        raise unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join((*accepted_types(kind), APPLY_PATCH))
        )
    if type_ == JSON_PATCH:
        from edgekube.api import json_patch

        return json_patch.patched(_copy(current), _decoded(body))
    patch = _object_patch(body)
    if type_ == MERGE_PATCH:
        result: Object = merge_patch.merged(_copy(current), patch)
        return result
    from edgekube.api import strategic_merge

    name = schemas.name_of(str(current.get("apiVersion")), str(current.get("kind")))
    node = schemas.definition(name) if name is not None else schemas.definition_of(kind)
    try:
        return strategic_merge.merged(_copy(current), patch, node)
    except ValueError as error:
        raise bad_request(str(error)) from None
