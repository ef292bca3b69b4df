"""The proxy subresource: HTTP through this server to a pod, a service or a node's agent.

Enters: a request on …/proxy/PATH of a pod, service or node.
Leaves: the other side's answer, streamed; after an upgrade the raw bytes both ways.
Holds: the other side never sees the client's token or certificate, and is no loopback address; names are ``[https:]name[:port]``;
links of a page lead back through the proxy; a pod of another node is dialled by its agent (source: kubernetes.io, "Access
Services Running on Clusters"; k8s.io/kubernetes pkg/registry/core/{pod,service,node}).
Bound: limits.REQUEST_BODY_BYTES_MAX; limits.PROXY_PAGE_BYTES_MAX; limits.AGENT_CONNECT_SECONDS to connect.
Next: server.proxied_html; server.agents; wire.client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.kinds import NODE, POD, SERVICE
from edgekube.api.objects import Object
from edgekube.api.reachable import is_reachable
from edgekube.registry.service_places import Place, endpoints_of
from edgekube.registry.state import Registry
from edgekube.server.agents import AgentConnections
from edgekube.server.pod_dialing import through_agent
from edgekube.server.routes import Route
from edgekube.server.tunnel import switching
from edgekube.wire.client import ClientResponse, HttpConnection, ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected, Request, Responder
from edgekube.wire.splice import splice
from edgekube.wire.tls import unverified_client_context
from edgekube.wire.transport import connect

PROXY: Final = "proxy"
#: Headers of one connection (RFC 9110 section 7.6.1), and what would tell the other side who the client is. Compressed pages
#: could not be rewritten.
_KEPT_BACK: Final = frozenset({
    "accept-encoding", "authorization", "connection", "content-length", "cookie", "expect", "host", "keep-alive",
    "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "trailer", "upgrade", "proxy-authenticate"})
#: A pod's word on who may read its answers is not the API server's.
_CROSS_ORIGIN: Final = "access-control-"


class Proxy:
    def __init__(self, registry: Registry, agents: AgentConnections, reachable: Callable[[str], bool] = is_reachable) -> None:
        """``reachable``: whether an address is one to go to at all."""
        self._reachable = reachable
        self._registry = registry
        self._agents = agents

    async def serve(self, request: Request, responder: Responder, route: Route) -> None:
        if "upgrade" in request.headers:
            await self._upgrade(request, responder, route)
            return
        if request.method in ("GET", "HEAD") and route.plural != NODE.plural and request.path.endswith(f"/{PROXY}"):
            # Relative links of the page would miss it otherwise.
            await self._check_there(route)
            query = f"?{request.query}" if request.query else ""
            await responder.send(301, {"location": f"{request.path}/{query}"})
            return
        try:
            body = await request.body.read(limits.REQUEST_BODY_BYTES_MAX)
        except BodyTooLarge:
            raise errors.entity_too_large(f"limit is {limits.REQUEST_BODY_BYTES_MAX}") from None
        connection = await self._open(route)
        try:
            await self._pass_on(request, responder, connection, body)
        finally:
            connection.close()

    async def _upgrade(self, request: Request, responder: Responder, route: Route) -> None:
        """A WebSocket, or whatever the two agree on: their own bytes, both ways."""
        if request.http_version != "1.1":
            raise errors.bad_request("an upgrade needs HTTP/1.1")
        connection = await self._open(route)
        try:
            _, rest = _split(request.path)
            target = "/" + rest + (f"?{request.query}" if request.query else "")
            headers = {name: value for name, value in request.headers.items() if name not in _KEPT_BACK}
            headers |= {"connection": "Upgrade", "upgrade": request.headers["upgrade"]}
            try:
                response, stream = await connection.upgrade(request.method, target, headers)
            except (ProtocolError, Disconnected, OSError, ValueError) as error:
                raise errors.unreachable(f"error trying to reach service: {error}") from error
            if stream is None:
                await _send_on(responder, response, _without_hops(response.headers))
                return
            client = await responder.upgrade()
            await client.send_all(switching(response.headers))
            await splice(client, stream)
        finally:
            connection.close()

    async def _check_there(self, route: Route) -> None:
        _, name, _ = parts_of(route.name)
        kind = POD if route.plural == POD.plural else SERVICE
        if await self._registry.find(kind, route.namespace, name) is None:
            raise errors.not_found("", kind.plural, name)

    async def _open(self, route: Route) -> HttpConnection:
        scheme, name, port = parts_of(route.name)
        if route.plural == NODE.plural:
            return await self._agents.open(name)
        if route.plural == POD.plural:
            place = await self._pod(route.namespace, name, port)
        else:
            place = await self._service(route.namespace, name, port)
        if not self._reachable(place.host):
            # A pod's status or an endpoint said so; what listens on this machine's loopback is not for those who may write them.
            raise errors.bad_request("address not allowed")
        if place.pod and not self._agents.is_here(place.node):
            transport = await through_agent(self._agents, place, tls=scheme == "https")
            return HttpConnection(transport, f"{place.host}:{place.port}")
        host, number = place.host, place.port
        # A pod's certificate vouches for nothing that we know: upstream's proxy does not look at it either.
        context = unverified_client_context() if scheme == "https" else None
        try:
            with trio.fail_after(limits.AGENT_CONNECT_SECONDS):
                transport = await connect(host, number, context=context)
        except (OSError, trio.TooSlowError) as error:
            raise errors.unreachable(f"error trying to reach service: {host}:{number}: {error}") from error
        return HttpConnection(transport, f"{host}:{number}")

    async def _pod(self, namespace: str, name: str, port: str) -> Place:
        pod = await self._registry.find(POD, namespace, name)
        if pod is None:
            raise errors.not_found("", "pods", name)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise errors.unreachable(f"pod {name} has no address yet")
        node = str((pod.get("spec") or {}).get("nodeName") or "")
        return Place(str(address), _container_port(pod, port), node, namespace, name if node else "")

    async def _service(self, namespace: str, name: str, port: str) -> Place:
        """A ready endpoint of the service, drawn anew for each request."""
        service = await self._registry.find(SERVICE, namespace, name)
        if service is None:
            raise errors.not_found("", "services", name)
        ports = (service.get("spec") or {}).get("ports") or []
        if not port and len(ports) == 1:
            wanted = str(ports[0].get("name") or "")
        else:
            found = next((p for p in ports if port in (str(p.get("port")), p.get("name"))), None)
            if found is None:
                raise errors.unreachable(f'no service port "{port}" found for service "{name}"')
            wanted = str(found.get("name") or "")
        choices = await endpoints_of(self._registry, namespace, name, wanted)
        return self._registry.draw.choice(choices)

    async def _pass_on(self, request: Request, responder: Responder, connection: HttpConnection, body: bytes) -> None:
        root, rest = _split(request.path)
        target = "/" + rest + (f"?{request.query}" if request.query else "")
        headers = {name: value for name, value in request.headers.items() if name not in _KEPT_BACK}
        headers["x-forwarded-uri"] = request.path
        if host := request.headers.get("host"):
            headers["x-forwarded-host"] = host
        try:
            response = await connection.request(request.method, target, headers, body or None)
        except (ProtocolError, Disconnected, OSError, ValueError) as error:
            raise errors.unreachable(f"error trying to reach service: {error}") from error
        answered = _without_hops(response.headers)
        hosts = (connection.authority, host or connection.authority)
        if location := answered.get("location"):
            from edgekube.server.proxied_html import rewritten_url  # it brings half a megabyte of entities

            answered["location"] = rewritten_url(location, root, hosts)
        if is_page(response) and request.method != "HEAD":
            await _send_page(responder, response, answered, root, hosts)
            return
        await _send_on(responder, response, answered)


def _without_hops(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _HOP_BY_HOP and not name.startswith(_CROSS_ORIGIN)}


async def _send_on(responder: Responder, response: ClientResponse, headers: dict[str, str]) -> None:
    await responder.start(response.status, headers)
    while piece := await response.receive_some():
        await responder.write(piece)
    await responder.end()


def is_page(response: ClientResponse) -> bool:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "text/html" and not response.headers.get("content-encoding")


async def _send_page(
    responder: Responder, response: ClientResponse, answered: dict[str, str], root: str, hosts: tuple[str, ...]
) -> None:
    """A page with its links rewritten; what is too large for that passes as it is."""
    pieces: list[bytes] = []
    size = 0
    while size <= limits.PROXY_PAGE_BYTES_MAX and (piece := await response.receive_some()):
        pieces.append(piece)
        size += len(piece)
    body = b"".join(pieces)
    if size > limits.PROXY_PAGE_BYTES_MAX:
        await responder.start(response.status, answered)
        await responder.write(body)
        while piece := await response.receive_some():
            await responder.write(piece)
        await responder.end()
        return
    from edgekube.server.proxied_html import rewritten_page

    # Every byte is a character of Latin-1, and markup is the same there and in every superset of ASCII.
    page = rewritten_page(body.decode("latin-1"), root, hosts).encode("latin-1")
    answered.pop("content-length", None)
    await responder.send(response.status, answered, page)


def parts_of(name: str) -> tuple[str, str, str]:
    """(scheme, name, port) of ``name``, ``name:port``, ``scheme:name:`` or ``scheme:name:port``. StatusError BadRequest."""
    match name.split(":"):
        case [only]:
            return "http", only, ""
        case [only, port]:
            return "http", only, port
        case [scheme, only, port] if scheme in ("", "http", "https"):
            return scheme or "http", only, port
    raise errors.bad_request(f'invalid proxy target "{name}"')


def _container_port(pod: Object, port: str) -> int:
    """The named or numbered port; without one, the first that a container declares, else 80."""
    declared = [p for c in (pod.get("spec") or {}).get("containers") or [] for p in c.get("ports") or []]
    if not port:
        return int(declared[0]["containerPort"]) if declared else 80
    if port.isdigit():
        return int(port)
    named = next((p for p in declared if p.get("name") == port), None)
    if named is None:
        raise errors.bad_request(f'the pod has no port "{port}"')
    return int(named["containerPort"])


def _split(path: str) -> tuple[str, str]:
    """…/NAME/proxy, and what follows it in the path as it was sent, escapes untouched."""
    parts = path.split("/")
    end = (5 if parts[3] == "namespaces" else 3) + 3
    return "/".join(parts[:end]), "/".join(parts[end:])
