"""Documents that were read or written last."""

from edgekube import limits
from edgekube.store.protocol import Key, Record
from edgekube.store.recent import Recent


def record(name: str, size_bytes: int, revision: int = 1) -> Record:
    return Record(Key("configmaps", "default", name), revision, b"{" + b" " * (size_bytes - 2) + b"}")


def test_the_oldest_go_first_and_the_bytes_are_counted() -> None:
    recent = Recent()
    size_bytes = limits.RECENT_RECORD_BYTES_MAX
    many = limits.RECENT_BYTES_MAX // size_bytes + 3
    for number in range(many):
        recent.put(record(str(number), size_bytes))
    kept = [number for number in range(many) if recent.get(record(str(number), 2).key) is not None]
    assert kept == list(range(3, many))
    assert recent.size_bytes == size_bytes * len(kept) <= limits.RECENT_BYTES_MAX


def test_a_newer_record_takes_the_place_and_a_large_one_leaves_none() -> None:
    recent = Recent()
    key = record("one", 2).key
    recent.put(record("one", 100, 1))
    recent.put(record("one", 50, 2))
    assert recent.get(key) == record("one", 50, 2)
    assert recent.size_bytes == 50
    recent.put(record("one", limits.RECENT_RECORD_BYTES_MAX + 1, 3))
    assert recent.get(key) is None
    assert recent.size_bytes == 0
    recent.drop(key)
    assert recent.size_bytes == 0
