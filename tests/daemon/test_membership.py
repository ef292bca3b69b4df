"""An agent becomes a member by what it has, waits for what it has not, and comes back when it was removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, SECRET
from edgekube.api.node_identity import NAMESPACE, secret_name
from edgekube.client.addresses import ServerAddresses
from edgekube.client.remote import RemoteVerbs
from edgekube.client.target import Target
from edgekube.daemon.membership import another_name, become_member, hardware_serial
from edgekube.daemon.node_files import NodeFiles
from edgekube.daemon.refusal import JoinRefused
from edgekube.daemon.rejoining import Rejoining
from edgekube.daemon.renewal import Renewal
from edgekube.pki.certificates import SERVER_NAME
from edgekube.pki.clock import Clock
from edgekube.pki.join_token import JoinToken
from edgekube.settings import Settings
from edgekube.wire.tls import ClientTls
from tests.server.joining import Cluster, joinable_cluster


def machine(directory: Path, cluster: Cluster, token: JoinToken | None = None, *others: Cluster, given: bool = True) -> Settings:
    file = directory / "token"
    file.write_text(token.text if token is not None else "")
    servers = tuple(f"https://127.0.0.1:{each.secured.port}" for each in (*others, cluster))
    return Settings(
        "pi-7", data_dir=directory, server=servers, token_file=file, node_name_given=given, hardware_serial="10000000cafe"
    )


async def settled(question: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not question():
            await trio.to_thread.run_sync(time.sleep, 0.01)


async def test_it_joins_once_and_needs_nobody_afterwards(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        settings = machine(tmp_path, cluster, await cluster.token())
        files = NodeFiles(settings.agent_dir)
        member = await become_member(settings, files)
        assert member.node_name == "pi-7" and member.facts == cluster.facts.current()
        key = files.key.read_bytes()
    (tmp_path / "token").unlink()
    assert await become_member(settings, files) == member
    assert files.key.read_bytes() == key
    with pytest.raises(JoinRefused, match="this machine is node pi-7, not pi-8"):
        await become_member(Settings("pi-8", data_dir=tmp_path, node_name_given=True), files)


async def test_what_is_wrong_with_a_token_is_told_at_once(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        good = await cluster.token()
        files = NodeFiles(tmp_path / "agent")
        for text, complaint in (
            ("", "no token is given: make one with 'edgekube token create'"),
            ("EK1::nonsense", "this is no join token"),
            (JoinToken(good.authority_hash, good.id, "0" * 20).text, "not known, expired or used up"),
        ):
            settings = machine(tmp_path, cluster)
            (tmp_path / "token").write_text(text)
            with pytest.raises(JoinRefused, match=complaint) as refused:
                await become_member(settings, files)
            assert not text or text not in str(refused.value)


async def test_a_server_of_another_cluster_is_passed_over(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "a") as ours, joinable_cluster(tmp_path / "b") as other:
        settings = machine(tmp_path, ours, await ours.token(), other)
        member = await become_member(settings, NodeFiles(settings.agent_dir))
        assert member.facts.cluster_id == ours.facts.current().cluster_id
        assert other.nodes.get("pi-7") is None


async def test_a_member_is_not_taken_in_by_another_server_at_its_servers_address(tmp_path: Path) -> None:
    """With the same cluster id, and the same names in its certificate: it has no certificate of our CA."""
    async with joinable_cluster(tmp_path / "a") as ours, joinable_cluster(tmp_path / "b") as rogue:
        settings = machine(tmp_path, ours, await ours.token())
        files = NodeFiles(settings.agent_dir)
        await become_member(settings, files)
        rogue.facts._id = ours.facts.current().cluster_id
        servers = ServerAddresses([("127.0.0.1", rogue.secured.port), ("127.0.0.1", ours.secured.port)])
        tls = ClientTls(files.authorities, files.client_certificate, files.key, clock=Clock())
        target = Target(servers.current, tls, SERVER_NAME, unreachable=servers.unreachable)
        async with RemoteVerbs(target) as verbs:
            with pytest.raises(StatusError) as caught:
                await verbs.get(NODE, "", "pi-7")
            assert caught.value.reason == "ServiceUnavailable" and "certificate verify failed" in caught.value.message
            assert "apiserver_request_total" not in rogue.secured.app.metrics.text(), "nothing was asked of it"
            with pytest.raises(StatusError) as caught:
                await verbs.get(NODE, "", "pi-7")
            assert caught.value.reason == "NotFound", "the next address is tried next"


async def test_a_host_name_that_is_taken_gets_six_characters_more(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        for place in ("first", "second", "third"):
            (tmp_path / place).mkdir()
        first = machine(tmp_path / "first", cluster, await cluster.token())
        await become_member(first, NodeFiles(first.agent_dir))
        second = machine(tmp_path / "second", cluster, await cluster.token(), given=False)
        member = await become_member(second, NodeFiles(second.agent_dir))
        assert member.node_name == another_name("pi-7", "10000000cafe")
        third = machine(tmp_path / "third", cluster, await cluster.token())
        with pytest.raises(JoinRefused, match="edgekube node remove pi-7"):
            await become_member(third, NodeFiles(third.agent_dir))


async def test_a_removed_node_comes_back_as_the_same_with_a_new_token(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        settings = machine(tmp_path, cluster, await cluster.token())
        files = NodeFiles(settings.agent_dir)
        member = await become_member(settings, files)
        key = files.key.read_bytes()
        servers = ServerAddresses([("127.0.0.1", cluster.secured.port)])
        clock = Clock()
        tls = ClientTls(files.authorities, files.client_certificate, files.key, clock=clock)
        rejoining = Rejoining(settings, files, member, servers, tls)
        target = Target(servers.current, tls, SERVER_NAME, refused=rejoining.refused)
        async with RemoteVerbs(target) as verbs, trio.open_nursery() as nursery:
            renewal = Renewal(files, "pi-7", servers, tls, clock, verbs, verbs.start_afresh)
            nursery.start_soon(rejoining.run, verbs, renewal)

            async def asked() -> str:
                try:
                    await verbs.get(NODE, "", "pi-7")
                except StatusError as error:
                    return error.reason
                raise AssertionError("nobody registered a Node")

            assert await asked() == "NotFound"
            await cluster.verbs.delete(SECRET, NAMESPACE, secret_name("pi-7"))
            await settled(lambda: cluster.nodes.get("pi-7") is None)
            # Its token was good for one machine, and this one asks as the same: it is back by itself.
            assert await asked() == "Unauthorized"
            await settled(lambda: cluster.nodes.get("pi-7") is not None)
            assert await asked() == "NotFound"

            for secret in (await cluster.verbs.list(SECRET, NAMESPACE)).objects():
                await cluster.verbs.delete(SECRET, NAMESPACE, secret["metadata"]["name"])
            await settled(lambda: cluster.nodes.get("pi-7") is None)
            assert await asked() == "Unauthorized"
            (tmp_path / "token").write_text((await cluster.token()).text)
            await settled(lambda: cluster.nodes.get("pi-7") is not None)
            assert await asked() == "NotFound"
            nursery.cancel_scope.cancel()
        assert files.key.read_bytes() == key


def test_the_serial_number_is_the_first_that_the_board_tells(tmp_path: Path) -> None:
    empty, tree, dmi = (tmp_path / name for name in ("empty", "tree", "dmi"))
    empty.write_text("\n")
    tree.write_bytes(b"100000003d1d1c36\x00")
    dmi.write_text("Default string\n")
    settings = Settings("pi-7")
    assert hardware_serial(settings, (tmp_path / "absent", empty, tree, dmi)) == "100000003d1d1c36"
    assert hardware_serial(Settings("pi-7", hardware_serial="mine"), (tree,)) == "mine"
    tree.write_bytes(b"\xff\xfe")
    assert hardware_serial(settings, (tree,)) == ""


def test_another_name_is_a_name_and_the_same_each_time() -> None:
    assert another_name("pi-7", "a") == another_name("pi-7", "a") != another_name("pi-7", "b")
    assert len(another_name("p" * 52, "a")) == 52
    assert another_name("pi." + "x" * 42 + "-" * 7, "a").startswith("pi.xx")
