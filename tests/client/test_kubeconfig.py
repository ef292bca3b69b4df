"""Kubeconfigs as kubectl writes them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from edgekube.api.kinds import NODE
from edgekube.client.kubeconfig import KubeconfigError, load_kubeconfig, parse_kubeconfig
from edgekube.client.remote import RemoteVerbs
from edgekube.wire.protocol import Request, Responder
from tests.wire.serving import Identity, serving


def kubeconfig(cluster: dict[str, Any], user: dict[str, Any]) -> bytes:
    config = {
        "kind": "Config",
        "apiVersion": "v1",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }
    return yaml.safe_dump(config).encode()


def inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


async def greet(request: Request, responder: Responder) -> None:
    who = {"certificate": request.peer_certificate is not None, "token": request.headers.get("authorization", "")}
    await responder.send(200, {}, orjson.dumps(who))


async def test_inline_certificates(identity: Identity) -> None:
    async with serving(greet, identity) as at:
        server = f"https://127.0.0.1:{at.port}"
        config = kubeconfig(
            {"server": server, "certificate-authority-data": inline(identity.authority.path)},
            {"client-certificate-data": inline(identity.admin.certificate), "client-key-data": inline(identity.admin.key)},
        )
        async with RemoteVerbs(parse_kubeconfig(config)) as verbs:
            assert await verbs.get(NODE, "", "n") == {"certificate": True, "token": ""}


async def test_files_beside_it_a_token_file_and_a_server_name(identity: Identity, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(identity.authority.path.read_bytes())
    (tmp_path / "token").write_text("first\n")
    async with serving(greet, identity) as at:
        cluster = {"server": f"https://127.0.0.1:{at.port}", "certificate-authority": "ca.crt", "tls-server-name": "server"}
        (tmp_path / "config").write_bytes(kubeconfig(cluster, {"tokenFile": "token"}))
        async with RemoteVerbs(load_kubeconfig(tmp_path / "config")) as verbs:
            assert await verbs.get(NODE, "", "n") == {"certificate": False, "token": "Bearer first"}
            (tmp_path / "token").write_text("second\n")
            assert (await verbs.get(NODE, "", "n"))["token"] == "Bearer second"


GOOD = {"server": "https://x:1", "certificate-authority": "ca.crt"}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"a: [", "kubeconfig: "),
        (b"[]", "not a kubeconfig"),
        (b"kind: Config", "no current-context"),
        (b"current-context: a", "contexts has no entry named 'a'"),
        (kubeconfig({"server": "http://x"}, {}), "server must be https"),
        (kubeconfig({"server": "https://x/prefix"}, {}), "a path in server is not supported"),
        (kubeconfig({"server": "https://x", "insecure-skip-tls-verify": True}, {}), "insecure-skip-tls-verify"),
        (kubeconfig({"server": "https://x"}, {}), "no certificate-authority"),
        (kubeconfig({"server": "https://x", "certificate-authority-data": "!"}, {}), "certificate-authority-data is not base64"),
        (kubeconfig(GOOD, {"exec": {}}), "exec is not supported"),
        (kubeconfig(GOOD, {"client-certificate": "a"}), "belong together"),
        (kubeconfig(GOOD, {}), "No such file"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, complaint: str) -> None:
    with pytest.raises(KubeconfigError, match=complaint):
        parse_kubeconfig(data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="config: No such file"):
        load_kubeconfig(tmp_path / "config")
