"""The desk for certificates: who may use it, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE
from edgekube.api.node_trust import annotations_for
from edgekube.daemon.certificates import KeptCertificates
from edgekube.daemon.identity import Identity, prepare_identity
from edgekube.pki.clock import Clock
from edgekube.server.certificates import CertificateDesk
from edgekube.settings import Settings
from edgekube.wire.protocol import Request, Responder
from tests.server.secured import Secured, admin, node, secured_api

PATH = "/edgekube/v1/certificates"


class Office:
    """The server's own certificates, beside an API whose admins may replace them."""

    def __init__(self, directory: Path) -> None:
        self.settings = Settings("pi-1", data_dir=directory, admin_kubeconfig=directory / "kubeconfig.yaml")
        self.identity: Identity = prepare_identity(self.settings, "192.0.2.1")
        self.kept = KeptCertificates(self.settings, self.identity, Clock(), ("192.0.2.1",))
        self.desk: CertificateDesk | None = None

    async def serve(self, request: Request, responder: Responder) -> None:
        assert self.desk is not None
        await self.desk.serve(request, responder)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "office")


@pytest.fixture
async def api(tmp_path: Path, office: Office) -> AsyncIterator[Secured]:
    (tmp_path / "api").mkdir()
    async with secured_api(tmp_path / "api", desks=lambda: {"certificates": office.serve}) as api:
        office.desk = CertificateDesk(api.verbs, office.kept)
        yield api


async def register(api: Secured, office: Office, name: str, *, trusts_new: bool, holds_new: bool) -> None:
    old, new = (each["fingerprint"] for each in office.kept.report()["authorities"])
    told = annotations_for([old, new] if trusts_new else [old], new if holds_new else old, "2027-01-01T00:00:00Z")
    conditions = [{"type": "Ready", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    metadata = {"name": name, "annotations": told}
    try:
        made = await api.verbs.create(NODE, "", {"metadata": metadata})
        await api.verbs.update(NODE, {**made, "status": {"conditions": conditions}}, subresource="status")
    except StatusError:
        await api.verbs.patch(NODE, "", name, {"metadata": {"annotations": told}})


async def act(api: Secured, action: str, *, force: bool = False) -> Any:
    return await api.ask(admin(), "POST", PATH, {"action": action, "force": force})


async def test_only_whom_rbac_lets(api: Secured) -> None:
    assert (await api.ask(None, "GET", PATH)).status == 401
    assert (await api.ask(node("pi-7"), "GET", PATH)).status == 403
    assert (await api.ask(node("pi-7"), "POST", PATH, {"action": "rotate-ca"})).status == 403
    assert (await api.ask(admin(), "GET", PATH)).status == 200
    assert (await api.ask(admin(), "DELETE", PATH)).status == 405


async def test_an_unknown_action_is_told_the_known_ones(api: Secured) -> None:
    answer = await act(api, "rotate-everything")
    assert answer.status == 400 and "rotate-ca" in answer.text


async def test_a_rotation_waits_for_nodes_and_ends_only_when_nobody_needs_the_old_authority(api: Secured, office: Office) -> None:
    assert office.desk is not None
    first = office.identity.authority_pem
    assert (await act(api, "finish-ca")).json["done"].endswith("there is nothing to finish")
    assert (await act(api, "rotate-ca")).status == 200
    assert (await act(api, "rotate-ca")).json["done"] == "the authority is being replaced already"
    await register(api, office, "pi-7", trusts_new=False, holds_new=False)
    assert (await api.ask(admin(), "GET", PATH)).json["waitingFor"] == ["pi-7"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.desk.follow, office.kept.next_look)
        answer = await act(api, "finish-ca")
        assert answer.status == 409 and "pi-7" in answer.text and office.kept.phase == "trusting"
        await register(api, office, "pi-7", trusts_new=True, holds_new=False)
        with trio.fail_after(60):
            while (await api.ask(admin(), "GET", PATH)).json["phase"] != "signing":
                pass
        answer = await act(api, "finish-ca")
        assert answer.status == 409 and answer.json["reason"] == "Conflict"
        await register(api, office, "pi-7", trusts_new=True, holds_new=True)
        answer = await act(api, "finish-ca")
        assert answer.json["done"] == "the old authority is dropped" and answer.json["phase"] == "settled"
        nursery.cancel_scope.cancel()
    assert first not in office.identity.authority_pem


async def test_force_says_who_is_locked_out(api: Secured, office: Office) -> None:
    await act(api, "rotate-ca")
    await register(api, office, "pi-in-the-attic", trusts_new=False, holds_new=False)
    answer = await act(api, "finish-ca", force=True)
    assert answer.status == 200 and "have to join anew: pi-in-the-attic" in answer.json["done"]


async def test_token_keys_come_and_go(api: Secured, office: Office) -> None:
    assert (await act(api, "finish-service-account-key")).json["done"] == "there is no retired key"
    answer = await act(api, "rotate-service-account-key")
    assert [key["signs"] for key in answer.json["tokenKeys"]] == [True, False]
    answer = await act(api, "finish-service-account-key")
    assert answer.json["done"].startswith("1 retired keys are dropped") and len(answer.json["tokenKeys"]) == 1


async def test_leaves_are_replaced_at_once(api: Secured, office: Office) -> None:
    before = office.identity.server.certificate.read_bytes()
    assert (await act(api, "rotate")).status == 200
    assert office.identity.server.certificate.read_bytes() != before
