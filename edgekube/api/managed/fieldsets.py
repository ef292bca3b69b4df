"""Sets of paths, in the very form in which the API writes them (fieldsV1), so that a stored set needs no parsing.

``{"f:spec": {"f:replicas": {}, "f:ports": {".": {}, "k:{\"port\":80}": {...}}}}``: an empty set below a step says that the
step is a member; a set that is not empty says so with ".".

Enters: sets as they are stored (canonical), or as a client wrote them (canonical() first).
Leaves: sets; an operation that changes nothing answers the very set that it was given.
Holds: pure; a set is never changed once it is made. No step leads to an empty set of another meaning than "member".
Source: sigs.k8s.io/structured-merge-diff fieldpath (set.go, serialize.go).
Next: api.managed.entries, api.managed.updater.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from edgekube.api.managed import elements
from edgekube.api.managed.elements import SELF

FieldSet: TypeAlias = dict[str, Any]
#: The set without members, and what stands below a step that is nothing but a member.
EMPTY: Final[FieldSet] = {}
_Path: TypeAlias = tuple[str, ...]


def of_paths(*paths: str) -> FieldSet:
    """A set of plain fields: ``of_paths("status", "metadata.labels")``."""
    made: FieldSet = {}
    for path in paths:
        node = made
        steps = [elements.FIELD + name for name in path.split(".")]
        for step in steps[:-1]:
            below = node.get(step)
            if below is not None and not below:
                below[SELF] = {}
            node = node.setdefault(step, {})
        last = node.setdefault(steps[-1], {})
        if last:
            last[SELF] = {}
    return made


def is_member(below: FieldSet | None) -> bool:
    """``below`` is what stands under a step: is the step itself in the set?"""
    return below is not None and (not below or SELF in below)


def has(fields: FieldSet, path: _Path) -> bool:
    node: FieldSet | None = fields
    for step in path:
        node = node.get(step) if node is not None else None
    return is_member(node)


def children(below: FieldSet) -> FieldSet:
    """What stands under a step, without the mark of the step itself."""
    if SELF not in below:
        return below
    return {step: inner for step, inner in below.items() if step != SELF}


def joined(member: bool, inner: FieldSet) -> FieldSet | None:
    """What to write under a step; None: nothing is left of it."""
    if not inner:
        return EMPTY if member else None
    return {SELF: EMPTY, **inner} if member else inner


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    if one is other or not other:
        return one
    if not one:
        return other
    made: FieldSet | None = None
    for step, theirs in other.items():
        if step == SELF:
            continue
        ours = one.get(step)
        if ours is None:
            merged = theirs
        else:
            before = children(ours)
            inner = union(before, children(theirs))
            member = is_member(ours) or is_member(theirs)
            if inner is before and member == is_member(ours):
                continue
            merged = joined(member, inner) or EMPTY
        if made is None:
            made = dict(one)
        made[step] = merged
    return made if made is not None else one


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    made: FieldSet = {}
    if len(other) < len(one):
        one, other = other, one
    for step, ours in one.items():
        theirs = other.get(step)
        if theirs is None or step == SELF:
            continue
        kept = joined(is_member(ours) and is_member(theirs), intersection(children(ours), children(theirs)))
        if kept is not None:
            made[step] = kept
    return made


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The members of ``one`` that are not in ``other``. A parent that is in ``other`` takes no child with it."""
    return _without(one, other, deep=False)


def deep_difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """The members of ``one`` that are neither in ``other`` nor below anything in it."""
    return _without(one, other, deep=True)


def _without(one: FieldSet, other: FieldSet, *, deep: bool) -> FieldSet:
    made: FieldSet | None = None
    for step, theirs in other.items():
        ours = one.get(step)
        if ours is None or step == SELF:
            continue
        taken = is_member(theirs)
        if deep and taken:
            kept = None
        else:
            inner = children(ours)
            left = _without(inner, children(theirs), deep=deep)
            if left is inner and not (taken and is_member(ours)):
                continue
            kept = joined(is_member(ours) and not taken, left)
        if made is None:
            made = dict(one)
        if kept is None:
            del made[step]
        else:
            made[step] = kept
    return made if made is not None else one


def paths(fields: FieldSet, prefix: _Path = ()) -> Iterator[_Path]:
    """Every member, in upstream's order: those of one level before what stands below them."""
    steps = sorted((step for step in fields if step != SELF), key=elements.rank)
    for step in steps:
        if is_member(fields[step]):
            yield (*prefix, step)
    for step in steps:
        if fields[step]:
            yield from paths(fields[step], (*prefix, step))


def shown(path: _Path) -> str:
    """``.spec.containers[name="web"].image``."""
    return "".join(map(elements.shown, path))


def ordered(fields: FieldSet) -> FieldSet:
    """The same set, its steps in the order in which upstream writes them."""
    steps = sorted(fields)  # "." before "f:" before the others
    if len(steps) > 1 and steps[-1][:2] != elements.FIELD:
        steps = sorted(fields, key=elements.rank)
    return {step: ordered(below) if (below := fields[step]) else EMPTY for step in steps}


def canonical(written: Any, depth_left: int) -> FieldSet:
    """A set that somebody else wrote. Steps of an unknown type are left out; ValueError for what is no set."""
    if type(written) is not dict:
        raise ValueError("expected an object")
    if depth_left <= 0:
        raise ValueError("exceeded max depth")
    made: FieldSet = {}
    for text, below in written.items():
        if text == SELF:
            made[SELF] = EMPTY
            continue
        step = elements.canonical(text)
        if step is None:
            continue
        inner = canonical(below, depth_left - 1)
        if set(inner) == {SELF}:
            inner = EMPTY
        known = made.get(step)
        made[step] = inner if known is None else union({step: known}, {step: inner})[step]
    return made


#: Cuts a set down to what one way of writing can change at all; None: everything.
Filter: TypeAlias = Callable[[FieldSet], FieldSet] | None


def excluding(fields: FieldSet) -> Filter:
    """Everything but ``fields`` and what stands below them."""

    def keep(given: FieldSet) -> FieldSet:
        return deep_difference(given, fields)

    return keep


def only(pattern: FieldSet) -> Filter:
    """What stands below the leaves of ``pattern``, and on the way there; the step ``*`` is any step."""

    def keep(given: FieldSet) -> FieldSet:
        return _matching(given, pattern)

    return keep


ANY: Final = "*"


def _matching(given: FieldSet, pattern: FieldSet) -> FieldSet:
    if not pattern:
        return given
    made: FieldSet = {}
    for step, below in given.items():
        wanted = pattern.get(ANY)
        if wanted is None:
            wanted = pattern.get(step)
        if wanted is None or step == SELF:
            continue
        kept = joined(is_member(below), _matching(children(below), wanted))
        if kept is not None:
            made[step] = kept
    return made
