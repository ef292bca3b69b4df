"""Put a page together: rows as they are now, with what changed since its revision undone. Pure.

Enters: records read now (or a little later than the revision), and the states that changed keys had at the revision.
Leaves: the page as it was at the revision.
Holds: a state wins over a row, absolutely: it does not matter whether the read already saw the change that it undoes.
Next: store.sqlite.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from edgekube.store.protocol import Key, Page, Record


def selects(key: Key, namespace: str | None, after: Key | None) -> bool:
    """Whether ``key`` (of the right resource) lies behind ``after`` in the listed range."""
    return (namespace is None or key.namespace == namespace) and (after is None or key > after)


def undo(records: list[Record], states: Mapping[Key, Record | None]) -> list[Record]:
    """``states``: of the listed range only."""
    if not states:
        return records
    kept = [record for record in records if record.key not in states]
    kept += [state for state in states.values() if state is not None]
    kept.sort(key=lambda record: record.key)
    return kept


def page(
    records: list[Record],
    states: Mapping[Key, Record | None],
    *,
    revision: int,
    limit: int,
    more: bool,
    behind: int,
    existing: Set[Key],
) -> Page:
    """``records`` holds at least ``limit`` + len(states) rows unless ``more`` is false; ``behind`` rows follow them, and
    ``existing`` says which keys of ``states`` had a row when these were read."""
    last_read = records[-1].key if records else None
    whole = undo(records, states)
    if more and last_read is not None:
        beyond = [record for record in whole if record.key > last_read]
        whole = [record for record in whole if record.key <= last_read]
        gone = sum(1 for key in existing if key in states and key > last_read)
        behind += len(beyond) - gone
    chosen = whole[:limit]
    remaining = len(whole) - len(chosen) + behind
    return Page(chosen, revision, chosen[-1].key if remaining else None, remaining)
