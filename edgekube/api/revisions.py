"""ControllerRevisions: the templates that a DaemonSet or StatefulSet had, numbered, so that one can go back to them.

Enters: an owner with its spec.template, and its ControllerRevisions.
Leaves: new revisions, and patches of their numbers.
Holds: a revision's data never changes; it is a patch that puts its template back, which is what kubectl rollout undo sends. The
highest number is the template of now.
Source: k8s.io/kubernetes pkg/controller/history, daemon/update.go, statefulset/stateful_set_utils.go.
Next: controllers.daemonset, controllers.statefulset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from edgekube.api import times
from edgekube.api.calls import Call, Delete, Patch
from edgekube.api.kinds import CONTROLLERREVISION, Kind
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from edgekube.api.ownership import controller_reference
from edgekube.api.verbs import DeleteOptions

#: Which revision a pod was made from.
POD_LABEL: Final = "controller-revision-hash"
_PREFIX_CHARACTERS_MAX: Final = 223


def snapshot(owner: Object) -> Object:
    """What a revision keeps of its owner. Go programs compare it byte by byte with what they would have written, hence the order
    of its keys, and parts that their types always write."""
    template = (owner.get("spec") or {}).get("template") or {}
    return {"spec": {"template": _in_order({"metadata": {}, **template, "$patch": "replace"})}}


def _in_order(value: Any, key: str = "") -> Any:
    if isinstance(value, list):
        containers = key in ("containers", "initContainers", "ephemeralContainers")
        return [_in_order({"resources": {}, **each} if containers else each) for each in value]
    if isinstance(value, dict):
        return {name: _in_order(value[name], name) for name in sorted(value) if value[name] is not None}
    return value


def template_in(revision: Object) -> Object:
    """The template that the revision keeps; a copy."""
    kept = ((revision.get("data") or {}).get("spec") or {}).get("template") or {}
    template: Object = orjson.loads(orjson.dumps({key: value for key, value in kept.items() if key != "$patch"}))
    return template


def matches(owner: Object, revision: Object) -> bool:
    """The revision keeps the template that the owner has now."""
    return bool(_comparable(snapshot(owner)) == _comparable(revision.get("data")))


def _comparable(value: Any) -> Any:
    """Without nulls and empty resources, which other writers put where we leave a key out."""
    if isinstance(value, dict):
        return {key: _comparable(each) for key, each in value.items() if each is not None and (key, each) != ("resources", {})}
    return [_comparable(each) for each in value] if isinstance(value, list) else value


def number_of(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def ordered(revisions: Iterable[Object]) -> list[Object]:
    """Lowest number first; of equals the older, then by name."""

    def rank(revision: Object) -> tuple[int, float, str]:
        when = (revision.get("metadata") or {}).get("creationTimestamp")
        return (number_of(revision), times.parse(when) if when else 0.0, name_of(revision))

    return sorted(revisions, key=rank)


def named(owner: Object, digest: str) -> str:
    return f"{name_of(owner)[:_PREFIX_CHARACTERS_MAX]}-{digest}"


def made(kind: Kind, owner: Object, digest: str, number: int, hash_label: str) -> Object:
    """The revision of the owner's template of now."""
    labels: Mapping[str, str] = labels_of((owner.get("spec") or {}).get("template") or {})
    metadata: Object = {
        "name": named(owner, digest),
        "namespace": namespace_of(owner),
        "labels": {**labels, hash_label: digest},
        "ownerReferences": [controller_reference(kind, owner)],
    }
    if annotations_of(owner):
        metadata["annotations"] = annotations_of(owner)
    return {
        "apiVersion": CONTROLLERREVISION.api_version,
        "kind": CONTROLLERREVISION.kind,
        "metadata": metadata,
        "data": snapshot(owner),
        "revision": number,
    }


def renumbered(revision: Object, number: int) -> Call:
    patch = {"metadata": {"uid": uid_of(revision)}, "revision": number}
    return Patch(CONTROLLERREVISION, namespace_of(revision), name_of(revision), patch)


def forgotten(revision: Object) -> Call:
    options = DeleteOptions(precondition_uid=uid_of(revision))
    return Delete(CONTROLLERREVISION, namespace_of(revision), name_of(revision), options)
