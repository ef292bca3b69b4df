"""The address to try: what failed goes behind the others, and nothing known is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube import limits
from edgekube.client.addresses import Address, ServerAddresses
from edgekube.client.doors import address_of, url_of

ADDRESSES = st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 2))


def test_a_failure_moves_on_to_the_next_and_comes_round() -> None:
    servers = ServerAddresses([("a", 1), ("b", 1), ("a", 1)])
    assert servers.current() == ("a", 1)
    servers.unreachable(("a", 1))
    servers.unreachable(("a", 1))  # told late, of an address that is not tried any more
    assert servers.current() == ("b", 1)
    servers.offer([("c", 1)])
    servers.offer([("d", 1)], first=True)
    assert servers.all() == (("d", 1), ("b", 1), ("a", 1), ("c", 1))


def test_without_any_address_a_connection_fails_as_any_other() -> None:
    with pytest.raises(OSError, match="no server's address"):
        ServerAddresses([]).current()


@given(st.lists(ADDRESSES), st.lists(st.tuples(st.sampled_from(["fail", "offer", "first"]), ADDRESSES)))
def test_an_address_is_there_once_and_is_never_lost(first: list[Address], steps: list[tuple[str, Address]]) -> None:
    servers, known = ServerAddresses(first), set(first)
    for step, address in steps:
        if step == "fail":
            servers.unreachable(address)
        else:
            servers.offer([address], first=step == "first")
            known.add(address)
            if step == "first":
                assert servers.current() == address
        assert len(servers.all()) == len(known) and set(servers.all()) == known


def test_a_flood_of_offers_is_bounded_and_pushes_out_nobody_who_was_given() -> None:
    given = [("a", 1), ("b", 1)]
    servers = ServerAddresses(given)
    for number in range(200):
        servers.offer([(f"x{number}", 1)], first=number % 2 == 0)
    assert len(servers.all()) == limits.SERVER_ADDRESSES_MAX and set(given) <= set(servers.all())
    assert servers.current() == ("x198", 1)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://192.0.2.1:7443", ("192.0.2.1", 7443)),
        ("https://[fd00::1]:6443", ("fd00::1", 6443)),
        ("https://pi-1", ("pi-1", 6443)),
    ],
)
def test_an_url_is_an_address(url: str, address: Address) -> None:
    assert address_of(url) == address and address_of(url_of(address)) == address
