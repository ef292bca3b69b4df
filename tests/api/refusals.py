"""Dialogues with the validation: an object, edits of it, and the refusals as their sender reads them."""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml

from edgekube.api.defaults import apply_defaults
from edgekube.api.errors import Cause
from edgekube.api.kinds import KINDS, Kind
from edgekube.api.objects import Object
from edgekube.api.validation import validate_create, validate_update

#: In an edit: take the field away.
GONE = object()
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+|[^\]]+)\]")


def manifest(text: str) -> Object:
    """A defaulted object, as the registry hands it over: with namespace and uid."""
    obj: Object = yaml.safe_load(text)
    kind = kind_of(obj)
    obj["metadata"].setdefault("uid", "u-1")
    if kind.namespaced:
        obj["metadata"].setdefault("namespace", "default")
    apply_defaults(kind, obj)
    return obj


def kind_of(obj: Object) -> Kind:
    kind = KINDS.by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None
    return kind


def edited(obj: Object, edits: dict[str, Any]) -> Object:
    """A copy with fields set: ``{"spec.containers[0].image": ""}``. Keys with dots stand in brackets."""
    result = copy.deepcopy(obj)
    for path, value in edits.items():
        steps: list[Any] = [name or (int(index) if index.isdigit() else index) for name, index in _STEP.findall(path)]
        place: Any = result
        for step in steps[:-1]:
            place = place[step] if isinstance(step, int) else place.setdefault(step, {})
        if value is GONE:
            del place[steps[-1]]
        elif isinstance(place, list) and steps[-1] == len(place):
            place.append(copy.deepcopy(value))
        else:
            place[steps[-1]] = copy.deepcopy(value)
    return result


def said(causes: list[Cause]) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in causes]


def refusals(obj: Object) -> list[str]:
    """Why it may not be created."""
    return said(validate_create(kind_of(obj), obj))


def changes_refused(new: Object, old: Object, subresource: str = "") -> list[str]:
    """Why ``old`` may not become ``new``."""
    return said(validate_update(kind_of(new), new, old, subresource))
