"""Starts the server: real store, registry, roles and HTTP; who somebody is comes from a table of tokens."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import trio

from edgekube.admission.default_roles import default_objects
from edgekube.admission.escalation import Grants
from edgekube.admission.rbac import RoleIndex
from edgekube.api.errors import unauthorized
from edgekube.api.objects import Object
from edgekube.api.reachable import is_reachable
from edgekube.api.verbs import UserInfo
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.server.agents import AgentConnections, NodeAgents
from edgekube.server.aggregation.aggregator import Aggregator
from edgekube.server.app import Application
from edgekube.server.auditing import Auditing
from edgekube.server.doors import Doors
from edgekube.server.fairness.fairness import Fairness
from edgekube.server.respond import error_body
from edgekube.wire.client import HttpClient
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.transport import Transport, connect
from tests.registry.cluster import ADMIN, default_account, open_registry

TOKENS = {
    "admin": ADMIN,
    "alice": UserInfo("alice", groups=("developers",)),
    "robot": UserInfo("system:serviceaccount:default:robot", uid="1", groups=("system:serviceaccounts",)),
}


class TokenTable:
    """server.authenticator.Authenticator for tests."""

    async def authenticate(self, peer_certificate: bytes | None, authorization: str) -> UserInfo | None:
        if not authorization:
            return None
        return (await self.review(authorization.removeprefix("Bearer "), ()))[0]

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, Sequence[str]]:
        user = TOKENS.get(token)
        if user is None:
            raise unauthorized()
        return user, audiences


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Api:
    def __init__(self, port: int, registry: Registry, roles: RoleIndex, app: Application) -> None:
        self.port = port
        self.registry = registry
        self.roles = roles
        self.app = app
        self.verbs = LocalVerbs(registry, ADMIN)

        async def dial() -> Transport:
            return await connect("127.0.0.1", port)

        self.http = HttpClient(dial, f"127.0.0.1:{port}")

    async def ask(
        self, method: str, path: str, body: Object | list[Any] | bytes | None = None, *, user: str = "admin", **headers: str
    ) -> Answer:
        """Headers are given as keywords: ``content_type="…"``."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if user:
            sent["authorization"] = f"Bearer {user}"
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        if data is not None:
            sent.setdefault("content-type", "application/json")
        with trio.fail_after(60):
            async with self.http.request(method, path, sent, data) as response:
                answered = await response.read(64 << 20)
        if response.headers.get("content-encoding") == "gzip":
            answered = gzip.decompress(answered)
        return Answer(response.status, response.headers, answered)

    @asynccontextmanager
    async def watch(self, path: str, *, user: str = "admin", **headers: str) -> AsyncIterator[Lines]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()} | {"authorization": f"Bearer {user}"}
        with trio.fail_after(60):
            async with self.http.request("GET", path, sent) as response:
                assert response.status == 200, await response.read(1 << 20)
                yield Lines(response.receive_some)


class Lines:
    """The events of a watch."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._left = b""

    async def next(self) -> Any:
        """The next event; None at the end of the stream."""
        while b"\n" not in self._left:
            piece = await self._receive()
            if not piece:
                assert not self._left
                return None
            self._left += piece
        line, _, self._left = self._left.partition(b"\n")
        return orjson.loads(line)


@asynccontextmanager
async def running_api(
    tmp_path: Path,
    agents: AgentConnections | None = None,
    doors: Callable[[Registry], Doors] | None = None,
    reachable: Callable[[str], bool] = is_reachable,
    log_requests: bool = False,
    aggregator: Callable[[Registry], Aggregator] | None = None,
    fairness: Fairness | None = None,
    auditing: Callable[[Registry], Auditing] | None = None,
    **choices: Any,
) -> AsyncIterator[Api]:
    """``reachable``: where the proxy goes; in tests that is the loopback."""
    async with open_registry(tmp_path / "state.db", **choices) as registry:
        await default_account(registry)
        roles = RoleIndex()
        registry.grants = Grants(roles)
        registry.authorizer = roles
        for obj in default_objects():
            roles.put(obj)

        def no_context() -> Any:
            raise AssertionError("this test has no agents")

        behind = aggregator(registry) if aggregator else None
        app = Application(
            registry,
            TokenTable(),
            roles,
            agents or NodeAgents(registry, no_context),
            rules=roles,
            doors=doors(registry) if doors else None,
            reachable=reachable,
            aggregator=behind,
            fairness=fairness,
            log_requests=log_requests,
            auditing=auditing(registry) if auditing else None,
        )
        server = Server(app.handle, tls=None, error_body=error_body)
        async with trio.open_nursery() as nursery:
            ports = await nursery.start(server.serve, open_listeners(0, "127.0.0.1"))
            if behind is not None:
                nursery.start_soon(behind.run)
            api = Api(ports[0], registry, roles, app)
            yield api
            await api.http.aclose()
            app.drain()
            await server.drain(1)
            nursery.cancel_scope.cancel()
