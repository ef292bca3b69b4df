"""The ring: what it keeps, what it forgets first, and that it says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.store.protocol import Change, Compacted, Key, Record
from edgekube.store.ring import Entry, Ring


def key(name: str, resource: str = "pods", namespace: str = "default") -> Key:
    return Key(resource, namespace, name)


def entry(revision: int, at: Key, previous: Record | None = None, *, gone: bool = False, time_seconds: float = 0.0) -> Entry:
    value = b"%06d" % revision
    if previous is None:
        return Entry(Change("ADDED", at, revision, value, None), 0, time_seconds)
    kind = "DELETED" if gone else "MODIFIED"
    return Entry(Change(kind, at, revision, value, previous.value), previous.revision, time_seconds)  # type: ignore[arg-type]


def record(revision: int, at: Key) -> Record:
    return Record(at, revision, b"%06d" % revision)


def test_changes_come_back_in_order_by_resource_and_namespace() -> None:
    ring = Ring(10)
    ring.append(entry(11, key("a")))
    ring.append(entry(12, key("a", "services")))
    ring.append(entry(13, key("a", namespace="other")))
    ring.append(entry(14, key("b")))
    assert [change.revision for change in ring.since("pods", None, 10)] == [11, 13, 14]
    assert [change.revision for change in ring.since("pods", "default", 11)] == [14]
    assert ring.since("pods", None, 14) == []
    assert ring.since("secrets", None, 10) == []


def test_nothing_is_known_from_before_the_start() -> None:
    with pytest.raises(Compacted, match="revision 9 of pods is older"):
        Ring(10).since("pods", None, 9)


def test_the_oldest_change_goes_first_whosever_it_is_and_only_its_resource_forgets() -> None:
    ring = Ring(0, events_max=3)
    ring.append(entry(1, key("quiet", "secrets")))
    for revision in (2, 3, 4):
        ring.append(entry(revision, key(str(revision), "leases")))
    assert len(ring) == 3
    assert (ring.floor("secrets"), ring.floor("leases"), ring.floor("pods")) == (1, 0, 0)
    assert len(ring.since("leases", None, 0)) == 3
    with pytest.raises(Compacted):
        ring.since("secrets", None, 0)
    ring.append(entry(5, key("5", "leases")))
    assert ring.floor("leases") == 2
    assert ring.since("secrets", None, 1) == []


def test_bytes_are_bounded_and_counted_back() -> None:
    ring = Ring(0, bytes_max=20)
    at = key("a")
    ring.append(entry(1, at))
    ring.append(entry(2, at, record(1, at)))
    assert ring.size_bytes == 18
    ring.append(entry(3, at, record(2, at)))
    assert (len(ring), ring.size_bytes, ring.floor("pods")) == (1, 12, 2)


def test_a_change_larger_than_the_ring_leaves_it_empty() -> None:
    ring = Ring(0, bytes_max=4)
    ring.append(entry(1, key("a")))
    assert (len(ring), ring.size_bytes, ring.floor("pods")) == (0, 0, 1)


def test_when_a_revision_stopped_being_the_latest() -> None:
    ring = Ring(0, events_max=2)
    ring.append(entry(1, key("a"), time_seconds=100.0))
    ring.append(entry(3, key("b", "nodes"), time_seconds=200.0))
    assert [ring.superseded_at(revision) for revision in (0, 1, 2, 3, 4)] == [100.0, 200.0, 200.0, None, None]
    ring.append(entry(4, key("c"), time_seconds=300.0))
    assert ring.superseded_at(0) == 200.0, "the oldest change that is remembered"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["pods", "nodes"]), st.booleans()), max_size=30),
    st.integers(1, 40),
)
def test_undoing_gives_every_older_state_or_says_that_it_cannot(operations: list[tuple[str, str, bool]], events_max: int) -> None:
    ring = Ring(0, events_max=events_max)
    state: dict[Key, Record] = {}
    history = [dict(state)]
    for revision, (name, resource, remove) in enumerate(operations, 1):
        at = key(name, resource)
        previous = state.get(at)
        gone = remove and previous is not None
        ring.append(entry(revision, at, previous, gone=gone))
        if gone:
            del state[at]
        else:
            state[at] = record(revision, at)
        history.append(dict(state))
    assert len(ring) <= events_max
    for resource in ("pods", "nodes"):
        for revision, then in enumerate(history):
            if revision < ring.floor(resource):
                with pytest.raises(Compacted):
                    ring.state_at(resource, None, revision)
                continue
            undone = {at: known for at, known in state.items() if at.resource == resource}
            for at, known in ring.state_at(resource, None, revision).items():
                undone.pop(at, None)
                if known is not None:
                    undone[at] = known
            assert undone == {at: known for at, known in then.items() if at.resource == resource}
