"""A crowd at the door: what it may hold, who gives way, and when it is over."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.client.joining import what_is_asked
from edgekube.pki.pairing import State, commitment, new_nonce
from edgekube.pki.requests import parse_request
from edgekube.server.issuing import Asked, asked_from
from edgekube.server.pairings import Pairing, Pairings
from tests.server.joining import Machine

CA = "cc" * 32


class Crowd:
    """Machines of one key each; making a key for each of a thousand would be the slow part, so names and serials vary instead."""

    def __init__(self) -> None:
        self.pairings = Pairings()
        self.now = 0.0
        self._machine = Machine("template")
        asked = asked_from(what_is_asked("template", self._machine.key, ""))
        assert parse_request(asked.client_pem).public_key == self._machine.public_key
        self._template = asked
        self._count = 0

    def asked(self, name: str, serial: str, key: str) -> Asked:
        client = replace(self._template.client, public_key=key)
        return replace(self._template, node_name=name, serial=serial, client=client)

    def start(self, peer: str, name: str = "", serial: str = "", key: str = "") -> tuple[Pairing, bytes]:
        self._count += 1
        name, key = name or f"pi-{self._count}", key or f"{self._count:064x}"
        self.pairings.knock(f"{peer}:40000", self.now)
        nonce = new_nonce()
        committed = commitment(key, name, serial, nonce)
        return self.pairings.start(self.asked(name, serial, key), CA, "id", committed, f"{peer}:40000", self.now), nonce

    def waiting(self, peer: str, **fields: str) -> Pairing:
        pairing, nonce = self.start(peer, **fields)
        return self.pairings.reveal(pairing.id, nonce, self.now)


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def reason(call: Callable[[], Any]) -> str:
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value.reason


def test_a_flood_from_one_address_costs_that_address_only(crowd: Crowd) -> None:
    honest = crowd.waiting("192.0.2.7", name="pi-7")
    refused = 0
    for _ in range(2000):
        crowd.now += 0.01
        try:
            crowd.start("192.0.2.66")
        except StatusError as error:
            assert error.reason == "TooManyRequests"
            refused += 1
    assert refused > 1900
    assert len(crowd.pairings) <= limits.PAIRINGS_MAX
    assert sum(pairing.open for pairing in crowd.pairings) <= limits.PAIRINGS_PER_PEER_MAX + 1
    assert crowd.pairings.match("pi-7", honest.exchange.code, crowd.now) is honest


def test_a_flood_from_many_addresses_is_bounded_and_one_more_still_gets_in(crowd: Crowd) -> None:
    for host in range(20):
        for _ in range(10):
            try:
                crowd.waiting(f"192.0.2.{host}")
            except StatusError as error:
                assert error.reason == "TooManyRequests"
    assert len(crowd.pairings) == limits.PAIRINGS_MAX
    late = crowd.waiting("198.51.100.7", name="late")
    assert late.open and len(crowd.pairings) == limits.PAIRINGS_MAX


def test_the_addresses_of_one_ipv6_network_are_one(crowd: Crowd) -> None:
    for host in range(200):
        try:
            crowd.start(f"[2001:db8::{host:x}]")
        except StatusError:
            continue
    assert sum(pairing.open for pairing in crowd.pairings) <= limits.PAIRINGS_PER_PEER_MAX


def test_nobody_is_pushed_out_by_one_who_calls_himself_the_same(crowd: Crowd) -> None:
    honest = crowd.waiting("192.0.2.7", name="pi-7", serial="s1")
    for host in range(1, limits.PAIRINGS_PER_NAME_MAX):
        crowd.waiting(f"192.0.2.6{host}", name="pi-7")
    assert reason(lambda: crowd.start("192.0.2.99", name="pi-7")) == "TooManyRequests"
    crowd.waiting("192.0.2.80", name="other", serial="s1")
    assert reason(lambda: crowd.start("192.0.2.81", name="another", serial="s1")) == "TooManyRequests"
    assert crowd.pairings.match("pi-7", honest.exchange.code, crowd.now) is honest


def test_a_wrong_code_burns_all_who_wait_under_the_name(crowd: Crowd) -> None:
    mine, his = crowd.waiting("192.0.2.7", name="pi-7"), crowd.waiting("192.0.2.66", name="pi-7")
    other = crowd.waiting("192.0.2.8", name="pi-8")
    codes = {mine.exchange.code, his.exchange.code}
    wrong = next(code for code in ("000000", "000001", "000002") if code not in codes)
    assert reason(lambda: crowd.pairings.match("pi-7", wrong, crowd.now)) == "Forbidden"
    assert (mine.exchange.state, his.exchange.state, other.exchange.state) == (State.BURNED, State.BURNED, State.PENDING)


def test_who_is_let_in_ends_the_others_of_that_name(crowd: Crowd) -> None:
    mine, his = crowd.waiting("192.0.2.7", name="pi-7"), crowd.waiting("192.0.2.66", name="pi-7")
    crowd.pairings.approve(crowd.pairings.match("pi-7", mine.exchange.code, crowd.now), crowd.now)
    assert (mine.exchange.state, his.exchange.state) == (State.APPROVED, State.REJECTED)
    assert reason(lambda: crowd.pairings.approve(mine, crowd.now)) == "Conflict"


def test_time_ends_everything(crowd: Crowd) -> None:
    silent, _ = crowd.start("192.0.2.7")
    waiting = crowd.waiting("192.0.2.8")
    crowd.now = limits.PAIRING_REVEAL_SECONDS
    assert reason(lambda: crowd.pairings.find(silent.id, crowd.now)) == "NotFound"
    assert crowd.pairings.find(waiting.id, crowd.now).open
    crowd.now = limits.PAIRING_SECONDS
    assert crowd.pairings.pending(crowd.now) == []
    assert waiting.exchange.state is State.EXPIRED and len(crowd.pairings) == 0


def test_guesses_under_a_name_are_counted_and_forgotten_with_time(crowd: Crowd) -> None:
    for host in range(limits.PAIRING_GUESSES_PER_NAME_MAX):
        crowd.start(f"192.0.2.{host}", name="pi-7", key="ab" * 32)
    assert reason(lambda: crowd.start("192.0.2.200", name="pi-7", key="ab" * 32)) == "TooManyRequests"
    crowd.now = limits.PAIRING_SECONDS
    assert crowd.waiting("192.0.2.200", name="pi-7").open


def test_names_and_commitments_are_not_remembered_without_end(crowd: Crowd) -> None:
    for number in range(limits.PAIRING_NAMES_MAX + 200):
        crowd.now += 0.001
        try:
            crowd.start(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
        except StatusError:
            continue
    sizes = (len(crowd.pairings), len(crowd.pairings._begun), len(crowd.pairings._commitments))
    bounds = (limits.PAIRINGS_MAX, limits.PAIRING_NAMES_MAX + 1, limits.PAIRING_COMMITMENTS_MAX + 1)
    assert all(size <= bound for size, bound in zip(sizes, bounds, strict=True)), sizes


class Door(RuleBasedStateMachine):
    """Whatever comes in whatever order: the bounds hold, nobody is let in without his code, nothing that is over comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.crowd = Crowd()
        self.begun: list[tuple[Pairing, bytes]] = []
        self.over: dict[str, State] = {}
        self.let_in: set[str] = set()

    @rule(peer=st.integers(1, 6), name=st.integers(1, 4), serial=st.integers(0, 2), key=st.integers(1, 8))
    def start(self, peer: int, name: int, serial: int, key: int) -> None:
        fields = {"name": f"pi-{name}", "serial": "s" * serial, "key": f"{key:064x}"}
        with contextlib.suppress(StatusError):
            self.begun.append(self.crowd.start(f"192.0.2.{peer}", **fields))

    @rule(which=st.integers(0, 30), honest=st.booleans())
    def reveal(self, which: int, honest: bool) -> None:
        if self.begun:
            pairing, nonce = self.begun[which % len(self.begun)]
            with contextlib.suppress(StatusError):
                self.crowd.pairings.reveal(pairing.id, nonce if honest else new_nonce(), self.crowd.now)

    @rule(which=st.integers(0, 30))
    def approve(self, which: int) -> None:
        waiting = self.crowd.pairings.pending(self.crowd.now)
        if waiting:
            pairing = waiting[which % len(waiting)]
            found = self.crowd.pairings.match(pairing.asked.node_name, pairing.exchange.code, self.crowd.now)
            self.crowd.pairings.approve(found, self.crowd.now)
            self.let_in.add(found.id)

    @rule(name=st.integers(1, 4), digits=st.integers(0, 999_999))
    def type_something(self, name: int, digits: int) -> None:
        with contextlib.suppress(StatusError):
            found = self.crowd.pairings.match(f"pi-{name}", f"{digits:06d}", self.crowd.now)
            assert found.exchange.code == f"{digits:06d}"

    @rule(name=st.integers(1, 4))
    def reject(self, name: int) -> None:
        with contextlib.suppress(StatusError):
            self.crowd.pairings.reject(f"pi-{name}", self.crowd.now)

    @rule(seconds=st.sampled_from([0.1, 5.0, 60.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.crowd.now += seconds

    @invariant()
    def bounded(self) -> None:
        held = [pairing for pairing in self.crowd.pairings if pairing.open]
        assert len(self.crowd.pairings) <= limits.PAIRINGS_MAX
        assert max(Counter(pairing.network for pairing in held).values(), default=0) <= limits.PAIRINGS_PER_PEER_MAX
        assert max(Counter(p.asked.node_name for p in held).values(), default=0) <= limits.PAIRINGS_PER_NAME_MAX
        assert max(Counter(p.asked.serial for p in held if p.asked.serial).values(), default=0) <= limits.PAIRINGS_PER_SERIAL_MAX

    @invariant()
    def final(self) -> None:
        for pairing, _ in self.begun:
            state = pairing.exchange.state
            assert self.over.get(pairing.id, state) is state
            if not pairing.open:
                self.over[pairing.id] = state
            assert (state is State.APPROVED) == (pairing.id in self.let_in)


TestDoor = Door.TestCase
TestDoor.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
