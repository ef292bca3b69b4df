"""The authority is made once, survives restarts, and refuses to be half there."""

import datetime
import os
import ssl
import stat
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from edgekube.pki.authority import AuthorityDamaged, Subject, load_or_create_authority
from edgekube.pki.certificates import (
    SERVER_NAME,
    admin_subject,
    agent_server_name,
    ensure,
    node_subject,
    server_subject,
    subject_of,
)
from edgekube.pki.requests import parse_request, request_pem

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def test_the_authority_is_made_once_and_loaded_afterwards(tmp_path: Path) -> None:
    first = load_or_create_authority(tmp_path, now=NOW)
    again = load_or_create_authority(tmp_path, now=NOW + 30 * DAY)
    assert again.certificate_pem == first.certificate_pem
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["ca.crt", "ca.key"]
    basic = first.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic.ca and basic.path_length == 0


def test_two_clusters_have_authorities_with_different_names(tmp_path: Path) -> None:
    one = load_or_create_authority(tmp_path / "one", now=NOW)
    two = load_or_create_authority(tmp_path / "two", now=NOW)
    assert one.certificate.subject != two.certificate.subject


def test_a_key_without_certificate_is_what_a_power_cut_leaves_and_is_made_anew(tmp_path: Path) -> None:
    load_or_create_authority(tmp_path, now=NOW)
    (tmp_path / "ca.crt").unlink()
    assert load_or_create_authority(tmp_path, now=NOW).certificate_pem == (tmp_path / "ca.crt").read_bytes()


def test_a_certificate_without_its_key_is_refused_and_left_alone(tmp_path: Path) -> None:
    load_or_create_authority(tmp_path, now=NOW)
    (tmp_path / "ca.key").unlink()
    before = (tmp_path / "ca.crt").read_bytes()
    with pytest.raises(AuthorityDamaged, match="restore the key"):
        load_or_create_authority(tmp_path, now=NOW)
    assert (tmp_path / "ca.crt").read_bytes() == before


def test_the_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    load_or_create_authority(tmp_path / "one", now=NOW)
    load_or_create_authority(tmp_path / "two", now=NOW)
    (tmp_path / "one" / "ca.key").write_bytes((tmp_path / "two" / "ca.key").read_bytes())
    with pytest.raises(AuthorityDamaged, match="not the key"):
        load_or_create_authority(tmp_path / "one", now=NOW)


def test_garbage_is_refused_with_the_directory_named(tmp_path: Path) -> None:
    load_or_create_authority(tmp_path, now=NOW)
    (tmp_path / "ca.crt").write_bytes(b"half a certif")
    with pytest.raises(AuthorityDamaged, match="cannot be read"):
        load_or_create_authority(tmp_path, now=NOW)


def test_a_leaf_says_who_and_what_for(tmp_path: Path) -> None:
    authority = load_or_create_authority(tmp_path, now=NOW)
    pem, _ = authority.issue(node_subject("pi-7", ["192.0.2.7"]), now=NOW)
    leaf = x509.load_pem_x509_certificate(pem)
    leaf.verify_directly_issued_by(authority.certificate)
    assert subject_of(leaf) == ("system:node:pi-7", ("system:nodes",))
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert agent_server_name("pi-7") in names.get_values_for_type(x509.DNSName)
    assert leaf.not_valid_before_utc < NOW < leaf.not_valid_after_utc
    assert leaf.not_valid_before_utc == NOW - DAY


def test_a_leaf_never_outlives_its_authority(tmp_path: Path) -> None:
    authority = load_or_create_authority(tmp_path, now=NOW)
    late = authority.certificate.not_valid_after_utc - 3 * DAY
    pem, _ = authority.issue(admin_subject(), now=late)
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_what_is_wanted_for_an_hour_is_not_valid_for_a_day_before(tmp_path: Path) -> None:
    authority = load_or_create_authority(tmp_path, now=NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    request = parse_request(request_pem(key, Subject("tester"))).csr
    for lifetime, back in ((DAY / 24, datetime.timedelta(minutes=5)), (365 * DAY, DAY)):
        pem = authority.sign_request(request, key_usages=frozenset(), extended_usages=[], now=NOW, lifetime=lifetime)
        leaf = x509.load_pem_x509_certificate(pem)
        assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (NOW - back, NOW + lifetime)


def test_ensure_keeps_what_is_good_and_renews_what_is_not(tmp_path: Path) -> None:
    authority = load_or_create_authority(tmp_path, now=NOW)
    subject = server_subject(["pi-7", "192.0.2.7"], "cluster.local")

    def serial(now: datetime.datetime, wanted: Subject = subject) -> int:
        pair = ensure(authority, tmp_path, "server", wanted, now=now)
        return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number

    first = serial(NOW)
    assert serial(NOW + 100 * DAY) == first, "two thirds of its life are left"
    renewed = serial(NOW + 300 * DAY)
    assert renewed != first, "less than a third is left"
    moved = serial(NOW + 300 * DAY, server_subject(["pi-7", "192.0.2.9"], "cluster.local"))
    assert moved != renewed, "an address is missing in the old one"
    (tmp_path / "server.key").write_bytes(b"")
    assert serial(NOW + 300 * DAY, server_subject(["pi-7", "192.0.2.9"], "cluster.local")) != moved


def test_a_key_of_another_type_than_wanted_is_replaced(tmp_path: Path) -> None:
    authority = load_or_create_authority(tmp_path, now=NOW)
    pair = ensure(authority, tmp_path, "admin", msgspec.structs.replace(admin_subject(), key_type="EC"), now=NOW)
    before = pair.key.read_bytes()
    ensure(authority, tmp_path, "admin", admin_subject(), now=NOW)
    replaced = pair.key.read_bytes()
    assert before.startswith(b"-----BEGIN PRIVATE KEY-----") and replaced.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    ensure(authority, tmp_path, "admin", admin_subject(), now=NOW)
    assert pair.key.read_bytes() == replaced


def test_another_authority_makes_every_leaf_anew(tmp_path: Path) -> None:
    old = load_or_create_authority(tmp_path / "old", now=NOW)
    new = load_or_create_authority(tmp_path / "new", now=NOW)
    ensure(old, tmp_path, "admin", admin_subject(), now=NOW)
    pair = ensure(new, tmp_path, "admin", admin_subject(), now=NOW)
    x509.load_pem_x509_certificate(pair.certificate.read_bytes()).verify_directly_issued_by(new.certificate)


def test_openssl_accepts_the_chain_for_the_cluster_name(tmp_path: Path) -> None:
    """A real handshake in memory: the client pins the CA and verifies the server by name, the server the client's certificate."""
    now = datetime.datetime.now(datetime.UTC)
    authority = load_or_create_authority(tmp_path, now=now)
    server_pair = ensure(authority, tmp_path, "server", server_subject([], "cluster.local"), now=now)
    client_pair = ensure(authority, tmp_path, "admin", admin_subject(), now=now)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(server_pair.certificate, server_pair.key)
    server_context.load_verify_locations(tmp_path / "ca.crt")
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    client_context.load_cert_chain(client_pair.certificate, client_pair.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=SERVER_NAME)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    peer = server.getpeercert()
    assert peer is not None and peer["subject"] == ((("organizationName", "system:masters"),), (("commonName", "system:admin"),))
