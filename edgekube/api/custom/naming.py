"""Which of the names that a definition asks for it gets, and whether it serves.

Enters: a CustomResourceDefinition, and the names that were accepted for the others of its group.
Leaves: the same with status.acceptedNames, NamesAccepted and Established, changed in place.
Holds: a name belongs to whom it was accepted for first; what is refused keeps the name that was accepted before. Once
established, a definition stays established.
Source: kubernetes.io, "CustomResourceDefinition v1" (names, conditions); reasons and messages as kube-apiserver v1.36 has them.
Next: registry.custom.definitions.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from edgekube.api.custom import bundles
from edgekube.api.custom.conditions import ESTABLISHED, NAMES_ACCEPTED, condition, is_true, set_condition
from edgekube.api.objects import Object
from edgekube.api.validation.causes import quoted

_RESOURCE_NAMES: Final = (("plural", "PluralConflict"), ("singular", "SingularConflict"))
_KIND_NAMES: Final = (("kind", "KindConflict"), ("listKind", "ListKindConflict"))


def settle(crd: Object, resources: Set[str], kinds: Set[str], now: str) -> bool:
    """``resources`` and ``kinds``: what others of the group have been given. True when something changed."""
    before = _state(crd)
    requested = crd["spec"]["names"]
    accepted = dict((crd.get("status") or {}).get("acceptedNames") or {})
    refusal = _accept(requested, accepted, resources, kinds)
    crd.setdefault("status", {})["acceptedNames"] = accepted
    if refusal is None:
        set_condition(crd, NAMES_ACCEPTED, "True", "NoConflicts", "no conflicts found", now)
        if is_true(crd, ESTABLISHED):
            pass
        elif not bundles.is_good(bundles.bundle_of(crd)):
            set_condition(crd, ESTABLISHED, "False", "InvalidCABundle", "The conversion webhook CABundle is invalid", now)
        else:
            set_condition(crd, ESTABLISHED, "True", "InitialNamesAccepted", "the initial names have been accepted", now)
    else:
        set_condition(crd, NAMES_ACCEPTED, "False", *refusal, now)
        if condition(crd, ESTABLISHED) is None:
            set_condition(crd, ESTABLISHED, "False", "NotAccepted", "not all names are accepted", now)
    return _state(crd) != before


def _state(crd: Object) -> object:
    status = crd.get("status") or {}
    return dict(status.get("acceptedNames") or {}), [dict(one) for one in status.get("conditions") or ()]


def _accept(requested: Object, accepted: Object, resources: Set[str], kinds: Set[str]) -> tuple[str, str] | None:
    """Write the names that are free into ``accepted``; the last refusal as (reason, message)."""
    refusal: tuple[str, str] | None = None

    def take(key: str, reason: str, used: Set[str]) -> None:
        nonlocal refusal
        wanted = requested.get(key) or ""
        if wanted != (accepted.get(key) or "") and wanted in used:
            refusal = (reason, f"{quoted(wanted)} is already in use")
        elif wanted or key in accepted:
            accepted[key] = wanted

    for key, reason in _RESOURCE_NAMES:
        take(key, reason, resources)
    wanted, held = requested.get("shortNames") or [], accepted.get("shortNames") or []
    if wanted != held:
        conflicts = [f"{quoted(name)} is already in use" for name in wanted if name not in held and name in resources]
        if conflicts:
            text = conflicts[0] if len(conflicts) == 1 else f"[{', '.join(conflicts)}]"
            refusal = ("ShortNamesConflict", text)
        else:
            _put(accepted, "shortNames", wanted)
    for key, reason in _KIND_NAMES:
        take(key, reason, kinds)
    _put(accepted, "categories", requested.get("categories") or [])
    return refusal


def _put(names: Object, key: str, values: list[str]) -> None:
    if values:
        names[key] = values
    else:
        names.pop(key, None)
