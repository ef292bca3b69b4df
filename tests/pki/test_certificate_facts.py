"""The little reader of certificates says what the library says, and never more than ValueError of anything else."""

from __future__ import annotations

import contextlib
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from edgekube.pki.authority import Subject, distinguished_name
from edgekube.pki.certificate_facts import facts_in_pem, facts_of, name_of

KEY = ec.generate_private_key(ec.SECP256R1())
moments = st.datetimes(datetime.datetime(1951, 1, 1), datetime.datetime(2400, 1, 1)).map(lambda m: m.replace(microsecond=0))


def certificate(begins: datetime.datetime, ends: datetime.datetime, common_name: str = "pi-7") -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgekube-ca")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(KEY.public_key())
    return builder.serial_number(7).not_valid_before(begins).not_valid_after(ends).sign(KEY, hashes.SHA256())


@given(moments, moments, st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=16))
def test_it_says_what_the_library_says(one: datetime.datetime, other: datetime.datetime, common_name: str) -> None:
    made = certificate(min(one, other), max(one, other), common_name)
    facts = facts_of(made.public_bytes(Encoding.DER))
    assert facts.not_before == made.not_valid_before_utc.timestamp()
    assert facts.not_after == made.not_valid_after_utc.timestamp()
    assert facts.subject == made.subject.public_bytes() and facts.issuer == made.issuer.public_bytes()
    assert facts.fingerprint == made.fingerprint(hashes.SHA256()).hex()


def test_a_bundle_is_read_in_order() -> None:
    begins = datetime.datetime(2026, 1, 1)
    made = [certificate(begins, begins + datetime.timedelta(days=days)) for days in (1, 2)]
    pem = "# the cluster's\n" + "".join(each.public_bytes(Encoding.PEM).decode() for each in made)
    assert [facts.fingerprint for facts in facts_in_pem(pem)] == [each.fingerprint(hashes.SHA256()).hex() for each in made]


WHOLE = certificate(datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1)).public_bytes(Encoding.DER)


@given(st.binary(max_size=200))
def test_noise_is_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError):
        facts_of(data)


@given(st.data())
def test_a_bent_certificate_is_a_value_error_at_most(data: st.DataObject) -> None:
    der = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        facts_of(bytes(der[: data.draw(st.integers(0, len(der)))]))


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40).filter(
        lambda text: len(text.encode()) <= 64
    ),
    st.lists(st.sampled_from(["system:nodes", "system:masters", "ö" * 30]), max_size=6),
)
def test_a_subject_is_written_as_the_authority_writes_it(common_name: str, organizations: list[str]) -> None:
    assert name_of(common_name, organizations) == distinguished_name(Subject(common_name, tuple(organizations))).public_bytes()
