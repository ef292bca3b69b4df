"""What a conversion webhook is asked, and what of its answer is believed.

Enters: objects and the version that is wanted; the webhook's answer.
Leaves: a ConversionReview; the converted objects, in the order of those that were sent; ConversionFailed in upstream's words.
Holds: of the metadata a webhook may change labels and annotations and nothing else; kind, name, namespace and uid must stay.
Source: kubernetes.io, "Versions in CustomResourceDefinitions" (webhook conversion); apiextensions apiserver/conversion.
Next: registry.custom.converting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from edgekube.api.objects import Object
from edgekube.api.validation.fields import Findings
from edgekube.api.validation.metadata import check_annotations, check_labels

_KNOWN: Final = ("v1", "v1beta1")
_API: Final = "apiextensions.k8s.io"


class ConversionFailed(Exception):
    """The text is for whoever asked for the object."""


def type_of(obj: Object) -> str:
    """``stable.example.com/v1, Kind=Widget``, as Go prints a GroupVersionKind."""
    return f"{obj.get('apiVersion')}, Kind={obj.get('kind')}"


def review(versions: Sequence[str], objects: Sequence[Object], api_version: str, uid: str) -> bytes:
    """``versions``: the ConversionReviews that the webhook understands, preferred first."""
    version = next((version for version in versions if version in _KNOWN), None)
    if version is None:
        raise ConversionFailed("no supported conversion review versions")
    request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
    return orjson.dumps({"kind": "ConversionReview", "apiVersion": f"{_API}/{version}", "request": request})


def converted(answer: bytes, sent: bytes, objects: Sequence[Object], api_version: str) -> list[Object]:
    """``sent``: the review that ``answer`` answers."""
    asked = orjson.loads(sent)
    who = f"conversion webhook for {type_of(objects[0])}"
    try:
        found = _objects(answer, asked)
    except ValueError as error:
        raise ConversionFailed(f"{who} failed: {error}") from None
    if len(found) != len(objects):
        raise ConversionFailed(f"{who} returned {len(found)} objects, expected {len(objects)}")
    result: list[Object] = []
    for index, (original, new) in enumerate(zip(objects, found, strict=True)):
        try:
            result.append(_accepted(original, new, api_version))
        except _BadMetadata as error:
            raise ConversionFailed(f"{who} returned invalid metadata in object at index {index}: {error}") from None
        except ValueError as error:
            raise ConversionFailed(f"{who} returned invalid converted object at index {index}: {error}") from None
    return result


class _BadMetadata(Exception):
    pass


def _objects(answer: bytes, asked: Object) -> list[Any]:
    try:
        told = orjson.loads(answer)
    except ValueError:
        raise ValueError("the answer is not JSON") from None
    if not isinstance(told, dict):
        raise ValueError("the answer is no object")
    strict = asked["apiVersion"] == f"{_API}/v1"
    if strict and (told.get("apiVersion"), told.get("kind")) != (asked["apiVersion"], "ConversionReview"):
        raise ValueError(f"expected webhook response of {_API}/v1, Kind=ConversionReview, got {type_of(told)}")
    response = told.get("response")
    if not isinstance(response, dict):
        raise ValueError("no response provided")
    wanted = asked["request"]["uid"]
    if strict and response.get("uid") != wanted:
        raise ValueError(f'expected response.uid="{wanted}", got "{response.get("uid") or ""}"')
    outcome = response.get("result")
    status = outcome.get("status") if isinstance(outcome, dict) else ""
    if status != "Success":
        message = outcome.get("message") if isinstance(outcome, dict) else ""
        raise ValueError(str(message) if message else f"response.result.status was '{status or ''}', not 'Success'")
    made = response.get("convertedObjects")
    return made if isinstance(made, list) else []


def _accepted(original: Object, new: Any, api_version: str) -> Object:
    if not isinstance(new, dict) or not isinstance(new.get("kind"), str):
        raise ValueError("Object 'Kind' is missing in the converted object")
    if new.get("apiVersion") != api_version:
        raise ValueError(f"invalid groupVersion (expected {api_version}, received {new.get('apiVersion') or ''})")
    if new["kind"] != original.get("kind"):
        raise ValueError(f"invalid kind (expected {original.get('kind')}, received {new['kind']})")
    told, held = new.get("metadata"), original.get("metadata") or {}
    for key, name in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        was, now = held.get(key) or "", (told.get(key) if isinstance(told, dict) else None) or ""
        if was != now:
            raise ValueError(f"must have the same {name}: {was} != {now}")
    if not isinstance(told, dict):
        raise _BadMetadata("missing metadata in converted object")
    return {**new, "metadata": _restored(held, told)}


def _restored(held: Object, told: Object) -> Object:
    metadata = dict(held)
    for key in ("labels", "annotations"):
        value = told.get(key)
        if value is None:
            metadata.pop(key, None)
            continue
        if not isinstance(value, dict):
            raise _BadMetadata(f"invalid metadata.{key} in converted object")
        for name, text in value.items():
            if not isinstance(text, str):
                raise _BadMetadata(f"metadata.{key}[{name}] must be a string in converted object")
        if value != held.get(key):
            out = Findings()
            check = check_labels if key == "labels" else check_annotations
            check(out, value, f"metadata.{key}")
            if out:
                raise _BadMetadata("; ".join(f"{cause.field}: {cause.message}" for cause in out))
        metadata[key] = value
    return metadata
