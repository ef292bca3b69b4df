"""Who comes in at a node's port: asked of a real API server, with real tokens, certificates and roles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgekube.agent.access import DelegatedAccess, reviewed_by, subresources_of
from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, SERVICEACCOUNT
from edgekube.api.objects import Object
from edgekube.client.remote import RemoteVerbs
from edgekube.client.target import Target
from edgekube.pki.authority import Subject
from edgekube.pki.certificates import SERVER_NAME
from edgekube.wire.protocol import Request
from edgekube.wire.tls import ClientTls
from tests.server.secured import Secured, admin, node, secured_api

PI = node("pi-1")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Port:
    api: Secured
    access: DelegatedAccess
    clock: Clock

    async def refusal(self, path: str, *, token: str = "", who: Subject | None = None, method: str = "GET") -> int:
        """The code of what is refused, 200 for what is not."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        certificate = _der(self.api, who) if who is not None else None
        request = Request(method, path, "", headers, None, "2", "192.0.2.9:1", certificate)  # type: ignore[arg-type]
        try:
            await self.access.check(request)
        except StatusError as error:
            return error.code
        return 200

    async def may(self, *subresources: str) -> None:
        """The default service account gets a role for these of the node."""
        resources = [f"nodes/{subresource}" for subresource in subresources]
        role: Object = {"metadata": {"name": "scrape"}, "rules": [{"apiGroups": [""], "resources": resources, "verbs": ["get"]}]}
        subject = {"kind": "ServiceAccount", "namespace": "default", "name": "default"}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "scrape"}
        binding: Object = {"metadata": {"name": "scrape"}, "subjects": [subject], "roleRef": reference}
        for plural, obj in (("clusterroles", role), ("clusterrolebindings", binding)):
            kind = KINDS.by_resource("rbac.authorization.k8s.io", "v1", plural)
            assert kind is not None
            made = await self.api.verbs.create(kind, "", obj)
            self.api.roles.put({"kind": kind.kind, "apiVersion": kind.api_version, **made})


def _der(api: Secured, who: Subject) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(api.pair(who).certificate.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    async with secured_api(tmp_path) as api:
        await api.register(PI)
        pair = api.pair(PI)
        tls = ClientTls(tmp_path / "ca.crt", pair.certificate, pair.key)
        async with RemoteVerbs(Target(lambda: ("127.0.0.1", api.port), tls, SERVER_NAME)) as verbs:
            clock = Clock()
            yield Port(api, DelegatedAccess(reviewed_by(verbs), "pi-1", clock), clock)


async def _token(api: Secured, **spec: Any) -> str:
    answer = await api.verbs.create(SERVICEACCOUNT, "default", {"spec": spec}, subresource="token", name="default")
    return str(answer["status"]["token"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/metrics/resource", ("metrics",)),
        ("/stats/summary", ("stats",)),
        ("/logs/", ("log",)),
        ("/pods", ("pods", "proxy")),
        ("/runningpods/", ("pods", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/exec/default/p/c", ("proxy",)),
        ("/metricsx", ("proxy",)),
        ("/%6detrics", ("proxy",)),
        ("/", ("proxy",)),
    ],
)
def test_what_a_path_is_of_the_node(path: str, expected: tuple[str, ...]) -> None:
    assert subresources_of(path) == expected


async def test_without_a_name_nobody_comes_in(port: Port) -> None:
    assert await port.refusal("/metrics") == 401
    assert await port.refusal("/metrics", token="no.such.token") == 401


async def test_a_service_account_gets_what_its_role_says(port: Port) -> None:
    token = await _token(port.api)
    assert await port.refusal("/metrics/resource", token=token) == 403
    await port.may("metrics", "pods")
    assert await port.refusal("/metrics/resource", token=token) == 403, "the answer is kept for half a minute"
    port.clock.now += 31
    assert await port.refusal("/metrics/resource", token=token) == 200
    assert await port.refusal("/pods", token=token) == 200, "nodes/pods is enough, nodes/proxy is not needed"
    assert await port.refusal("/exec/default/p/c", token=token, method="POST") == 403
    assert await port.refusal("/logs/", token=token) == 403


async def test_a_token_for_somebody_else_is_no_name_here(port: Port) -> None:
    assert await port.refusal("/metrics", token=await _token(port.api, audiences=["vault"])) == 401


async def test_certificates_are_names_as_well(port: Port) -> None:
    assert await port.refusal("/exec/default/p/c", who=admin()) == 200
    assert await port.refusal("/exec/default/p/c", who=node("pi-2")) == 403, "a node has no business at another one"


async def test_without_the_api_whoever_was_let_in_goes_on_for_a_while(port: Port) -> None:
    token, other = await _token(port.api), await _token(port.api)
    await port.may("metrics")
    assert await port.refusal("/metrics", token=token) == 200

    async def away(group: str, kind: str, obj: Object) -> Object:
        raise StatusError("ServiceUnavailable", "no server answers")

    port.access = _with(port.access, away)
    assert await port.refusal("/metrics", token=token) == 200
    assert await port.refusal("/metrics", token=other) == 503
    port.clock.now += 400
    assert await port.refusal("/metrics", token=token) == 503


def _with(access: DelegatedAccess, review: Any) -> DelegatedAccess:
    access._review = review
    return access
