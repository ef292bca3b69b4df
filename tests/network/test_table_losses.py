"""What the kernel says about tables, read from its own messages."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.network.table_losses import deleted_tables
from tests.network.rig import Rig, RigKernel


def message(kind: int, family: int, name: bytes) -> bytes:
    attribute = struct.pack("=HH", 4 + len(name) + 1, 1) + name + b"\0"
    body = struct.pack("=BBH", family, 0, 0) + attribute + b"\0" * (-len(attribute) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_only_deletions_are_named() -> None:
    new, gone = message(10 << 8, 2, b"edgekube"), message(10 << 8 | 2, 10, b"edgekube")
    assert list(deleted_tables(new + gone + message(10 << 8 | 2, 1, b"filter"))) == ["ip6 edgekube", "inet filter"]


@given(st.binary(max_size=200))
def test_whatever_comes_is_no_error(messages: bytes) -> None:
    assert all(isinstance(each, str) for each in deleted_tables(messages))


@pytest.mark.root
def test_the_kernels_own_message(rig: Rig) -> None:
    with RigKernel(rig).news() as news:
        rig.inside("node", ["nft", "add table ip here; delete table ip here"])
        news.setblocking(True)
        news.settimeout(30)
        seen: list[str] = []
        while not seen:
            seen += deleted_tables(news.recv(65536))
    assert seen == ["ip here"]
