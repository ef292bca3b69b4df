"""A controller as data: what it reads, which keys a change concerns, and the plan for a key.

Enters: decisions of controllers, as functions.
Leaves: Controller values that reconcile.engine runs.
Holds: everything here is pure: a plan reads the whole state of a key and never learns which event woke it.
Next: controllers/*, reconcile.engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from edgekube.api.calls import Call
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, controller_of, name_of, namespace_of
from edgekube.api.verbs import ListOptions
from edgekube.api.view import View


class Key(NamedTuple):
    """What a controller works on. ``namespace`` is "" for cluster-scoped kinds."""

    namespace: str
    name: str


class Moment(NamedTuple):
    """Now, twice. Wall time goes into objects; durations between observations use the monotonic clock, which does not
    jump when a board without a battery learns the time from the network."""

    wall_seconds: float  # since the epoch
    monotonic_seconds: float


class Change(Protocol):
    """One change of one object. At least one side is present; decoded when first asked for. Do not write into them."""

    @property
    def kind(self) -> Kind: ...

    @property
    def key(self) -> Key: ...

    @property
    def old(self) -> Object | None: ...

    @property
    def new(self) -> Object | None: ...


KeysFor: TypeAlias = Callable[[Change, View], Iterable[Key]]
Plan: TypeAlias = Callable[[View, Key, Moment], list[Call]]
#: Asks for what no watch brings, and answers the plan that knows it.
Gather: TypeAlias = Callable[[View, Key], Awaitable[Plan]]


class Controller(Struct, frozen=True):
    name: str  # upstream's: events carry it as source.component, --disable takes it
    watches: tuple[tuple[Kind, KeysFor], ...]
    plan: Plan
    reads: tuple[Kind, ...] = ()  # further kinds that plan looks at, which wake nobody
    #: Kinds of which a part suffices; keeps large kinds out of memory.
    selections: tuple[tuple[Kind, ListOptions], ...] = ()
    #: Instead of ``plan``, for a controller that lives on facts from elsewhere (scales, metrics).
    gather: Gather | None = None
    #: Never plan from a view that does not show the last plan's writes: what is counted would be counted twice.
    exact: bool = False
    #: Changes that come so soon after a plan wait, and are looked at together.
    settle_seconds: float = 0.0

    def kinds(self) -> tuple[Kind, ...]:
        return tuple(dict.fromkeys([*(kind for kind, _ in self.watches), *self.reads]))


def itself(change: Change, view: View) -> Iterable[Key]:
    """The object that changed is the key."""
    return (change.key,)


def sides(change: Change) -> Iterable[Object]:
    """Old and new, those that exist."""
    return tuple(side for side in (change.old, change.new) if side is not None)


def looks_alike(change: Change, seen: Callable[[Object], object]) -> bool:
    """The object has changed, and what is seen of it has not."""
    return change.old is not None and change.new is not None and seen(change.old) == seen(change.new)


def controlled_by(owner_kind: Kind) -> KeysFor:
    """The controllers of ``owner_kind`` that the object has or had (metav1.GetControllerOf)."""

    def keys(change: Change, view: View) -> Iterable[Key]:
        found = []
        for side in sides(change):
            owner = controller_of(side)
            if owner is not None and owner.get("kind") == owner_kind.kind and owner.get("apiVersion") == owner_kind.api_version:
                found.append(Key(namespace_of(side), str(owner.get("name"))))
        return dict.fromkeys(found)

    return keys


def lost_by(owner_kind: Kind) -> KeysFor:
    """The controllers of ``owner_kind`` whose object is gone, or has another controller now. What is made or changed wakes
    nobody."""
    controlled = controlled_by(owner_kind)

    def keys(change: Change, view: View) -> Iterable[Key]:
        if change.old is None or (change.new is not None and controller_of(change.old) == controller_of(change.new)):
            return ()
        return controlled(change, view)

    return keys


def key_of(obj: Object) -> Key:
    return Key(namespace_of(obj), name_of(obj))
