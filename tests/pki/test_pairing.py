"""The exchange behind the six digits, as a dialogue, with a liar in between, and over every state."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube.pki.pairing import (
    Mismatch,
    OutOfTurn,
    Party,
    ServerExchange,
    State,
    code,
    commitment,
    new_nonce,
    nonce_from,
    shown,
    typed,
)

PI = Party("aa" * 32, "pi-7", "100000003d1d1c36", "cc" * 32, "3fa2b1c9-0d7e-4a51-9c0b-2f8f6a1f0a11")


def begun(party: Party = PI, nonce: bytes = b"n" * 32, server_nonce: bytes = b"s" * 32) -> ServerExchange:
    committed = commitment(party.public_key, party.node_name, party.serial, nonce)
    return ServerExchange(party, committed, server_nonce)


def test_both_ends_show_the_same_code() -> None:
    exchange = begun()
    assert (exchange.state, exchange.code) == (State.COMMITTED, "")
    exchange.reveal(b"n" * 32)
    assert exchange.code == code(PI, b"n" * 32, b"s" * 32)
    assert exchange.is_code(exchange.code)
    exchange.approve()
    assert not exchange.is_code(exchange.code)


def test_the_code_is_what_it_was() -> None:
    """A change here makes old nodes and new servers show different codes: give the tags a new number then."""
    assert shown(code(PI, b"n" * 32, b"s" * 32)) == "560-969"
    assert commitment(PI.public_key, PI.node_name, PI.serial, b"n" * 32).hex()[:16] == "25228050a6190a55"


OTHERWISE = [
    {"public_key": "ab" * 32},
    {"node_name": "pi-8"},
    {"serial": "100000003d1d1c37"},
    {"authority": "cd" * 32},
    {"cluster_id": "x"},
    {"node_name": "pi-7100000003d1d1c3", "serial": "6"},
]


@given(st.sampled_from(OTHERWISE), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_whatever_one_end_sees_otherwise_changes_the_code(other: dict[str, str], node_nonce: bytes, server_nonce: bytes) -> None:
    """But for one in a million, which hypothesis does not find."""
    changed = replace(PI, **other)
    assert code(changed, node_nonce, server_nonce) != code(PI, node_nonce, server_nonce)


def test_codes_are_spread_evenly() -> None:
    counts = Counter(code(PI, number.to_bytes(32, "big"), b"s" * 32)[0] for number in range(20_000))
    assert set(counts) == set("0123456789")
    assert all(1800 < count < 2200 for count in counts.values())


@given(st.binary(min_size=32, max_size=32).filter(lambda nonce: nonce != b"n" * 32))
def test_another_nonce_than_the_committed_one_ends_the_exchange(nonce: bytes) -> None:
    exchange = begun()
    with pytest.raises(Mismatch):
        exchange.reveal(nonce)
    assert exchange.state is State.BURNED
    with pytest.raises(OutOfTurn):
        exchange.reveal(b"n" * 32)


def test_a_replayed_nonce_is_out_of_turn() -> None:
    exchange = begun()
    exchange.reveal(b"n" * 32)
    with pytest.raises(OutOfTurn):
        exchange.reveal(b"n" * 32)
    assert exchange.is_code(exchange.code)


@given(st.lists(st.sampled_from(["reveal", "approve", "reject", "burn", "expire"]), max_size=6))
def test_an_exchange_goes_forward_only(steps: list[str]) -> None:
    exchange = begun()
    ended = ""
    for step in steps:
        before = exchange.state
        try:
            if step == "reveal":
                exchange.reveal(b"n" * 32)
            else:
                getattr(exchange, step)()
        except OutOfTurn:
            assert exchange.state is before
            continue
        assert not ended, f"{step} after {ended}"
        if exchange.state not in (State.COMMITTED, State.PENDING):
            ended = step
        assert (exchange.state is State.APPROVED) <= bool(exchange.code)


def test_nothing_is_a_code_before_both_nonces_are_known() -> None:
    exchange = begun()
    assert not exchange.is_code("")
    with pytest.raises(OutOfTurn):
        exchange.approve()


def test_a_man_in_the_middle_cannot_choose_the_code() -> None:
    """He shows the node his own CA and the server his own key, and must speak first on both sides: only chance helps him."""
    hits = 0
    for _ in range(2000):
        node_nonce, server_nonce, his = new_nonce(), new_nonce(), new_nonce()
        at_the_node = code(replace(PI, authority="ee" * 32), node_nonce, his)
        at_the_server = begun(replace(PI, public_key="dd" * 32), his, server_nonce)
        at_the_server.reveal(his)
        hits += at_the_server.is_code(at_the_node)
    assert hits <= 1  # two would happen once in 500,000 runs


@pytest.mark.parametrize("text", ["831-402", "831402", " 831 402 "])
def test_a_code_may_be_typed_as_people_type(text: str) -> None:
    assert typed(text) == "831402"


@pytest.mark.parametrize("text", ["", "831-40", "831-4022", "83140a", "٨٣١-٤٠٢", "831--402"])
def test_anything_else_is_no_code(text: str) -> None:
    assert typed(text) is None


def test_nonces_are_sent_as_hex() -> None:
    nonce = new_nonce()
    assert nonce_from(nonce.hex()) == nonce
    for text in ("", "ab" * 31, "AB" * 32, "zz" * 32):
        with pytest.raises(ValueError, match="64 hex"):
            nonce_from(text)
