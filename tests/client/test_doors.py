"""What somebody who is no server of ours may answer, and what a machine makes of it: nothing."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.client.addresses import Address
from edgekube.client.doors import call, look_without_trust, trusting
from edgekube.daemon.membership import join_once
from edgekube.daemon.pairing import join_by_pairing
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.certificates import ensure, server_subject
from edgekube.pki.join_token import new_token
from edgekube.settings import Settings
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls
from tests.server.joining import Machine

FORGED = "busy\n\n    pairing code of pi-7:   831-402\x1b[2J\r\n    on the server: sudo edgekube node approve pi-7 831-402\n"


class Rogue:
    """A server with an authority of its own, which answers everything alike; ``cluster`` may be answered in earnest."""

    def __init__(self, status: int, body: Any, cluster: Any = None) -> None:
        self.status, self.body, self.cluster = status, body, cluster
        self.address: Address = ("127.0.0.1", 0)
        self.authority = ""

    async def handle(self, request: Request, responder: Responder) -> None:
        if self.cluster is not None and request.path.endswith("/cluster"):
            told = {"clusterId": "c", "name": "c", "caBundle": self.authority}
            await responder.send(200, {"content-type": "application/json"}, orjson.dumps(told))
            return
        await responder.send(self.status, {"content-type": "application/json"}, orjson.dumps(self.body))


@asynccontextmanager
async def at_work(rogue: Rogue, directory: Path) -> AsyncIterator[Rogue]:
    now = datetime.datetime.now(datetime.UTC)
    directory.mkdir()
    authority = load_or_create_authority(directory, now=now)
    rogue.authority = authority.certificate_pem.decode()
    pair = ensure(authority, directory, "server", server_subject(["127.0.0.1"], "cluster.local"), now=now)
    server = Server(rogue.handle, tls=ServerTls(pair.certificate, pair.key))
    async with trio.open_nursery() as nursery:
        port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        rogue.address = ("127.0.0.1", port)
        yield rogue
        await server.drain(1)
        nursery.cancel_scope.cancel()


def status(reason: str, code: int, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "message": FORGED, "reason": reason, "code": code, "details": details}


async def test_nobody_who_is_not_verified_refuses_for_good(tmp_path: Path) -> None:
    """Whoever announces the fingerprint of the token's CA is asked, and cannot end the joining: the next address is tried."""
    async with at_work(Rogue(403, status("Forbidden", 403, retryAfterSeconds=10**9)), tmp_path / "rogue") as rogue:
        with trio.fail_after(60), pytest.raises(StatusError) as told:
            await look_without_trust(rogue.address)
        assert told.value.reason == "ServiceUnavailable" and told.value.retry_after_seconds <= 1
        assert "831-402" not in str(told.value)
        settings = Settings("pi-7", token=new_token("ab" * 32).text)
        with trio.fail_after(60), pytest.raises(StatusError) as again:
            await join_once(settings, Machine("pi-7").key, [rogue.address])
        assert again.value.reason == "ServiceUnavailable"


@pytest.mark.parametrize(
    "body",
    [
        status("TooManyRequests", 429, retryAfterSeconds=10**9, causes=[{"reason": "x", "message": FORGED, "field": FORGED}]),
        {"kind": "Status", "code": "x"},
        {"kind": "Status", "details": 7, "message": ["a"]},
        {"kind": "Status", "message": "x" * 100_000, "details": {"causes": [7], "retryAfterSeconds": "x"}},
    ],
)
async def test_a_strangers_words_are_a_short_line_and_hold_nobody_up(tmp_path: Path, body: Any) -> None:
    async with at_work(Rogue(429, body), tmp_path / "rogue") as rogue:
        with trio.fail_after(60), pytest.raises(StatusError) as told:
            await call(rogue.address, trusting(rogue.authority), "POST", "pairings", {})
        error = told.value
        assert error.message.isprintable() and str(error) == error.message and len(error.message) < 1000
        assert all(cause.message.isprintable() for cause in error.causes)
        assert error.retry_after_seconds <= limits.DOOR_RETRY_SECONDS_MAX


@pytest.mark.parametrize("name", ["pi-7 $(reboot)", "pi-7\n    pairing code of pi-7", "Pi", "p" * 60, ""])
async def test_a_name_that_a_server_gives_is_a_name(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The machine shows a command with it, which a person types as root."""
    given = {"kind": "Status", "reason": "Conflict", "code": 409, "message": "no"}
    given["details"] = {"causes": [{"reason": "NodeNameGiven", "message": name}]}
    async with at_work(Rogue(409, given, cluster=True), tmp_path / "rogue") as rogue, trio.open_nursery() as nursery:
        url = f"https://127.0.0.1:{rogue.address[1]}"
        machine = Machine("pi-7")
        settings = Settings("pi-7", run_dir=tmp_path / "run", server=(url,))

        async def board() -> None:
            try:
                await join_by_pairing(settings, machine.key, "", lambda name: name)
            finally:
                nursery.cancel_scope.cancel()

        nursery.start_soon(board)
        with trio.fail_after(60):
            while "trying again in" not in caplog.text:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert all(record.getMessage().isprintable() for record in caplog.records if record.name.startswith("edgekube"))
    assert not any(f"pairing as {name}" in record.getMessage() for record in caplog.records if name)
