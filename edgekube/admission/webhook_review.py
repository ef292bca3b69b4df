"""AdmissionReview: what a webhook is asked, what it answers, and the Status that its refusal becomes.

Enters: an AdmissionRequest, the kind in whose terms the webhook is asked, the objects in that version; later the answer's bytes.
Leaves: the review as JSON; a Verdict; InvalidAnswer with upstream's words.
Holds: pure (source: admission.k8s.io/v1; k8s.io/apiserver plugin/webhook/request/admissionreview.go, errors/statuserror.go).
Next: registry.webhook_plugin.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import orjson
from msgspec import Struct

from edgekube.admission.request import AdmissionRequest
from edgekube.api.errors import Cause, StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object

VERSIONS: Final = ("v1", "v1beta1")
_GROUP: Final = "admission.k8s.io"
JSON_PATCH: Final = "JSONPatch"


class InvalidAnswer(Exception):
    """The webhook answered something that is no verdict."""


class Refused(StatusError):
    """A webhook said no."""


class Verdict(Struct, frozen=True):
    allowed: bool
    #: The webhook's Status of a refusal.
    result: Object
    #: JSON of a JSON patch; b"" without one.
    patch: bytes
    patch_type: str
    warnings: tuple[str, ...]
    annotations: dict[str, str]


def version_for(accepted: Sequence[str]) -> str:
    """The first version that both sides know. InvalidAnswer when there is none."""
    found = next((version for version in accepted if version in VERSIONS), None)
    if found is None:
        raise InvalidAnswer("webhook does not accept known AdmissionReview versions (v1, v1beta1)")
    return found


def review(
    request: AdmissionRequest, kind: Kind, obj: Object | None, old: Object | None, *, uid: str, version: str, dry_run: bool
) -> bytes:
    """``kind``: the resource as the webhook's rules name it; the objects are of it, or of the request's body kind."""
    shown = request.body_kind or kind
    user: Object = {"username": request.user.name}
    if request.user.uid:
        user["uid"] = request.user.uid
    if request.user.groups:
        user["groups"] = list(request.user.groups)
    if request.user.extra:
        user["extra"] = {key: list(values) for key, values in request.user.extra.items()}
    asked: Object = {"uid": uid, "kind": _kind(shown), "resource": _resource(kind)}
    if request.subresource:
        asked["subResource"] = request.subresource
    asked["requestKind"] = _kind(request.object_kind)
    asked["requestResource"] = _resource(request.kind)
    if request.subresource:
        asked["requestSubResource"] = request.subresource
    if request.name:
        asked["name"] = request.name
    if request.namespace:
        asked["namespace"] = request.namespace
    asked |= {
        "operation": request.operation,
        "userInfo": user,
        "object": obj,
        "oldObject": old,
        "dryRun": dry_run,
        "options": request.options,
    }
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": asked})


def _kind(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def verdict_of(body: bytes, *, uid: str, version: str, mutating: bool) -> Verdict:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidAnswer(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(answer, dict):
        raise InvalidAnswer("couldn't get version/kind; json parse error: the answer is no object")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise InvalidAnswer("webhook response was absent")
    strict = version == "v1"
    if strict:
        _check_header(answer, response, uid)
    patch, patch_type = _patch_of(response), response.get("patchType")
    if strict and mutating:
        if patch and patch_type is None:
            raise InvalidAnswer("webhook returned response.patch but not response.patchType")
        if not patch and patch_type is not None:
            raise InvalidAnswer("webhook returned response.patchType but not response.patch")
        if patch_type == "":
            raise InvalidAnswer('webhook returned invalid response.patchType of ""')
    if strict and not mutating:
        if patch:
            raise InvalidAnswer("validating webhook may not return response.patch")
        if patch_type is not None:
            raise InvalidAnswer("validating webhook may not return response.patchType")
    if not strict:
        patch_type = JSON_PATCH if patch else None
    result = response.get("status")
    annotations = response.get("auditAnnotations")
    warnings = response.get("warnings")
    return Verdict(
        response.get("allowed") is True,
        result if isinstance(result, dict) else {},
        patch if mutating else b"",
        str(patch_type or ""),
        tuple(text for text in _list(warnings) if isinstance(text, str)),
        {key: value for key, value in annotations.items() if isinstance(value, str)} if isinstance(annotations, dict) else {},
    )


def _check_header(answer: Object, response: Object, uid: str) -> None:
    given = response.get("uid", "")
    if given != uid:
        raise InvalidAnswer(f'expected response.uid="{uid}", got "{given}"')
    group, _, version = str(answer.get("apiVersion") or "").rpartition("/")
    if (group, version, answer.get("kind")) != (_GROUP, "v1", "AdmissionReview"):
        expected = f"{_GROUP}/v1, Kind=AdmissionReview"
        shown = f"{group}/{version}, Kind={answer.get('kind') or ''}"
        raise InvalidAnswer(f"expected webhook response of {expected}, got {shown}")


def _patch_of(response: Object) -> bytes:
    given = response.get("patch")
    if not given:
        return b""
    try:
        return base64.b64decode(str(given), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidAnswer(f"illegal base64 data: {error}") from error


def operations_of(patch: bytes) -> list[Any]:
    """The operations of a JSON patch. InvalidAnswer when it is none."""
    try:
        decoded = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        raise InvalidAnswer(str(error)) from error
    if decoded is None:
        return []
    if not isinstance(decoded, list):
        raise InvalidAnswer("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    return decoded


def refusal(name: str, result: Object) -> Refused:
    """The Status of the client's request when a webhook said no."""
    denied = f'admission webhook "{name}" denied the request'
    message, reason = result.get("message"), result.get("reason")
    if message:
        text = f"{denied}: {message}"
    elif reason:
        text = f"{denied}: {reason}"
    else:
        text = f"{denied} without explanation"
    code = result.get("code")
    details = result.get("details")
    details = details if isinstance(details, dict) else {}
    return Refused(
        str(reason or ""),
        text,
        code=code if type(code) is int and 400 <= code < 600 else 400,
        group=str(details.get("group") or ""),
        kind=str(details.get("kind") or ""),
        name=str(details.get("name") or ""),
        uid=str(details.get("uid") or ""),
        causes=[
            Cause(str(cause.get("reason") or ""), str(cause.get("message") or ""), str(cause.get("field") or ""))
            for cause in _list(details.get("causes"))
            if isinstance(cause, dict)
        ],
        retry_after_seconds=_seconds(details.get("retryAfterSeconds")),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 31 else 0
