"""Field blocks, read back by the hpack library."""

from __future__ import annotations

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.wire.field_block import FieldEncoder

names = st.binary(min_size=1, max_size=300)
fields = st.lists(st.tuples(names, st.binary(max_size=20_000)), max_size=8)
statuses = st.integers(100, 599).map(lambda status: (b":status", b"%d" % status))


@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(st.tuples(statuses, fields), min_size=1, max_size=4), allowed=st.sampled_from([0, 100, 4096, 65536]))
def test_any_fields_come_back(blocks: list[tuple[tuple[bytes, bytes], list[tuple[bytes, bytes]]]], allowed: int) -> None:
    encoder = FieldEncoder()
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    decoder.max_allowed_table_size = allowed
    for status, others in blocks:
        headers = [status, *others]
        decoded = decoder.decode(encoder.encode(headers), raw=True)
        assert [(bytes(name), bytes(value)) for name, value in decoded] == headers


def test_the_usual_answer_is_small_and_its_status_one_byte() -> None:
    encoder = FieldEncoder()
    assert encoder.encode([(b":status", b"200")]) == b"\x20\x88"
    assert encoder.encode([(b":status", b"200"), (b"a", b"b")]) == b"\x88\x00\x01a\x01b"
