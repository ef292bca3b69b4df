"""What holds for all objects: of sets, of comparing, of merging and of who manages what."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.managed import entries as listed
from edgekube.api.managed import fieldsets, updater
from edgekube.api.managed.compare import compare
from edgekube.api.managed.entries import APPLY, UPDATE, key_of
from edgekube.api.managed.fields_of import fields_of
from edgekube.api.managed.merge import merge
from edgekube.api.objects import Object
from tests.api.managed.model import SAID, SITE, VERSION, OneVersion, objects

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
ME, OTHER = key_of("me", APPLY, VERSION, ""), key_of("other", APPLY, VERSION, "")
STEPS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', "v:1", "v:10", "v:2", "i:0"])
PATHS = st.sets(st.lists(STEPS, min_size=1, max_size=4).map(tuple), max_size=8)
few = settings(max_examples=40)
BLANK: Object = {**SAID, "metadata": {}}


def set_of(paths: set[tuple[str, ...]]) -> fieldsets.FieldSet:
    made: fieldsets.FieldSet = {}
    for path in paths:
        alone: fieldsets.FieldSet = {}
        for step in reversed(path):
            alone = {step: alone}
        made = fieldsets.union(made, alone)
    return made


def members(fields: fieldsets.FieldSet) -> set[tuple[str, ...]]:
    return set(fieldsets.paths(fields))


def apply(live: Object, config: Object, known: listed.Entries, key: listed.Key = ME, now: str = NOW) -> updater.Applied:
    return updater.apply(OneVersion(), live, config, VERSION, known, key, now, force=True)


@given(PATHS, PATHS)
def test_sets_are_sets(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> None:
    a, b = set_of(one), set_of(other)
    assert members(a) == one
    assert members(fieldsets.union(a, b)) == one | other
    assert members(fieldsets.intersection(a, b)) == one & other
    assert members(fieldsets.difference(a, b)) == one - other
    below = {path for path in one if not any(path[: len(taken)] == taken for taken in other)}
    assert members(fieldsets.deep_difference(a, b)) == below
    assert all(fieldsets.has(a, path) for path in one)


@given(PATHS)
def test_what_changes_nothing_answers_the_same_set(paths: set[tuple[str, ...]]) -> None:
    fields = set_of(paths)
    assert fieldsets.union(fields, set_of(paths)) is fields
    assert fieldsets.difference(fields, {"f:elsewhere": {}}) is fields


@given(PATHS)
def test_what_is_written_can_be_read(paths: set[tuple[str, ...]]) -> None:
    written = fieldsets.ordered(set_of(paths))
    assert fieldsets.canonical(written, 10) == written
    assert list(fieldsets.paths(written)) == list(fieldsets.paths(set_of(paths)))


@few
@given(objects(), objects())
def test_comparing_backwards_swaps_what_came_and_went(one: Object, other: Object) -> None:
    there, back = compare(SITE, one, other), compare(SITE, other, one)
    assert (there.removed, there.modified, there.added) == (back.added, back.modified, back.removed)
    assert compare(SITE, one, one).is_same
    assert there.is_same == (one == other) or one != other


@few
@given(objects(), objects())
def test_merging_keeps_everything_that_is_applied(live: Object, config: Object) -> None:
    merged = merge(SITE, live, config)
    assert merge(SITE, merged, config) == merged
    assert not compare(SITE, config, merged).removed
    assert merge(SITE, live, live) == live


@few
@given(objects(), objects())
def test_applying_twice_changes_nothing(live: Object, config: Object) -> None:
    known = updater.update(OneVersion(), BLANK, live, VERSION, {}, key_of("x", UPDATE, VERSION, ""), NOW, reconcile=False)
    first = apply(live, config, known)
    made = first.object if first.object is not None else live
    again = apply(made, config, first.entries, now=LATER)
    assert again.object is None
    assert listed.write(again.entries) == listed.write(first.entries)


@few
@given(objects())
def test_what_is_applied_is_managed_and_what_is_given_up_goes(config: Object) -> None:
    first = apply(BLANK, config, {})
    owned = {path for path in members(fields_of(SITE, config)) if path[0] == "f:spec"}
    assert members(first.entries[ME].fields if ME in first.entries else {}) == owned
    made = first.object if first.object is not None else BLANK
    gone = apply(made, {**BLANK, "metadata": {"name": "t"}}, first.entries)
    assert ME not in gone.entries
    left = gone.object if gone.object is not None else made
    assert not {path for path in owned & members(fields_of(SITE, left)) if len(path) > 1}


@few
@given(objects(), objects())
def test_what_somebody_else_applies_stays(mine: Object, theirs: Object) -> None:
    first = apply(BLANK, mine, {})
    second = apply(first.object or BLANK, theirs, first.entries, OTHER)
    both = second.object if second.object is not None else first.object or BLANK
    left = apply(both, {**BLANK, "metadata": {"name": "t"}}, second.entries)
    assert not compare(SITE, theirs, left.object if left.object is not None else both).modified
