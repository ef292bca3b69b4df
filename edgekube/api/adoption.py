"""Who would take an object that nobody controls.

Enters: a change of an object; owners of one kind and their selectors.
Leaves: keys of the owners whose selector matches it now.
Holds: what has a controller, or is being deleted, wakes nobody.
Next: api.ownership claims it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgekube.api.controller import Change, Key, KeysFor, key_of
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, controller_of, is_deleting, labels_of, namespace_of, spec_of
from edgekube.api.selectors.labels import LabelSelector, label_selector_of
from edgekube.api.view import View


def selector_of(owner: Object) -> LabelSelector:
    """spec.selector of most kinds. ValueError on a bad one."""
    return label_selector_of(spec_of(owner).get("selector"))


def adopters(kind: Kind, selector: Callable[[Object], LabelSelector] = selector_of) -> KeysFor:
    """The owners of that kind that would adopt it."""

    def keys(change: Change, view: View) -> Iterable[Key]:
        orphan = change.new
        if orphan is None or controller_of(orphan) is not None or is_deleting(orphan):
            return ()
        labels = labels_of(orphan)
        return [key_of(owner) for owner in view.list(kind, namespace_of(orphan)) if selector(owner).matches(labels)]

    return keys
