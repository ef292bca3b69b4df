"""Lay what somebody applies over what there is.

Enters: the object as it is, the configuration that is applied, and their Site.
Leaves: both in one: what is applied wins, nothing is taken away; ValueError for a list that says one thing twice.
Holds: pure: neither is changed, and the result may share parts with both. Lists are ordered as the configuration orders its
items, with the others where they were.
Source: sigs.k8s.io/structured-merge-diff typed/merge.go.
Next: api.managed.updater.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgekube.api.managed import elements
from edgekube.api.managed.compare import ABSENT
from edgekube.api.managed.sites import DEDUCED, DEDUCED_SITE, KEYED, MAP, SET, Site


def merge(site: Site, old: Any, new: Any) -> Any:
    """ABSENT when nothing is left."""
    if new is ABSENT:
        return old
    if old is ABSENT or site.atomic:
        return new
    relation = site.relation
    if relation == DEDUCED and type(old) is dict and (new is None or type(new) is dict):
        relation = MAP
    if relation == MAP:
        before, after = old if type(old) is dict else {}, new if type(new) is dict else {}
        return _maps(site, before, after) if before or after else new
    if relation in (KEYED, SET):
        items_before, items_after = old if type(old) is list else [], new if type(new) is list else []
        return _lists(site, items_before, items_after) if items_before or items_after else new
    return new


def _maps(site: Site, old: dict[str, Any], new: dict[str, Any]) -> Any:
    made: dict[str, Any] = {}
    for key, value in old.items():
        if key not in new:
            made[key] = value
            continue
        merged = merge(site.field(key) or DEDUCED_SITE, value, new[key])
        if merged is not ABSENT:
            made[key] = merged
    made |= {key: value for key, value in new.items() if key not in old}
    return made if made else ABSENT


def _indexed(site: Site, items: list[Any], *, may_repeat: bool) -> tuple[list[str], dict[str, Any]]:
    """The steps in order, and step → item; an item that is there twice merges with nothing."""
    steps: list[str] = []
    by_step: dict[str, Any] = {}
    for index, item in enumerate(items):
        try:
            step = site.step_of(item)
        except ValueError as error:
            raise ValueError(f"element {index}: {error}") from None
        if step in by_step:
            if not may_repeat:
                raise ValueError(f"duplicate entries for key {elements.shown(step)}")
            by_step[step] = ABSENT
        else:
            by_step[step] = item
        steps.append(step)
    return steps, by_step


def _lists(site: Site, old: list[Any], new: list[Any]) -> Any:
    new_steps, new_items = _indexed(site, new, may_repeat=False)
    old_steps, old_items = _indexed(site, old, may_repeat=True)
    made = [
        item
        for item in _interleaved(site, old, old_steps, old_items, new_steps, new_items)
        if item is not ABSENT
    ]  # fmt: skip
    return made if made else ABSENT


def _interleaved(
    site: Site,
    old: list[Any],
    old_steps: list[str],
    old_items: dict[str, Any],
    new_steps: list[str],
    new_items: dict[str, Any],
) -> Iterator[Any]:
    """Items of both lists: those that both have in the order of ``new``, what only ``old`` has stays before the item that it
    stood before."""
    shared = iter([step for step in new_steps if step in old_items])
    next_shared = next(shared, None)
    merged: set[str] = set()
    i = j = 0
    while i < len(old_steps) or j < len(new_steps):
        if i < len(old_steps) and j < len(new_steps):
            step = old_steps[i]
            if step == new_steps[j]:
                merged.add(step)
                yield merge(site.items, old_items[step], new_items[step])
                i, j = i + 1, j + 1
                next_shared = next(shared, None)
                continue
            if step in new_items and next_shared is not None and next_shared != step:
                i += 1  # both have it, and its turn comes later
                continue
        if i < len(old_steps):
            step = old_steps[i]
            if step not in new_items:
                yield old[i]
                i += 1
                continue
            if step in merged:
                i += 1
        if j < len(new_steps):
            step = new_steps[j]
            merged.add(step)
            yield merge(site.items, old_items.get(step, ABSENT), new_items[step])
            j += 1
            if next_shared == step:
                next_shared = next(shared, None)
