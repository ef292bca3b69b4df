"""Field blocks, read back by the hpack library."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.wire.field_block import NO_TABLE, response_block

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=300).map("x-".__add__)
values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20_000)
fields = st.dictionaries(names, values, max_size=8)
responses = st.tuples(st.integers(100, 599), fields, st.none() | st.integers(0, 2**40).map(str))


def read(decoder: hpack.Decoder, block: bytes) -> list[tuple[str, str]]:
    decoded = decoder.decode(block, raw=True)
    return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in decoded]


@settings(max_examples=60, deadline=None)
@given(answers=st.lists(responses, min_size=1, max_size=4), allowed=st.sampled_from([0, 100, 4096, 65536]))
def test_any_fields_come_back(answers: list[tuple[int, dict[str, str], str | None]], allowed: int) -> None:
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    decoder.max_allowed_table_size = allowed
    before = NO_TABLE
    for status, headers, length in answers:
        decoded = read(decoder, before + response_block(status, headers, length))
        before = b""
        assert decoded[0] == (":status", str(status))
        assert decoded[1 : len(headers) + 1] == list(headers.items())
        rest = dict(decoded[len(headers) + 1 :])
        assert rest.pop("date").endswith(" GMT")
        assert rest == ({} if length is None else {"content-length": length})


def test_what_belongs_to_the_connection_is_left_out() -> None:
    block = response_block(200, {"connection": "close", "content-length": "9", "a": "b"}, "3")
    assert block.startswith(b"\x88\x00\x01a\x01b")
    assert [name for name, _ in read(hpack.Decoder(), block)] == [":status", "a", "date", "content-length"]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0", "x" * 1000 + "\n"])
def test_a_line_break_is_refused(value: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="line break"):
            response_block(200, {"a": value}, None)
