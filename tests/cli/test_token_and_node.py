"""``edgekube token`` and ``edgekube node``, as they are typed: against a real server, and what they print."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import pytest
import trio
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edgekube.api.cluster_facts import NAME, NAMESPACE
from edgekube.api.join_tokens import TokenRecord
from edgekube.api.kinds import CONFIGMAP, NODE, POD, SECRET
from edgekube.api.node_identity import NodeIdentity
from edgekube.cli.main import edgekube
from edgekube.cli.node import render as render_nodes
from edgekube.cli.node import row
from edgekube.cli.token import lifetime
from edgekube.cli.token import render as render_tokens
from edgekube.pki import kubeconfig
from edgekube.pki.join_token import parse_token
from tests.server.joining import Cluster, Machine, joinable_cluster
from tests.server.secured import admin

Typed = Callable[..., Awaitable[Result]]


def typing(cluster: Cluster, data_dir: Path) -> Typed:
    """``edgekube …`` on the server's machine."""
    pair = cluster.secured.pair(admin())
    text = kubeconfig.render(
        server=f"https://127.0.0.1:{cluster.secured.port}",
        authority_pem=cluster.secured.authority.certificate_pem,
        certificate_pem=pair.certificate.read_bytes(),
        key_pem=pair.key.read_bytes(),
    )
    (data_dir / "server").mkdir()
    (data_dir / "server/kubeconfig.yaml").write_bytes(text)

    async def typed(*words: str) -> Result:
        with trio.fail_after(60):
            return await trio.to_thread.run_sync(CliRunner().invoke, edgekube, [*words, "--data-dir", str(data_dir)])

    return typed


async def test_a_token_is_made_listed_used_and_deleted(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        typed = typing(cluster, tmp_path)
        made = await typed("token", "create", "--uses", "2", "--ttl", "7d", "--description", "for the rack")
        assert made.exit_code == 0, made.output
        token = parse_token(made.stdout.splitlines()[0])
        assert "sudo edgekube agent --server https://127.0.0.1:1 --token-file FILE" in made.stderr
        await cluster.join(Machine("pi-7"), token)
        listed = await typed("token", "list")
        assert listed.stdout.splitlines()[1].split() == [token.id, "6d23h", "1", "1", "for", "the", "rack"]
        shown = json.loads((await typed("token", "list", "--json")).stdout)
        assert shown[0]["usesLeft"] == 1 and token.secret not in json.dumps(shown)
        deleted = await typed("token", "delete", token.text)
        assert deleted.stdout == f"token {token.id} deleted\n"
        again = await typed("token", "delete", token.id)
        assert again.exit_code == 1 and "edgekube token list shows them" in again.output
        assert (await typed("token", "list")).stdout == "no tokens; edgekube token create makes one\n"


async def test_a_node_that_is_removed_takes_its_pods_along_and_its_token_is_closed(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        typed = typing(cluster, tmp_path)
        token, machine = await cluster.token(), Machine("pi-7", serial="1000")
        open_for_all = await cluster.token(uses=None)
        await cluster.join(machine, token)
        await cluster.verbs.create(NODE, "", {"metadata": {"name": "pi-7"}})
        spec = {"nodeName": "pi-7", "containers": [{"name": "c", "image": "i"}]}
        await cluster.verbs.create(POD, "default", {"metadata": {"name": "p"}, "spec": spec})
        listed = (await typed("node", "list")).stdout.splitlines()[1].split()
        assert listed == ["pi-7", "starting", f"token:{token.id}", "1000", machine.public_key[:16]]

        removed = await typed("node", "remove", "pi-7")
        assert removed.exit_code == 0 and removed.stdout == "node pi-7 removed\n", removed.output
        assert f"token {open_for_all.id} lets machines join still" in removed.stderr and token.id not in removed.stderr
        assert not list((await cluster.verbs.list(POD)).objects()) and not list((await cluster.verbs.list(NODE)).objects())
        assert cluster.nodes.get("pi-7") is None
        assert (await cluster.record(token)).closed(0.0, machine.public_key) == "used up"
        gone = await typed("node", "remove", "pi-7")
        assert gone.exit_code == 1 and "there is no node pi-7" in gone.output


async def test_a_node_that_is_revoked_stays_known_as_that(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        typed = typing(cluster, tmp_path)
        await cluster.join(Machine("pi-7"), await cluster.token())
        assert (await typed("node", "revoke", "pi-7")).exit_code == 0
        identity = cluster.nodes.get("pi-7")
        assert identity is not None and identity.revoked
        assert "revoked" in (await typed("node", "list")).stdout.splitlines()[1].split()
        assert (await typed("node", "revoke", "pi-7")).exit_code == 0, "twice is fine"
        assert (await typed("node", "remove", "pi-7")).exit_code == 0 and cluster.nodes.get("pi-7") is None


async def test_a_servers_own_node_is_not_taken_out(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path / "ca") as cluster:
        typed = typing(cluster, tmp_path)
        await cluster.nodes.change("pi-1", lambda before: NodeIdentity("pi-1", "ab" * 32, "server"))
        for verb in ("remove", "revoke"):
            refused = await typed("node", verb, "pi-1")
            assert refused.exit_code == 1 and "a server's own node" in refused.output
        assert cluster.nodes.get("pi-1") == NodeIdentity("pi-1", "ab" * 32, "server")


async def test_without_facts_or_server_the_commands_say_where_they_belong(tmp_path: Path) -> None:
    elsewhere = await trio.to_thread.run_sync(CliRunner().invoke, edgekube, ["token", "list", "--data-dir", str(tmp_path)])
    assert elsewhere.exit_code == 1 and "this command runs on a server" in elsewhere.output
    async with joinable_cluster(tmp_path / "ca") as cluster:
        typed = typing(cluster, tmp_path)
        await cluster.verbs.delete(CONFIGMAP, NAMESPACE, NAME)
        assert (await typed("token", "create")).exit_code == 1
        assert not [each for each in (await cluster.verbs.list(SECRET, NAMESPACE)).objects() if "join-token" in each["type"]]


def test_tables_of_tokens_and_nodes() -> None:
    records = [
        TokenRecord("abc123", "s", "h", None, None, "any"),
        TokenRecord("def456", "s", "h", 1000.0, 0, used_by=("k",)),
        TokenRecord("ghi789", "s", "h", 90_000.0, 1),
    ]
    assert render_tokens(records, 2000.0) == (
        "ID      EXPIRES   USES       USED  DESCRIPTION\n"
        "def456  expired   0          1\n"
        "ghi789  24h       1          0\n"
        "abc123  never     unlimited  0     any\n"
    )
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}],
                        "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]}}  # fmt: skip
    rows = [row("pi-1", NodeIdentity("pi-1", "ab" * 32, "server"), ready), row("pi-2", None, {}),
            row("pi-7", NodeIdentity("pi-7", "cd" * 32, "token:abc123", "1000", revoked="2026"), None)]  # fmt: skip
    assert render_nodes(rows) == (
        "NAME  STATUS    ADDRESS    JOINED BY     SERIAL  KEY\n"
        "pi-1  Ready     192.0.2.7  server                abababababababab\n"
        "pi-2  starting\n"
        "pi-7  revoked              token:abc123  1000    cdcdcdcdcdcdcdcd\n"
    )


@given(st.integers(1, 999_999), st.sampled_from("smhd"))
def test_a_lifetime_is_a_number_and_its_unit(number: int, unit: str) -> None:
    context, parameter = click.Context(click.Command("c")), click.Option(["--ttl"])
    assert lifetime(context, parameter, f"{number}{unit}") == number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert lifetime(context, parameter, "never") is None
    for wrong in (str(number), f"-{number}{unit}", f"0{unit}", f"{number} {unit}", "", f"{number}{unit}{unit}"):
        with pytest.raises(click.BadParameter, match="30m, 24h or 7d"):
            lifetime(context, parameter, wrong)
