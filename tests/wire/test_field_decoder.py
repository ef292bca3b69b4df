"""Header decoding, beside the hpack library as the oracle."""

from __future__ import annotations

import hpack
import pytest
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgekube.wire.field_decoder import BadBlock, FieldDecoder, TooManyFields

names = st.sampled_from([":path", ":method", "accept", "cookie", "user-agent", "x-new", "x" * 200])
values = st.one_of(
    st.sampled_from(["", "GET", "/", "gzip", "application/json"]),
    st.text(st.characters(max_codepoint=255), max_size=200),
)
sections = st.lists(st.tuples(names, values, st.booleans()), max_size=8)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(sections, st.sampled_from([None, 0, 64, 500, 4096]), st.booleans()), min_size=1, max_size=8))
def test_what_the_library_encodes_comes_back(
    steps: list[tuple[list[tuple[str, str, bool]], int | None, bool]],
) -> None:
    encoder, decoder = hpack.Encoder(), FieldDecoder(1 << 20)
    for fields, table_bytes, huffman in steps:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        raw = [(name.encode(), value.encode("latin-1"), sensitive) for name, value, sensitive in fields]
        assert decoder.decode(encoder.encode(raw, huffman=huffman)) == [(name, value) for name, value, _ in fields]


#: Blocks that are nearly right: pieces of real ones in any order.
pieces = st.sampled_from(
    [
        b"\x82",
        b"\xbe",
        b"\xbf",
        b"\xff\x80\x01",
        b"\x41\x01x",
        b"\x40\x01n\x81\x1f",
        b"\x00\x01a\x01b",
        b"\x10\x01a\x00",
        b"\x20",
        b"\x3f\xe1\x1f",
        b"\x3f\xe2\x1f",
        b"\x80",
        b"\x7f",
        b"\x0f\x2f\x03abc",
        b"\x44\x84\xff\xff\xff\xff",
    ]
)


@settings(max_examples=400, deadline=None)
@given(blocks=st.lists(st.one_of(st.binary(max_size=30), st.lists(pieces, max_size=8).map(b"".join)), min_size=1, max_size=4))
@example(blocks=[b"\x40\x01a\x01b" + b"\xbe" * 3, b"\x20", b"\xbe"])
def test_any_bytes_mean_the_same_to_both(blocks: list[bytes]) -> None:
    ours, oracle = FieldDecoder(1000), hpack.Decoder(max_header_list_size=1000)
    for block in blocks:
        try:
            expected = [(bytes(name), bytes(value)) for name, value in oracle.decode(block, raw=True)]
        except OversizedHeaderListError:
            with pytest.raises((TooManyFields, BadBlock)):
                ours.decode(block)
            return
        except HPACKError:
            with pytest.raises((BadBlock, TooManyFields)):
                ours.decode(block)
            return
        assert [(n.encode("latin-1"), v.encode("latin-1")) for n, v in ours.decode(block)] == expected


@pytest.mark.parametrize(
    "block",
    [b"\x80", b"\xbe", b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x40", b"\x00\x05a", b"\x82\x20", b"\x3f\xff\x3f"],
    ids=["index 0", "no such entry", "cut", "long integer", "no name", "short name", "size behind a field", "table too large"],
)
def test_what_is_not_hpack_is_refused(block: bytes) -> None:
    with pytest.raises(BadBlock):
        FieldDecoder(1000).decode(block)


def test_the_table_forgets_the_oldest_and_stays_in_its_bound() -> None:
    decoder = FieldDecoder(1 << 20)
    for number in range(200):  # 62 bytes each, 66 of them fit
        decoder.decode(b"\x40\x0aname-%05d\x14%020d" % (number, number))
    assert decoder.decode(b"\xbe") == [("name-00199", f"{199:020d}")]
    assert decoder.decode(b"\xff\x00")[0][0] == "name-00134"  # index 127 is the last that one byte of integer reaches
    with pytest.raises(BadBlock):
        decoder.decode(b"\xff\x01")


def test_one_small_block_cannot_expand_without_end() -> None:
    decoder = FieldDecoder(64 * 1024)
    decoder.decode(b"\x41\x7f\xa1\x1e" + b"b" * 4000)
    with pytest.raises(TooManyFields):
        decoder.decode(b"\xbe" * 100)
