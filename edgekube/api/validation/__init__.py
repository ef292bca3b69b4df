"""Validation: what an object may say, beyond its shape.

Enters: a defaulted object after mutation, named by the registry (name, namespace, uid); on update the stored one too.
Leaves: causes, none when the object is good. The registry makes errors.invalid() of them (422).
Holds: the strict decoder has checked types; missing or null parts never raise; nothing is changed; time grows with the object's
    size and no faster.
Bound: limits.VALIDATION_CAUSES_MAX causes.
Source: k8s.io/kubernetes/pkg/apis/<group>/validation of v1.36; structs of its own that it prints are in api.validation.inner.
Next: registry (create, update, patch, apply).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from edgekube.api import names
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.validation.fields import EnoughFound, Findings, part
from edgekube.api.validation.metadata import NOT_QUALIFIED, check_metadata, check_metadata_update

if TYPE_CHECKING:
    from edgekube.api.validation.rules import Rules


def _rules_of(kind: Kind) -> Rules:
    # A node wants to know what an extended resource is, and needs none of the rules for that.
    from edgekube.api.validation.rules import GROUPS, PLAIN

    return GROUPS.get(kind.api_version, {}).get(kind.kind, PLAIN)


def _allow_plain_finalizers(rules: Rules, out: Findings) -> None:
    if not rules.qualified_finalizers:
        out[:] = [cause for cause in out if not cause.message.endswith(NOT_QUALIFIED)]


def validate_create(kind: Kind, obj: Object) -> list[Cause]:
    """Causes why ``obj`` may not be created."""
    out = Findings()
    with suppress(EnoughFound):
        rules = _rules_of(kind)
        metadata = part(obj, "metadata")
        if rules.metadata and rules.name is not None:
            check_metadata(out, metadata, kind.namespaced, rules.name)
            _allow_plain_finalizers(rules, out)
        if rules.create is not None:
            rules.create(out, obj)
        if rules.path_name and not out:
            check_metadata(out, metadata, kind.namespaced, names.path_segment)
            _allow_plain_finalizers(rules, out)
    return out


def validate_update(kind: Kind, new: Object, old: Object, subresource: str = "") -> list[Cause]:
    """Causes why ``old`` may not become ``new``. A subresource without rules of its own checks metadata only."""
    out = Findings()
    with suppress(EnoughFound):
        rules = _rules_of(kind)
        check_metadata_update(out, part(new, "metadata"), part(old, "metadata"))
        _allow_plain_finalizers(rules, out)
        if subresource:
            change = rules.subresources.get(subresource)
            if change is not None:
                change(out, new, old)
        elif rules.update is not None:
            rules.update(out, new, old)
        elif rules.create is not None:
            rules.create(out, new)
    return out
