"""Failures are counted by address, forgotten with time, and remembered for a bounded number of peers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.server.attempts import Attempts, network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.7:51234", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ("[2001:db8::ffff:1]:9", "2001:db8::/64"),
        ("[fe80::1%eth0]:9", "fe80::/64"),
        ("[::ffff:192.0.2.7]:9", "192.0.2.7"),
        ("2001:db8::1:443", "2001:db8::/64"),
        ("unix", "unix"),
    ],
)
def test_peers_count_by_their_network(peer: str, network: str) -> None:
    assert network_of(peer) == network


def test_a_peer_waits_after_its_failures_and_others_do_not() -> None:
    attempts = Attempts(failures_max=3, seconds_per_failure=10)
    for _ in range(3):
        assert attempts.wait_seconds("192.0.2.7:1", 100.0) == 0
        attempts.failed("192.0.2.7:1", 100.0)
    assert attempts.wait_seconds("192.0.2.7:2", 100.0) == 10
    assert attempts.wait_seconds("192.0.2.8:1", 100.0) == 0
    assert attempts.wait_seconds("192.0.2.7:1", 110.0) == 0
    attempts.failed("192.0.2.7:1", 110.0)
    assert attempts.wait_seconds("192.0.2.7:1", 110.0) == 10
    assert attempts.wait_seconds("192.0.2.7:1", 140.0) == 0


@given(st.lists(st.floats(0, 3), max_size=200), st.integers(1, 5))
def test_no_more_than_the_rate_gets_through(pauses: list[float], most: int) -> None:
    attempts = Attempts(failures_max=most, seconds_per_failure=2.0)
    now, tried = 0.0, 0
    for pause in pauses:
        now += pause
        if attempts.wait_seconds("192.0.2.7:1", now) == 0:
            tried += 1
            attempts.failed("192.0.2.7:1", now)
        assert tried <= most + now / 2.0 + 1e-6


def test_a_flood_of_addresses_is_bounded_and_forgets_the_oldest() -> None:
    attempts = Attempts(failures_max=1, seconds_per_failure=1000, peers_max=10)
    for number in range(30):
        attempts.failed(f"10.0.0.{number}:1", 0.0)
    assert len(attempts._forgotten_at) == 10
    assert attempts.wait_seconds("10.0.0.29:1", 0.0) > 0 and attempts.wait_seconds("10.0.0.0:1", 0.0) == 0
