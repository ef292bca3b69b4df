"""Pairing over real TLS: a machine, a server, an administrator; and whoever comes between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube import limits
from edgekube.api.allowed_serials import NAMESPACE as SERIALS_NAMESPACE
from edgekube.api.allowed_serials import AllowedSerial, as_secret
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST, SECRET
from edgekube.api.objects import Object
from edgekube.client.doors import call, trusting
from edgekube.client.joining import Joined, NotThisCluster, what_is_asked
from edgekube.client.pairing import PairingEnded, authority_at, pair
from edgekube.pki.certificates import SERVER_NAME
from edgekube.pki.join_token import fingerprint
from edgekube.pki.pairing import Party, State, code, commitment, new_nonce, shown
from edgekube.server.pairing_door import NAME_GIVEN
from edgekube.wire.transport import connect
from tests.server.joining import Cluster, Machine, joinable_cluster
from tests.server.running import Answer
from tests.server.secured import admin, node

DOOR = "/edgekube/v1/pairings"


class Pairing:
    """A machine that pairs in the background: its code, and how it ended."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.codes: list[str] = []
        self.joined: Joined | None = None
        self.ended: Exception | None = None
        self._shown = trio.Event()
        self._over = trio.Event()

    async def run(self, address: tuple[str, int]) -> None:
        try:
            authority = await authority_at(address, lambda told, ca: True)
            machine = self.machine
            self.joined = await pair(address, authority, machine.name, machine.key, machine.serial, self._show)
        except (PairingEnded, NotThisCluster, StatusError) as error:
            self.ended = error
        self._over.set()

    def _show(self, code: str) -> None:
        self.codes.append(code)
        self._shown.set()

    async def code(self) -> str:
        with trio.fail_after(60):
            await self._shown.wait()
        return self.codes[-1]

    async def over(self) -> None:
        with trio.fail_after(60):
            await self._over.wait()


class Desk:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def approve(self, name: str, code: str) -> Answer:
        return await self._cluster.secured.ask(admin(), "POST", f"{DOOR}/approve", {"name": name, "code": code})

    async def reject(self, name: str) -> Answer:
        return await self._cluster.secured.ask(admin(), "POST", f"{DOOR}/reject", {"name": name})

    async def pending(self, query: str = "") -> list[dict[str, Any]]:
        answer = await self._cluster.secured.ask(admin(), "GET", f"{DOOR}/pending{query}")
        assert answer.status == 200, answer.text
        items: list[dict[str, Any]] = answer.json["items"]
        return items


@asynccontextmanager
async def pairing_cluster(directory: Path) -> AsyncIterator[tuple[Cluster, Desk, trio.Nursery]]:
    async with joinable_cluster(directory) as cluster, trio.open_nursery() as nursery:
        yield cluster, Desk(cluster), nursery
        nursery.cancel_scope.cancel()


def address(cluster: Cluster) -> tuple[str, int]:
    return ("127.0.0.1", cluster.secured.port)


def begin(cluster: Cluster, machine: Machine, nonce: bytes, **other: str) -> Object:
    asked = what_is_asked(machine.name, machine.key, machine.serial)
    asked["authority"] = fingerprint(cluster.secured.authority.certificate_pem.decode())
    asked["commitment"] = commitment(machine.public_key, machine.name, machine.serial, nonce).hex()
    return asked | other


async def refused(cluster: Cluster, method: str, path: str, body: Object | None = None) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await call(address(cluster), trusting((cluster.secured.directory / "ca.crt").read_text()), method, path, body)
    return caught.value


async def ask(cluster: Cluster, method: str, path: str, body: Object | None = None) -> Any:
    return await call(address(cluster), trusting((cluster.secured.directory / "ca.crt").read_text()), method, path, body)


async def test_a_machine_without_anything_becomes_a_node_once_its_code_was_typed(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        machine = Pairing(Machine("pi-7", serial="100000003d1d1c36"))
        nursery.start_soon(machine.run, address(cluster))
        code = await machine.code()

        (waiting,) = await desk.pending()
        assert (waiting["name"], waiting["serial"]) == ("pi-7", "100000003d1d1c36")
        assert waiting["key"] == machine.machine.public_key and "code" not in waiting
        assert (await desk.pending("?codes=true"))[0]["code"] == code

        answer = await desk.approve("pi-7", code)
        assert (answer.status, answer.json) == (200, {"node": "pi-7", "key": machine.machine.public_key})
        await machine.over()
        assert machine.joined is not None, machine.ended
        assert machine.joined.facts == cluster.facts.current()
        identity = cluster.nodes.get("pi-7")
        assert identity is not None and (identity.method, identity.serial) == ("pairing", "100000003d1d1c36")
        users = {each["spec"]["username"] for each in (await cluster.verbs.list(CERTIFICATESIGNINGREQUEST)).objects()}
        assert users == {"edgekube:pairing:pi-7", "system:node:pi-7"}
        assert await desk.pending() == []
        # A code is good once.
        assert (await desk.approve("pi-7", code)).status == 404


async def test_a_wrong_code_is_the_end_of_the_exchange(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        machine = Pairing(Machine("pi-7"))
        nursery.start_soon(machine.run, address(cluster))
        code = await machine.code()
        wrong = f"{(int(code.replace('-', '')) + 1) % 1_000_000:06d}"
        answer = await desk.approve("pi-7", wrong)
        assert answer.status == 403 and "void" in answer.json["message"]
        await machine.over()
        assert isinstance(machine.ended, PairingEnded) and machine.ended.state is State.BURNED
        # The right one comes too late.
        assert (await desk.approve("pi-7", code)).status == 404
        assert cluster.nodes.get("pi-7") is None

        again = Pairing(machine.machine)
        nursery.start_soon(again.run, address(cluster))
        assert await again.code() != code
        assert (await desk.approve("pi-7", await again.code())).status == 200


async def test_who_is_rejected_hears_it(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        machine = Pairing(Machine("pi-7"))
        nursery.start_soon(machine.run, address(cluster))
        code = await machine.code()
        assert (await desk.reject("pi-7")).json == {"node": "pi-7", "rejected": 1}
        await machine.over()
        assert isinstance(machine.ended, PairingEnded) and machine.ended.state is State.REJECTED
        assert (await desk.approve("pi-7", code)).status == 404
        assert (await desk.reject("pi-7")).status == 404


async def test_only_administrators_decide(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, _, nursery):
        machine = Pairing(Machine("pi-7"))
        nursery.start_soon(machine.run, address(cluster))
        code = await machine.code()
        for who, status in ((None, 401), (node("pi-1"), 403)):
            for method, path, body in (
                ("GET", "pending?codes=true", None),
                ("POST", "approve", {"name": "pi-7", "code": code}),
                ("POST", "reject", {"name": "pi-7"}),
            ):
                answer = await cluster.secured.ask(who, method, f"{DOOR}/{path}", body)
                assert answer.status == status, (who, path, answer.text)
        assert len(cluster.pairings) == 1 and machine.ended is None


async def test_a_man_in_the_middle_shows_another_code_and_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "his").mkdir()
    async with pairing_cluster(tmp_path / "real") as (real, desk, nursery), pairing_cluster(tmp_path / "his") as (his, _, _):
        victim = Pairing(Machine("pi-7", serial="100000003d1d1c36"))
        nursery.start_soon(victim.run, address(his))
        shown_to_people = await victim.code()
        # He has the machine's TLS with a CA of his own; with the server he pairs as that machine, by a key of his own.
        his_own = Pairing(Machine("pi-7", serial="100000003d1d1c36"))
        nursery.start_soon(his_own.run, address(real))
        await his_own.code()
        (waiting,) = await desk.pending("?codes=true")
        assert waiting["name"] == "pi-7" and waiting["code"] != shown_to_people
        answer = await desk.approve("pi-7", shown_to_people)
        assert answer.status == 403 and "somebody sits between" in answer.json["message"]
        assert real.nodes.get("pi-7") is None
        assert await desk.pending() == []


async def test_a_relay_that_passes_on_the_machines_own_requests_is_refused(tmp_path: Path) -> None:
    """He shows the machine his CA and sends the server the machine's own requests: the CA that the machine names gives him away,
    and if he names the server's instead, the codes differ."""
    (tmp_path / "his").mkdir()
    async with pairing_cluster(tmp_path) as (cluster, desk, _), joinable_cluster(tmp_path / "his") as his:
        machine, nonce = Machine("pi-7"), new_nonce()
        honest = begin(cluster, machine, nonce)
        his_ca = fingerprint(his.secured.authority.certificate_pem.decode())
        error = await refused(cluster, "POST", "pairings", honest | {"authority": his_ca})
        assert error.reason == "Forbidden" and "sits in between" in error.message

        begun = await ask(cluster, "POST", "pairings", honest)
        await ask(cluster, "POST", f"pairings/{begun['id']}/reveal", {"nonce": nonce.hex()})
        (waiting,) = await desk.pending("?codes=true")
        party = Party(machine.public_key, "pi-7", "", his_ca, begun["clusterId"])
        assert waiting["code"] != shown(code(party, nonce, bytes.fromhex(begun["nonce"])))


async def test_replayed_messages_are_refused(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, _):
        machine, nonce = Machine("pi-7"), new_nonce()
        body = begin(cluster, machine, nonce)
        begun = await ask(cluster, "POST", "pairings", body)
        assert (await refused(cluster, "POST", "pairings", body)).reason == "BadRequest"
        path = f"pairings/{begun['id']}"
        assert (await ask(cluster, "POST", f"{path}/reveal", {"nonce": nonce.hex()}))["state"] == "pending"
        assert (await refused(cluster, "POST", f"{path}/reveal", {"nonce": nonce.hex()})).reason == "Conflict"
        assert (await refused(cluster, "POST", f"{path}/reveal", {"nonce": new_nonce().hex()})).reason == "Conflict"
        # Nothing of it harmed the exchange.
        (waiting,) = await desk.pending("?codes=true")
        assert (await desk.approve("pi-7", waiting["code"])).status == 200
        assert (await ask(cluster, "GET", path))["state"] == "approved"


async def test_another_nonce_than_the_promised_one_ends_it(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, _):
        nonce = new_nonce()
        begun = await ask(cluster, "POST", "pairings", begin(cluster, Machine("pi-7"), nonce))
        path = f"pairings/{begun['id']}"
        assert (await refused(cluster, "POST", f"{path}/reveal", {"nonce": new_nonce().hex()})).reason == "Forbidden"
        assert (await refused(cluster, "POST", f"{path}/reveal", {"nonce": nonce.hex()})).reason == "Conflict"
        assert (await ask(cluster, "GET", path))["state"] == "burned"
        assert await desk.pending() == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"commitment": "ab"}, "commitment"),
        ({"commitment": 7}, "commitment"),
        ({"authority": None}, "authority"),
        ({"nodeName": "Pi_7"}, "nodeName"),
        ({"clientRequest": "x"}, "certificate request"),
    ],
)
async def test_what_makes_no_sense_begins_nothing(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    async with pairing_cluster(tmp_path) as (cluster, _, _):
        error = await refused(cluster, "POST", "pairings", begin(cluster, Machine("pi-7"), new_nonce()) | change)
        assert error.reason == "BadRequest" and what in error.message
        assert len(cluster.pairings) == 0


async def test_the_name_of_another_machine_is_told_before_any_code(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        first = Pairing(Machine("pi-7"))
        nursery.start_soon(first.run, address(cluster))
        await desk.approve("pi-7", await first.code())
        error = await refused(cluster, "POST", "pairings", begin(cluster, Machine("pi-7"), new_nonce()))
        assert (error.reason, error.causes[0].reason) == ("Conflict", "NodeNameTaken")


async def test_an_allowed_serial_number_lets_one_machine_in(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        entries = [AllowedSerial("1000-ABC "), AllowedSerial("1000-DEF", "press-3")]
        await cluster.verbs.create(SECRET, SERIALS_NAMESPACE, as_secret(entries))
        board = Pairing(Machine("pi-7", serial="1000-abc"))
        nursery.start_soon(board.run, address(cluster))
        await board.over()
        assert board.joined is not None, board.ended
        assert board.codes == []  # there was nothing to compare
        identity = cluster.nodes.get("pi-7")
        assert identity is not None and identity.method == "serial"

        # The number is used up: the next who claims it has to be approved.
        other = Pairing(Machine("pi-8", serial="1000-abc"))
        nursery.start_soon(other.run, address(cluster))
        await other.code()
        assert [each["name"] for each in await desk.pending()] == ["pi-8"]

        error = await refused(cluster, "POST", "pairings", begin(cluster, Machine("pi-9", serial="1000-def"), new_nonce()))
        assert [(cause.reason, cause.message) for cause in error.causes] == [(NAME_GIVEN, "press-3")]
        named = Pairing(Machine("press-3", serial="1000-def"))
        nursery.start_soon(named.run, address(cluster))
        await named.over()
        assert named.joined is not None


async def test_a_machine_that_pairs_again_takes_its_own_place(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, _):
        machine = Machine("pi-7", serial="1")
        for _ in range(limits.PAIRING_GUESSES_PER_NAME_MAX):
            nonce = new_nonce()
            begun = await ask(cluster, "POST", "pairings", begin(cluster, machine, nonce))
            await ask(cluster, "POST", f"pairings/{begun['id']}/reveal", {"nonce": nonce.hex()})
            assert len(await desk.pending()) == 1
        # Each was a guess of somebody who sits in between: there are no more for a while.
        error = await refused(cluster, "POST", "pairings", begin(cluster, machine, new_nonce()))
        assert error.reason == "TooManyRequests" and error.retry_after_seconds > 60


async def test_one_address_does_not_fill_the_door(tmp_path: Path) -> None:
    """Bodies that do not come hold a place each; there are so many for one address, and the door has twice as many and more."""
    async with pairing_cluster(tmp_path) as (cluster, _, nursery):
        context = trusting((cluster.secured.directory / "ca.crt").read_text())

        async def stall(*, task_status: trio.TaskStatus[None]) -> None:
            stream = await connect(*address(cluster), context=context, server_hostname=SERVER_NAME)
            await stream.send_all(b"POST /edgekube/v1/pairings HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            task_status.started()
            await trio.sleep_forever()

        for _ in range(limits.PAIRING_REQUESTS_PER_PEER_MAX):
            await nursery.start(stall)

        async def is_full() -> bool:
            answer = await cluster.secured.ask(None, "GET", f"{DOOR}/nothing")
            return answer.status == 429

        with trio.fail_after(limits.DOOR_BODY_SECONDS - 2):
            while not await is_full():
                pass
        assert limits.PAIRING_REQUESTS_MAX > 2 * limits.PAIRING_REQUESTS_PER_PEER_MAX


async def test_a_newer_question_sends_the_older_one_home(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, _, nursery):
        nonce = new_nonce()
        begun = await ask(cluster, "POST", "pairings", begin(cluster, Machine("pi-7"), nonce))
        path = f"pairings/{begun['id']}"
        await ask(cluster, "POST", f"{path}/reveal", {"nonce": nonce.hex()})
        said, answers = trio.open_memory_channel[Any](20)

        async def question() -> None:
            await said.send(await ask(cluster, "GET", path))

        with trio.fail_after(limits.PAIRING_WAIT_SECONDS - 5):
            for _ in range(20):
                nursery.start_soon(question)
            assert {(await answers.receive())["state"] for _ in range(19)} == {"pending"}
