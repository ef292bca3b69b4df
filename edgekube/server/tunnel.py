"""Logs, exec, attach and port-forward: through this server to the agent of the pod's node.

Enters: a request on a pod's subresource.
Leaves: the agent's answer, streamed; or, after an upgrade, the raw bytes both ways.
Holds: the agent sees this server's certificate and never the client's token; the client's own request head goes on with a new
path (sources: kubernetes.io, kubelet API paths; RFC 9110 section 7.8).
Next: server.agents, wire.splice.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import orjson

from edgekube.api import errors
from edgekube.api.errors import CODES, StatusError
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, name_of
from edgekube.registry.state import Registry
from edgekube.server.agents import AgentConnections
from edgekube.server.logoptions import log_parameters
from edgekube.server.routes import Route
from edgekube.wire.client import ClientResponse, ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected, Request, Responder, asks_for_websocket
from edgekube.wire.splice import splice

log = logging.getLogger("edgekube.server")

T = TypeVar("T")

TUNNELS: Final = ("log", "exec", "attach", "portforward")
#: The client's stream parameters, as an agent names them.
_STREAMS: Final = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
#: What of the client's request head belongs to the connection or to this server.
_KEPT_BACK: Final = frozenset({"authorization", "host", "cookie", "content-length", "transfer-encoding", "expect"})
_PROTOCOL_HEADER: Final = "x-stream-protocol-version"
#: Best first; the header came as several lines, one is sent on.
_PROTOCOLS: Final = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_ERROR_BYTES_MAX: Final = 64 * 1024
_REASONS: Final = {code: reason for reason, code in reversed(CODES.items())}


class Tunnel:
    def __init__(self, registry: Registry, agents: AgentConnections) -> None:
        self._registry = registry
        self._agents = agents

    async def serve(self, request: Request, responder: Responder, route: Route) -> None:
        if route.subresource == "log":
            log_parameters(route)
        pod = await self._registry.find(POD, route.namespace, route.name)
        if pod is None:
            raise errors.not_found("", "pods", route.name)
        target = _target(route, pod)
        node_name = (pod.get("spec") or {}).get("nodeName")
        if not node_name:
            if route.subresource == "log":  # nothing ran, so nothing was written
                await responder.send(204, {"cache-control": "no-cache, private"})
                return
            raise errors.bad_request(f"pod {route.name} does not have a host assigned")
        if route.subresource == "log":
            await self._stream(request, responder, str(node_name), target)
        else:
            await self._upgrade(request, responder, str(node_name), target)

    async def _stream(self, request: Request, responder: Responder, node_name: str, target: str) -> None:
        """Pass a body on as it comes; the agent's side closes when the client leaves."""
        if request.method not in ("GET", "HEAD"):
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        connection = await self._agents.open(node_name)
        try:
            response = await _asked(connection.request("GET", target, {}), node_name)
            if response.status != 200:
                raise await _refusal(response, node_name)
            if asks_for_websocket(request.headers):
                from edgekube.server.log_socket import send_log

                await send_log(request.headers, responder, response.receive_some)
                return
            headers = {"content-type": response.headers.get("content-type", "text/plain"), "cache-control": "no-cache, private"}
            await responder.start(200, headers)
            while piece := await response.receive_some():
                await responder.write(piece)
            await responder.end()
        finally:
            connection.close()

    async def _upgrade(self, request: Request, responder: Responder, node_name: str, target: str) -> None:
        if "upgrade" not in request.headers:
            raise errors.bad_request("Upgrade request required")
        if request.http_version != "1.1":
            raise errors.bad_request("an upgrade needs HTTP/1.1")
        connection = await self._agents.open(node_name)
        try:
            asked = connection.upgrade(request.method, target, _passed_on(request.headers))
            response, stream = await _asked(asked, node_name)
            if stream is None:
                raise await _refusal(response, node_name)
            client = await responder.upgrade()
            await client.send_all(switching(response.headers))
            await splice(client, stream)
        finally:
            connection.close()


async def _asked(answer: Awaitable[T], node_name: str) -> T:
    try:
        return await answer
    except (ProtocolError, Disconnected, OSError) as error:
        raise errors.unreachable(f"the agent of node {node_name} did not answer: {error}") from error


async def _refusal(response: ClientResponse, node_name: str) -> StatusError:
    """What the agent said, as a Status; plain text is what a kubelet answers."""
    try:
        body = await response.read(_ERROR_BYTES_MAX)
    except (BodyTooLarge, Disconnected):
        body = b""
    if response.headers.get("content-type", "").startswith("application/json"):
        try:
            status = orjson.loads(body)
            if isinstance(status, dict) and status.get("kind") == "Status":
                return StatusError.from_status(status)
        except ValueError:
            log.debug("agent answered broken JSON node=%s", node_name)
    text = body.decode("utf-8", "replace").strip() or f"the agent of node {node_name} answered {response.status}"
    return StatusError(_REASONS.get(response.status, "InternalError"), text, code=response.status)


def _target(route: Route, pod: Object) -> str:
    """The agent's path and query for a pod's subresource."""
    place = f"{quote(route.namespace, safe='')}/{quote(route.name, safe='')}"
    if route.subresource == "portforward":
        ports = [("port", port) for value in route.query.get("ports", []) for port in value.split(",")]
        return f"/portForward/{place}" + (f"?{urlencode(ports)}" if ports else "")
    container = quote(container_of(pod, route.parameter("container")), safe="")
    if route.subresource == "log":
        chosen = log_parameters(route)
        return f"/containerLogs/{place}/{container}" + (f"?{urlencode(chosen)}" if chosen else "")
    query = [("command", part) for part in route.query.get("command", [])] if route.subresource == "exec" else []
    query += [(theirs, "1") for ours, theirs in _STREAMS if route.flag(ours)]
    return f"/{route.subresource}/{place}/{container}?{urlencode(query)}"


def container_of(pod: Object, wanted: str) -> str:
    """The container that was named, or the only one. StatusError BadRequest when that is not clear."""
    spec = pod.get("spec") or {}
    containers = [str(c.get("name")) for c in spec.get("containers") or []]
    init = [str(c.get("name")) for c in spec.get("initContainers") or []]
    ephemeral = [str(c.get("name")) for c in spec.get("ephemeralContainers") or []]
    if wanted:
        if wanted in (*containers, *init, *ephemeral):
            return wanted
        raise errors.bad_request(f"container {wanted} is not valid for pod {name_of(pod)}")
    if len(containers) == 1:
        return containers[0]
    text = f"a container name must be specified for pod {name_of(pod)}, choose one of: [{' '.join(containers)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise errors.bad_request(text)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    passed = {name: value for name, value in headers.items() if name not in _KEPT_BACK and not name.startswith("impersonate-")}
    offered = [part.strip() for part in passed.get(_PROTOCOL_HEADER, "").split(",")]
    if len(offered) > 1:
        passed[_PROTOCOL_HEADER] = next((protocol for protocol in _PROTOCOLS if protocol in offered), offered[0])
    return passed


def switching(headers: Mapping[str, str]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name != "content-length"]
    return ("HTTP/1.1 101 Switching Protocols\r\n" + "".join(lines) + "\r\n").encode("latin-1")
