"""Pass a request on to the API server that serves its group version.

Enters: a request that has been authenticated and authorized here, the user, the Remote.
Leaves: the other server's answer, streamed; after an upgrade the raw bytes both ways.
Holds: the other server learns who asks from headers that only this server may set, and never sees the client's credentials. A
path that it could read in another way than we authorized it is refused. A server that cannot be reached is 503, as upstream
answers: text, for what a Status looks like is the other server's business.
Source: kubernetes.io, "Configure the Aggregation Layer"; k8s.io/kube-aggregator handler_proxy; k8s.io/client-go transport
SetAuthProxyHeaders.
Bound: limits.REQUEST_BODY_BYTES_MAX; limits.AGENT_CONNECT_SECONDS to connect.
Next: server.aggregation.connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, unquote

import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.api_services import Remote
from edgekube.api.errors import StatusError
from edgekube.api.verbs import UserInfo
from edgekube.server import respond
from edgekube.server.aggregation.connections import RemoteConnections
from edgekube.server.aggregation.trust import EXTRA_PREFIX, GROUP_HEADER, UID_HEADER, USER_HEADER
from edgekube.server.tunnel import switching
from edgekube.wire.client import ClientResponse, ProtocolError, SentHeaders
from edgekube.wire.protocol import BodyTooLarge, Disconnected, Request, Responder
from edgekube.wire.splice import splice

#: Headers of one connection (RFC 9110 section 7.6.1), and credentials.
_KEPT_BACK: Final = frozenset({
    "authorization", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "trailer", "upgrade"})
#: What a client may not say for itself.
_IDENTITY: Final = ("x-remote-", "impersonate-")
#: What upstream leaves as it is in the name of an extra key (RFC 9110 token characters, without the percent sign).
_TOKEN: Final = "!#$&'*+-.^_`|~"
_UNAVAILABLE: Final = "service unavailable\n"
_DOTS: Final = (".", "..")


def is_plain(path: str) -> bool:
    """Whether whoever reads the path finds the same segments in it, decoded before or after it is split, cleaned or not: what is
    authorized here must be what is asked there."""
    segments = path.rstrip("/").split("/")[1:]
    return all(segment and "/" not in (read := unquote(segment)) and read not in _DOTS for segment in segments)


def _octets(text: str) -> str:
    """Go reads headers as UTF-8; wire.client writes each character as one octet."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def identity_headers(user: UserInfo) -> dict[str, str | tuple[str, ...]]:
    headers: dict[str, str | tuple[str, ...]] = {USER_HEADER: _octets(user.name)}
    if user.uid:
        headers[UID_HEADER] = _octets(user.uid)
    if user.groups:
        headers[GROUP_HEADER] = tuple(map(_octets, user.groups))
    for key, values in user.extra.items():
        headers[EXTRA_PREFIX + quote(key.lower(), safe=_TOKEN)] = tuple(map(_octets, values))
    return headers


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a client's headers the other server sees."""
    return {name: value for name, value in headers.items() if name not in _KEPT_BACK and not name.startswith(_IDENTITY)}


class Forwarding:
    def __init__(self, connections: RemoteConnections, failed: Callable[[], None]) -> None:
        """``failed`` is called when a server that counted as available could not be reached."""
        self._connections = connections
        self._failed = failed

    async def serve(self, request: Request, responder: Responder, user: UserInfo, remote: Remote) -> None:
        if not is_plain(request.path):
            raise errors.bad_request("the path can be read in more than one way")
        headers: dict[str, str | tuple[str, ...]] = {**passed_on(request.headers), **identity_headers(user)}
        headers["x-forwarded-uri"] = request.path
        headers["x-forwarded-for"] = request.peer.rpartition(":")[0]
        if host := request.headers.get("host"):
            headers["x-forwarded-host"] = host
        target = request.path + (f"?{request.query}" if request.query else "")
        try:
            if "upgrade" in request.headers:
                await self._upgrade(request, responder, remote, target, headers)
            else:
                await self._pass_on(request, responder, remote, target, headers)
        except _Unreachable as unreachable:
            self._failed()
            await respond.send_text(request, responder, 503, f"{unreachable}\n" if str(unreachable) else _UNAVAILABLE)

    async def fetch(self, remote: Remote, path: str, user: UserInfo, max_bytes: int) -> tuple[int, bytes]:
        """A question of this server's own, asked in the user's name."""
        headers = {"accept": "application/json", **identity_headers(user)}
        try:
            async with await self._connections.client(remote).send("GET", path, headers, None) as response:
                return response.status, await response.read(max_bytes)
        except (*_FAILURES, BodyTooLarge) as error:
            self._failed()
            raise errors.unreachable(_told(error)) from error

    async def unavailable(self, request: Request, responder: Responder) -> None:
        await respond.send_text(request, responder, 503, _UNAVAILABLE)

    async def _pass_on(self, request: Request, responder: Responder, remote: Remote, target: str, headers: SentHeaders) -> None:
        try:
            body = await request.body.read(limits.REQUEST_BODY_BYTES_MAX)
        except BodyTooLarge:
            raise errors.entity_too_large(f"limit is {limits.REQUEST_BODY_BYTES_MAX}") from None
        try:
            response = await self._connections.client(remote).send(request.method, target, headers, body or None)
        except _FAILURES as error:
            raise _Unreachable(_told(error)) from error
        async with response:
            await _send_on(responder, response)

    async def _upgrade(
        self, request: Request, responder: Responder, remote: Remote, target: str, headers: dict[str, str | tuple[str, ...]]
    ) -> None:
        if request.http_version != "1.1":
            raise errors.bad_request("an upgrade needs HTTP/1.1")
        headers |= {"connection": "Upgrade", "upgrade": request.headers["upgrade"]}
        try:
            response, stream = await self._connections.client(remote).upgrade(request.method, target, headers)
        except _FAILURES as error:
            raise _Unreachable(_told(error)) from error
        if stream is None:
            async with response:
                await _send_on(responder, response)
            return
        client = await responder.upgrade()
        await client.send_all(switching(response.headers))
        await splice(client, stream)


class _Unreachable(Exception):
    pass


_FAILURES: Final = (StatusError, OSError, ssl.SSLError, ProtocolError, Disconnected, ValueError, trio.TooSlowError)


def _told(error: BaseException) -> str:
    """Why, for the client; where the Service has nobody, what upstream says."""
    return "" if isinstance(error, StatusError) else f"error trying to reach service: {error}"


async def _send_on(responder: Responder, response: ClientResponse) -> None:
    await responder.start(response.status, {n: v for n, v in response.headers.items() if n not in _HOP_BY_HOP})
    while piece := await response.receive_some():
        await responder.write(piece)
    await responder.end()
