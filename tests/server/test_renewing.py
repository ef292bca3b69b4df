"""A node renews by the key it is known by, and by nothing else."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edgekube import limits
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST
from edgekube.api.node_identity import NodeIdentity
from edgekube.client.joining import what_is_asked
from edgekube.pki.authority import Authority
from edgekube.pki.certificates import SERVER_NAME
from edgekube.pki.requests import public_key_hash
from edgekube.wire.client import http_client
from edgekube.wire.tls import client_context
from tests.server.renewing import renewing_api
from tests.server.running import Answer
from tests.server.secured import Secured, admin

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


class Board:
    """A node and its key; its certificate may be as old as you like."""

    def __init__(self, api: Secured, name: str = "pi-7") -> None:
        self.api = api
        self.name = name
        self.key = new_key()

    async def registered(self) -> Board:
        await self.api.nodes.change(
            self.name, lambda before: NodeIdentity(self.name, public_key_hash(self.key.public_key()), "x")
        )
        return self

    def files(self, key: Key, *, days: float, authority: Authority | None = None) -> tuple[Path, Path]:
        from cryptography.hazmat.primitives import serialization

        signer, now = authority or self.api.authority, datetime.datetime.now(datetime.UTC)
        request = x509.load_pem_x509_csr(what_is_asked(self.name, key, "")["clientRequest"].encode())
        usages = [x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")]
        lifetime = datetime.timedelta(days=days)
        if days <= 0:  # it was signed for a day, so long ago that it has ended
            now, lifetime = now + lifetime - datetime.timedelta(days=1), datetime.timedelta(days=1)
        pem = signer.sign_request(request, key_usages=frozenset(), extended_usages=usages, now=now, lifetime=lifetime)
        certificate, private = self.api.directory / "board.crt", self.api.directory / "board.key"
        certificate.write_bytes(pem)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return certificate, private

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: Key | None = None,
        days: float = 1,
        authority: Authority | None = None,
    ) -> Answer:
        certificate, private = self.files(key or self.key, days=days, authority=authority)
        context = client_context(self.api.directory / "ca.crt", None, certificate, private)
        with trio.fail_after(60):
            async with http_client("127.0.0.1", self.api.port, context=context, server_hostname=SERVER_NAME) as client:
                data = None if body is None else orjson.dumps(body)
                async with client.request(method, path, {"content-type": "application/json"}, data) as response:
                    return Answer(response.status, response.headers, await response.read(1 << 20))

    async def renew(self, new: Key, **how: Any) -> Answer:
        return await self.ask("POST", "/edgekube/v1/renew", what_is_asked(how.pop("name", self.name), new, ""), **how)

    async def reads(self, key: Key, **how: Any) -> int:
        answer = await self.ask("GET", f"/api/v1/nodes/{self.name}", key=key, **how)
        return answer.status


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Secured]:
    async with renewing_api(tmp_path) as api:
        yield api


async def test_a_new_key_gets_certificates_and_both_keys_are_good_until_the_new_one_was_used(
    api: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FORMER_KEY_GRACE_SECONDS", 0.0)
    board = await Board(api).registered()
    new = new_key()
    answer = await board.renew(new)
    assert answer.status == 200, answer.text
    issued = x509.load_pem_x509_certificate(answer.json["clientCertificate"].encode())
    assert public_key_hash(issued.public_key()) == public_key_hash(new.public_key())
    assert answer.json["cluster"]["cluster-name"] == "lab"
    assert await board.reads(board.key) == 404, "the answer may have been lost: the old key is still good"
    assert await board.reads(new) == 404
    with trio.fail_after(60):
        while await board.reads(board.key) != 401:
            pass
    assert await board.reads(new) == 404
    requests = await api.verbs.list(CERTIFICATESIGNINGREQUEST)
    assert len(requests.objects()) == 2, "kubectl get csr shows them"


async def test_an_expired_certificate_renews_and_does_nothing_else(api: Secured) -> None:
    board = await Board(api).registered()
    assert await board.reads(board.key, days=-0.5) == 401
    answer = await board.ask("GET", "/api/v1/pods", days=-0.5)
    assert answer.status == 401
    assert (await board.renew(new_key(), days=-0.5)).status == 200


async def test_an_expired_admin_is_nobody_and_told_so(api: Secured) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate, key = api.authority.issue(admin(), now=yesterday, days=0)
    (api.directory / "old.crt").write_bytes(certificate)
    (api.directory / "old.key").write_bytes(key)
    context = client_context(api.directory / "ca.crt", None, api.directory / "old.crt", api.directory / "old.key")
    async with http_client("127.0.0.1", api.port, context=context, server_hostname=SERVER_NAME) as client:
        for path in ("/api/v1/pods", "/version"):
            async with client.request("GET", path) as response:
                text = (await response.read(10_000)).decode()
                assert response.status == 401 and "the client certificate has expired" in text


async def test_a_lost_answer_is_asked_for_again_with_the_same_key_or_another(api: Secured) -> None:
    board = await Board(api).registered()
    lost, other = new_key(), new_key()
    for new in (lost, lost, other):
        assert (await board.renew(new)).status == 200
    assert await board.reads(board.key) == 404 and await board.reads(other) == 404
    assert await board.reads(lost) == 401, "nobody has ever answered it"


async def test_whoever_was_removed_or_revoked_gets_nothing(api: Secured) -> None:
    board = Board(api)
    answer = await board.renew(new_key())
    assert answer.status == 401 and "has to join again" in answer.text
    await board.registered()
    stolen = NodeIdentity("pi-7", public_key_hash(board.key.public_key()), "x", revoked="2026-01-01T00:00:00Z")
    await api.nodes.change("pi-7", lambda before: stolen)
    answer = await board.renew(new_key(), days=-0.5)
    assert answer.status == 401 and "was revoked" in answer.text


async def test_another_key_of_the_same_name_gets_nothing(api: Secured) -> None:
    board = await Board(api).registered()
    answer = await board.renew(new_key(), key=new_key())
    assert answer.status == 401 and "not the key" in answer.text


async def test_a_node_cannot_renew_for_another(api: Secured) -> None:
    board = await Board(api).registered()
    await Board(api, "pi-8").registered()
    answer = await board.renew(new_key(), name="pi-8")
    assert answer.status == 403 and "that of node pi-7" in answer.text


async def test_without_a_certificate_or_as_somebody_else_there_is_nothing_to_renew(api: Secured) -> None:
    body = what_is_asked("pi-7", new_key(), "")
    assert (await api.ask(None, "POST", "/edgekube/v1/renew", body)).status == 401
    assert (await api.ask(admin(), "POST", "/edgekube/v1/renew", body)).status == 403
