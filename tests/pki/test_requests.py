"""Signing requests: made with a key that stays, read only when they are signed by it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edgekube.pki.authority import Subject
from edgekube.pki.requests import RequestUnreadable, load_or_create_key, parse_request, public_key_hash, request_pem


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "pki" / "node.key"
    key = load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_key(path).private_numbers() == key.private_numbers()
    path.write_text("not a key")
    with pytest.raises(ValueError, match=str(path)):
        load_or_create_key(path)


def test_what_is_asked_for_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = Subject("system:node:pi-7", ("system:nodes",), "server", ("pi-7.node.edgekube.internal", "192.0.2.7"))
    read = parse_request(request_pem(key, subject))
    assert (read.common_name, read.organizations) == ("system:node:pi-7", ("system:nodes",))
    assert (read.dns_names, read.addresses, read.emails, read.uris) == (("pi-7.node.edgekube.internal",), ("192.0.2.7",), (), ())
    assert read.public_key == public_key_hash(key.public_key())


def test_a_request_that_another_key_signed_is_refused() -> None:
    pem = request_pem(ec.generate_private_key(ec.SECP256R1()), Subject("system:node:pi-7", ("system:nodes",)))
    der = bytearray(x509.load_pem_x509_csr(pem.encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    changed = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(RequestUnreadable, match="its own key"):
        parse_request(changed)


@pytest.mark.parametrize(
    "pem", ["", "nonsense", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_nonsense_is_refused(pem: str) -> None:
    with pytest.raises(RequestUnreadable):
        parse_request(pem)
