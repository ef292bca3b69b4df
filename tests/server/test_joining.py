"""A machine with a token becomes a node; every other one is refused, and told why when it may know."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from msgspec.structs import replace

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.join_tokens import NAMESPACE, secret_name
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST, NODE, SECRET, SERVICEACCOUNT
from edgekube.api.node_identity import NodeIdentity
from edgekube.api.node_identity import secret_name as identity_name
from edgekube.client.doors import call, trusting
from edgekube.client.joining import Joined, NotThisCluster, what_is_asked
from edgekube.daemon.membership import another_name
from edgekube.pki.authority import Subject
from edgekube.pki.certificates import SERVER_NAME
from edgekube.pki.join_token import JoinToken
from edgekube.pki.requests import request_pem
from edgekube.server.joining import sweep_tokens
from edgekube.wire.client import HttpClient, http_client
from edgekube.wire.tls import client_context
from tests.server.joining import Cluster, Machine, joinable_cluster


def client_of(cluster: Cluster, joined: Joined, machine: Machine, directory: Path) -> HttpClient:
    """The node, with its certificate, as it speaks with the API."""
    from cryptography.hazmat.primitives import serialization

    certificate, key = directory / f"{machine.public_key}.crt", directory / f"{machine.public_key}.key"
    certificate.write_text(joined.client_certificate)
    pem = machine.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(pem)
    context = client_context(ca_data=joined.facts.authorities.encode(), cert_path=certificate, key_path=key)
    return http_client("127.0.0.1", cluster.secured.port, context=context, server_hostname=SERVER_NAME)


async def ask_as(client: HttpClient, path: str) -> tuple[int, bytes]:
    with trio.fail_after(60):
        async with client.request("GET", path) as response:
            return response.status, await response.read(1 << 20)


async def refused(cluster: Cluster, machine: Machine, token: JoinToken) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await cluster.join(machine, token)
    return caught.value


async def test_a_machine_with_a_token_becomes_a_node(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token, machine = await cluster.token(), Machine("pi-7", serial="1000000089abcdef")
        joined = await cluster.join(machine, token)

        client_certificate = x509.load_pem_x509_certificate(joined.client_certificate.encode())
        serving = x509.load_pem_x509_certificate(joined.serving_certificate.encode())
        for certificate in (client_certificate, serving):
            certificate.verify_directly_issued_by(cluster.secured.authority.certificate)
            assert certificate.public_key() == machine.key.public_key()
        names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["pi-7.node.edgekube.internal"]
        assert joined.facts == cluster.facts.current()

        status, body = await ask_as(client_of(cluster, joined, machine, tmp_path), "/api/v1/nodes/pi-7")
        assert status == 404, body  # authenticated, allowed, and not registered yet

        identity = cluster.nodes.get("pi-7")
        assert identity is not None
        assert identity == NodeIdentity("pi-7", machine.public_key, f"token:{token.id}", "1000000089abcdef")
        requests = {each["spec"]["username"]: each for each in (await cluster.verbs.list(CERTIFICATESIGNINGREQUEST)).objects()}
        assert requests.keys() == {f"system:bootstrap:{token.id}", "system:node:pi-7"}
        for request in requests.values():
            assert request["status"]["conditions"][0]["reason"] == "EdgekubeAdmitted"


async def test_the_secret_of_a_token_is_stored_nowhere(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token = await cluster.token()
        await cluster.join(Machine("pi-7"), token)
        secret = await cluster.verbs.get(SECRET, NAMESPACE, secret_name(token.id))
        stored = b"".join(base64.b64decode(value) for value in secret["data"].values())
        assert token.secret.encode() not in stored and token.secret not in repr(token)


async def test_the_last_use_goes_to_one_of_two_that_race(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token = await cluster.token(uses=3)
        machines = [Machine(f"pi-{number}") for number in range(8)]
        outcomes: dict[str, str] = {}

        async def race(machine: Machine) -> None:
            try:
                await cluster.join(machine, token)
                outcomes[machine.name] = "joined"
            except StatusError as error:
                outcomes[machine.name] = error.reason

        async with trio.open_nursery() as nursery:
            for machine in machines:
                nursery.start_soon(race, machine)
        assert sorted(outcomes.values()) == ["Unauthorized"] * 5 + ["joined"] * 3
        assert (await cluster.record(token)).uses_left == 0
        members = {machine.name for machine in machines if cluster.nodes.get(machine.name) is not None}
        assert members == {name for name, outcome in outcomes.items() if outcome == "joined"}


async def test_a_node_whose_answer_was_lost_asks_again_and_uses_nothing_up(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token, machine = await cluster.token(), Machine("pi-7")
        first = await cluster.join(machine, token)
        second = await cluster.join(machine, token)
        assert first.client_certificate != second.client_certificate
        record = await cluster.record(token)
        assert record.uses_left == 0 and record.used_by == (machine.public_key,)
        assert (await refused(cluster, Machine("pi-8"), token)).reason == "Unauthorized"


@pytest.mark.parametrize("what", ["unknown", "wrong secret", "expired", "deleted", "used up", "bent"])
async def test_what_is_wrong_with_a_token_is_not_told(tmp_path: Path, what: str) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token = await cluster.token()
        shown = token
        if what == "unknown":
            shown = JoinToken(token.authority_hash, "zzzzzz", token.secret)
        elif what == "wrong secret":
            shown = JoinToken(token.authority_hash, token.id, token.secret[::-1])
        elif what == "expired":
            cluster.clock.ahead_seconds = 3601
        elif what == "deleted":
            await cluster.verbs.delete(SECRET, NAMESPACE, secret_name(token.id))
        elif what == "used up":
            await cluster.join(Machine("first"), token)
        elif what == "bent":
            await cluster.verbs.patch(SECRET, NAMESPACE, secret_name(token.id), {"data": {"uses-left": "bWFueQ=="}})
        error = await refused(cluster, Machine("pi-7"), shown)
        assert (error.code, error.message) == (
            401,
            "the token is not known, expired or used up: 'edgekube token create' on the server makes a new one",
        )
        assert cluster.nodes.get("pi-7") is None


async def test_guessing_is_slowed_down_and_a_good_token_waits_with_it(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token = await cluster.token()
        wrong = JoinToken(token.authority_hash, token.id, "0" * 20)
        for _ in range(limits.JOIN_FAILURES_MAX):
            assert (await refused(cluster, Machine("guesser"), wrong)).code == 401
        error = await refused(cluster, Machine("guesser"), wrong)
        assert error.code == 429 and 1 <= error.retry_after_seconds <= limits.JOIN_FAILURE_SECONDS
        assert (await refused(cluster, Machine("pi-7"), token)).code == 429


async def test_expired_tokens_are_swept_away(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        old, young, everlasting = (
            await cluster.token(ttl_seconds=60),
            await cluster.token(),
            await cluster.token(ttl_seconds=None),
        )
        cluster.clock.ahead_seconds = 61
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweep_tokens, cluster.verbs, cluster.clock)
            with trio.fail_after(60):
                while secret_name(old.id) in (left := await _tokens(cluster)):
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert left == {secret_name(young.id), secret_name(everlasting.id)}


async def _tokens(cluster: Cluster) -> set[str]:
    secrets = (await cluster.verbs.list(SECRET, NAMESPACE)).objects()
    return {each["metadata"]["name"] for each in secrets if each["type"] == "edgekube.io/join-token"}


async def test_a_taken_name_is_refused_before_the_token_is_spent(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        await cluster.join(Machine("pi-7"), await cluster.token())
        token, newcomer = await cluster.token(), Machine("pi-7", serial="10000000aaaa")
        error = await refused(cluster, newcomer, token)
        assert (error.code, error.causes[0].reason) == (409, "NodeNameTaken")
        assert "--node-name" in error.message and "edgekube node remove pi-7" in error.message
        assert (await cluster.record(token)).uses_left == 1
        newcomer.name = another_name("pi-7", newcomer.serial)
        await cluster.join(newcomer, token)
        assert cluster.nodes.get(newcomer.name) is not None and newcomer.name.startswith("pi-7-")


def _asked(machine: Machine, **changes: Any) -> dict[str, Any]:
    return {**what_is_asked(machine.name, machine.key, ""), **changes}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"nodeName": "Pi_7"}, "nodeName must be"),
        ({"nodeName": "p" * 53}, "at most 52"),
        ({"nodeName": "other"}, "the common name must be system:node:other"),
        ({"nodeName": 7}, "nodeName must be a string"),
        ({"clientRequest": "-----BEGIN CERTIFICATE REQUEST-----"}, "unable to parse certificate request"),
        ({"clientRequest": "x" * 9000}, "at most 8192 characters"),
        ({"serial": "\x1b[2J"}, "printable"),
        ({"clientRequest": Subject("system:node:pi-7", ("system:nodes", "system:masters"))}, "organization must be system:nodes"),
        ({"clientRequest": Subject("system:admin", ("system:masters",))}, "the common name must be system:node:pi-7"),
        ({"clientRequest": Subject("system:node:pi-7", ("system:nodes",), names=("kubernetes",))}, "DNS names"),
        (
            {"servingRequest": Subject("system:node:pi-7", ("system:nodes",), names=(SERVER_NAME,))},
            "kubernetes.default.svc is not a node's name",
        ),
        (
            {"servingRequest": Subject("system:node:pi-7", ("system:nodes",), names=("pi-7.node.edgekube.internal", "pi-7"))},
            "the only name must be pi-7.node",
        ),
        (
            {"servingRequest": Subject("system:node:pi-7", ("system:nodes",), names=("192.0.2.1",))},
            "the only name must be pi-7.node",
        ),
        ({"servingRequest": Subject("system:node:pi-7", ("system:nodes",))}, "at least one DNS or IP"),
    ],
)
async def test_a_machine_asks_for_its_own_names_and_nothing_else(tmp_path: Path, changes: Any, complaint: str) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token, machine = await cluster.token(), Machine("pi-7")
        made = {key: request_pem(machine.key, value) if isinstance(value, Subject) else value for key, value in changes.items()}
        error = await _post(cluster, token, _asked(machine, **made))
        assert error.code == 400 and complaint in error.message
        assert (await cluster.record(token)).uses_left == 1
        assert not list((await cluster.verbs.list(CERTIFICATESIGNINGREQUEST)).objects())


@pytest.mark.parametrize("name", [SERVER_NAME, "kubernetes", "localhost"])
async def test_a_node_that_is_called_as_the_server_is_cannot_pass_for_it(tmp_path: Path, name: str) -> None:
    """The name may be had, harmlessly: no certificate says it of a server."""
    async with joinable_cluster(tmp_path) as cluster:
        joined = await cluster.join(Machine(name), await cluster.token())
        serving = x509.load_pem_x509_certificate(joined.serving_certificate.encode())
        held = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert held.get_values_for_type(x509.DNSName) == [f"{name}.node.edgekube.internal"]
        client = x509.load_pem_x509_certificate(joined.client_certificate.encode())
        with pytest.raises(x509.ExtensionNotFound):
            client.extensions.get_extension_for_class(x509.SubjectAlternativeName)


async def test_a_cluster_takes_so_many_nodes_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token, known = await cluster.token(uses=None), Machine("pi-1")
        await cluster.join(known, token)
        monkeypatch.setattr(limits, "NODES_MAX", 1)
        error = await refused(cluster, Machine("pi-2"), token)
        assert error.code == 403 and "this cluster has 1 nodes" in error.message
        await cluster.join(known, token)


async def test_both_requests_are_of_one_key(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        token, machine = await cluster.token(), Machine("pi-7")
        other = what_is_asked("pi-7", Machine("x").key, "")
        error = await _post(cluster, token, _asked(machine, servingRequest=other["servingRequest"]))
        assert error.code == 400 and "one key" in error.message


async def _post(cluster: Cluster, token: JoinToken, body: dict[str, Any]) -> StatusError:
    address = ("127.0.0.1", cluster.secured.port)
    trusted = trusting(cluster.facts.current().authorities)
    with pytest.raises(StatusError) as caught, trio.fail_after(60):
        await call(address, trusted, "POST", "join", body, {"authorization": f"Bearer {token.credential}"})
    return caught.value


async def test_a_token_is_not_sent_to_another_cluster(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    async with joinable_cluster(tmp_path / "ours") as ours, joinable_cluster(tmp_path / "theirs") as theirs:
        token = await ours.token()
        with pytest.raises(NotThisCluster, match="another cluster"):
            await theirs.join(Machine("pi-7"), token)


async def test_a_rogue_that_shows_the_right_ca_cannot_prove_it(tmp_path: Path) -> None:
    """It may copy what the real server tells every stranger; it has no certificate under that CA."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "rogue").mkdir()
    async with joinable_cluster(tmp_path / "ours") as ours, joinable_cluster(tmp_path / "rogue") as rogue:
        token = await ours.token()
        copied = ours.facts.current()
        rogue.facts._facts = lambda: copied
        with pytest.raises(NotThisCluster, match="cannot prove"):
            await rogue.join(Machine("pi-7"), token)
        assert rogue.nodes.get("pi-7") is None


async def test_a_removed_node_is_refused_on_the_connection_it_has_and_may_join_again(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        machine = Machine("pi-7")
        joined = await cluster.join(machine, await cluster.token())
        client = client_of(cluster, joined, machine, tmp_path)
        assert (await ask_as(client, "/api/v1/nodes/pi-7"))[0] == 404
        async with client.request("GET", "/api/v1/nodes?watch=true&fieldSelector=metadata.name%3Dpi-7") as watching:
            assert watching.status == 200
            await cluster.verbs.delete(SECRET, NAMESPACE, identity_name("pi-7"))
            with trio.fail_after(60):
                while await watching.receive_some():
                    pass
        status, body = await ask_as(client, "/api/v1/nodes/pi-7")
        assert status == 401 and b"not a member of this cluster (any more)" in body

        again = await cluster.join(machine, await cluster.token())
        assert (await ask_as(client_of(cluster, again, machine, tmp_path), "/api/v1/nodes/pi-7"))[0] == 404


async def test_a_revoked_node_stays_out_under_every_name(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        machine = Machine("pi-7")
        joined = await cluster.join(machine, await cluster.token())
        client = client_of(cluster, joined, machine, tmp_path)
        assert (await ask_as(client, "/api/v1/nodes/pi-7"))[0] == 404
        revoked = {"data": {"revoked": base64.b64encode(b"2026-11-27T20:00:00Z").decode()}}
        await cluster.verbs.patch(SECRET, NAMESPACE, identity_name("pi-7"), revoked)
        with trio.fail_after(60):
            while (answer := await ask_as(client, "/api/v1/nodes/pi-7"))[0] != 401:
                await trio.lowlevel.checkpoint()
        assert b"revoked at 2026-11-27T20:00:00Z" in answer[1]

        token = await cluster.token()
        for name in ("pi-7", "innocent"):
            error = await refused(cluster, Machine(name, key=machine.key), token)
            assert error.code == 403 and "revoked" in error.message
        assert (await refused(cluster, Machine("pi-7"), token)).code == 403
        assert (await cluster.record(token)).uses_left == 1


async def test_a_machine_that_joined_under_two_names_is_revoked_under_both(tmp_path: Path) -> None:
    """One name is what an administrator sees of it; the key is what was stolen."""
    async with joinable_cluster(tmp_path) as cluster:
        machine = Machine("pi-7")
        await cluster.join(machine, await cluster.token())
        twin = Machine("pi-8", key=machine.key)
        client = client_of(cluster, await cluster.join(twin, await cluster.token()), twin, tmp_path)
        async with client.request("GET", "/api/v1/nodes?watch=true&fieldSelector=metadata.name%3Dpi-8") as watching:
            assert watching.status == 200
            revoked = {"data": {"revoked": base64.b64encode(b"2026-11-27T20:00:00Z").decode()}}
            await cluster.verbs.patch(SECRET, NAMESPACE, identity_name("pi-7"), revoked)
            with trio.fail_after(60):
                while await watching.receive_some():
                    pass
        status, body = await ask_as(client, "/api/v1/nodes/pi-8")
        assert status == 401 and b"revoked" in body


async def test_a_certificate_of_the_old_key_does_not_pass_for_a_node_that_was_made_anew(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        old, new = Machine("pi-7"), Machine("pi-7")
        before = client_of(cluster, await cluster.join(old, await cluster.token()), old, tmp_path)
        await cluster.verbs.delete(SECRET, NAMESPACE, identity_name("pi-7"))
        with trio.fail_after(60):
            while cluster.nodes.get("pi-7") is not None:
                await trio.lowlevel.checkpoint()
        after = client_of(cluster, await cluster.join(new, await cluster.token()), new, tmp_path)
        assert (await ask_as(after, "/api/v1/nodes/pi-7"))[0] == 404
        status, body = await ask_as(before, "/api/v1/nodes/pi-7")
        assert status == 401 and b"not the key" in body


async def test_a_token_of_a_pod_dies_with_its_revoked_node(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        machine = Machine("pi-7")
        await cluster.join(machine, await cluster.token())
        node = await cluster.verbs.create(NODE, "", {"metadata": {"name": "pi-7"}})
        issuer = cluster.secured.registry.token_issuer
        assert issuer is not None
        account = await cluster.verbs.get(SERVICEACCOUNT, "default", "default")
        text, _ = issuer.issue("default", "default", account["metadata"]["uid"], (), 3600, None, node)

        async def asked() -> int:
            return (await cluster.secured.ask(None, "GET", "/apis", token=text)).status

        assert await asked() == 200
        await cluster.nodes.change(
            "pi-7", lambda before: NodeIdentity("pi-7", machine.public_key, "test", revoked="2026-11-27T20:00:00Z")
        )
        assert await asked() == 401
        member = NodeIdentity("pi-7", machine.public_key, "test")
        await cluster.nodes.change("pi-7", lambda before: replace(member, revoked="2026-11-27T20:00:00Z"))
        assert await asked() == 401
        await cluster.nodes.change("pi-7", lambda before: member)
        assert await asked() == 200
        await cluster.verbs.delete(NODE, "", "pi-7")
        assert await asked() == 401


async def test_a_node_cannot_use_a_certificate_that_nobody_registered(tmp_path: Path) -> None:
    """Signed by the authority, and yet no member: the key decides."""
    async with joinable_cluster(tmp_path) as cluster:
        subject = Subject("system:node:pi-7", ("system:nodes",))
        async with cluster.secured.client(subject) as client:
            status, body = await ask_as(client, "/api/v1/nodes/pi-7")
        assert status == 401 and b"not a member" in body
