"""When a node renews: neither too late nor all at once, and when its authority is being replaced."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgekube.pki.certificate_facts import CertificateFacts
from edgekube.pki.renewal import authority_of, renewal_at, spread_of, why_renew

DAY = 86400.0


def authority(name: bytes) -> CertificateFacts:
    return CertificateFacts(name.decode() * 8, name, name, 0, 3650 * DAY, "")


OLD, NEW = authority(b"old"), authority(b"new")


def held(issuer: CertificateFacts = OLD, begins: float = 0, days: float = 366) -> CertificateFacts:
    return CertificateFacts("leaf", issuer.subject, b"pi-7", begins, begins + days * DAY, "key")


spreads = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(spreads, st.floats(min_value=0, max_value=4e9), st.floats(min_value=0.001, max_value=3650))
def test_between_a_third_and_a_sixth_of_the_life_is_left(spread: float, begins: float, days: float) -> None:
    certificate = held(begins=begins, days=days)
    left = (certificate.not_after - renewal_at(certificate, spread)) / certificate.life_seconds
    assert 1 / 6 - 1e-3 <= left <= 1 / 3 + 1e-3


@given(st.text(min_size=1))
def test_a_node_has_its_own_moment_and_keeps_it(name: str) -> None:
    assert 0 <= spread_of(name) < 1 and spread_of(name) == spread_of(name)


def test_nodes_with_numbers_for_names_do_not_come_together() -> None:
    moments = sorted(spread_of(f"pi-{number}") for number in range(100))
    assert moments[0] < 0.1 and moments[-1] > 0.9
    assert sum(1 for one, next_ in pairwise(moments) if next_ - one > 0.001) > 80


@given(spreads, st.floats(min_value=0, max_value=800 * DAY))
def test_there_is_a_reason_from_that_moment_on_and_none_before(spread: float, now: float) -> None:
    why = why_renew(held(), [OLD], OLD.fingerprint, now, spread)
    assert bool(why) == (now >= renewal_at(held(), spread))


def test_the_reasons() -> None:
    assert why_renew(held(), [OLD], "", 400 * DAY, 0.5) == "it has expired"
    assert why_renew(held(), [OLD, NEW], OLD.fingerprint, 1, 0.5) == ""
    assert why_renew(held(), [OLD, NEW], NEW.fingerprint, 1, 0.5) == "another authority signs now"
    assert why_renew(held(), [OLD], NEW.fingerprint, 1, 0.5) == "", "not before the new one is trusted here"
    assert why_renew(held(), [NEW], NEW.fingerprint, 1, 0.5) == "its authority is trusted no longer"
    assert why_renew(held(NEW), [OLD, NEW], NEW.fingerprint, 1, 0.5) == ""


def test_the_authority_is_found_by_its_name() -> None:
    assert authority_of(held(), [NEW, OLD]) is OLD and authority_of(held(), [NEW]) is None
