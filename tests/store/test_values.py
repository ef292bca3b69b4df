"""What lies on disk gives back what was put there."""

from __future__ import annotations

import tracemalloc
import zlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.store.values import COMPRESS_BYTES_MIN, pack, trimmed, unpack


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3 * COMPRESS_BYTES_MIN), st.binary(max_size=50))
def test_a_document_survives_packing(size_bytes: int, tail: bytes) -> None:
    document = b"{" + b"x" * size_bytes + tail + b"}"
    assert unpack(pack(document)) == document


def test_long_documents_are_compressed_and_short_ones_are_not() -> None:
    short, long = b"{" + b"x" * 100 + b"}", b"{" + b"x" * COMPRESS_BYTES_MIN + b"}"
    assert pack(short) == short
    assert len(pack(long)) < len(long) // 10


def test_what_is_not_an_object_is_refused_since_its_first_byte_could_mean_anything() -> None:
    with pytest.raises(ValueError, match="JSON object"):
        pack(b"x")


def test_damage_is_noticed() -> None:
    stored = bytearray(pack(b"{" + b"x" * COMPRESS_BYTES_MIN + b"}"))
    stored[len(stored) // 2] ^= 0xFF
    with pytest.raises(zlib.error):
        unpack(bytes(stored))


def test_what_is_kept_takes_no_more_than_its_own_size() -> None:
    documents = [{"text": "x" * size} for size in (10, 300, 1500, 5000)]
    tracemalloc.start()
    try:
        kept = [trimmed(orjson.dumps(document)) for document in documents]
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [orjson.loads(value) for value in kept] == documents
    assert held_bytes < sum(map(len, kept)) + 1000
