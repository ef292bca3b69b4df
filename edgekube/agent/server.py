"""What the API server asks of this node, over mutual TLS: logs, exec, attach, port-forward, pods, statistics.

Enters: requests on :10250 with kubelet's paths, and on connections that agent.tunnels opened.
Leaves: their answers; a Status for what is refused.
Holds: the API server is served, and whom the API says may (agent.access): without a name 401, without the right 403.
Bound: limits.AGENT_STREAMS_MAX requests at once.
Source: Kubernetes documentation, "Kubelet authentication/authorization"; the paths are kubelet's.
Next: agent.logs, agent.streams, agent.statistics.telling, agent.node_logs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, unquote

import orjson
import trio

from edgekube.agent.access import DelegatedAccess
from edgekube.agent.configz import configz
from edgekube.agent.log_source import log_of
from edgekube.agent.log_writer import completion, until_complete
from edgekube.agent.logs import parse_options, read_log
from edgekube.agent.node_log_query import parse
from edgekube.agent.node_logs import TEXT, answer, blocks_of, browsed
from edgekube.agent.pods import Pods
from edgekube.agent.statistics.telling import Statistics
from edgekube.agent.streams import join, join_port
from edgekube.agent.worker import PodWorker
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.api.reachable import is_reachable
from edgekube.containerd.model import RuntimeFailure
from edgekube.limits import AGENT_STREAMS_MAX
from edgekube.wire.protocol import Disconnected, Request, Responder
from edgekube.wire.refusals import REFUSED, RefusalLog
from edgekube.wire.tls import unverified_client_context

log = logging.getLogger("edgekube.agent")

_JSON = {"content-type": "application/json"}


class AgentServer:
    """A wire Handler."""

    def __init__(self, pods: Pods, authorize: Callable[[bytes | None], bool], access: DelegatedAccess) -> None:
        """``authorize``: the peer's certificate, verified by TLS -> is it the API server's? ``access``: anybody else."""
        self._pods = pods
        self._authorize = authorize
        self._access = access
        self._statistics = Statistics(pods)
        self._refusals = RefusalLog(log)
        self._slots = trio.CapacityLimiter(AGENT_STREAMS_MAX)

    async def __call__(self, request: Request, responder: Responder) -> None:
        """On the node's port: the certificate says who asks."""
        await self._answer(request, responder, self._check)

    async def from_tunnel(self, request: Request, responder: Responder) -> None:
        """On a connection that this agent opened: who asks was verified then."""
        await self._answer(request, responder, None)

    async def _answer(self, request: Request, responder: Responder, check: Callable[[Request], Awaitable[None]] | None) -> None:
        try:
            if check is not None:
                await check(request)
            if request.path == "/healthz":  # however many streams there are
                await responder.send(200, {"content-type": "text/plain"}, b"ok")
                return
            try:
                self._slots.acquire_on_behalf_of_nowait(request)
            except trio.WouldBlock:
                raise errors.too_many_requests("the node serves too many streams already") from None
            try:
                await self._serve(request, responder)
            finally:
                self._slots.release_on_behalf_of(request)
        except StatusError as error:
            if error.code in REFUSED:
                self._refusals.tell(request, error.code, error.message)
            await _refuse(responder, error)
        except RuntimeFailure as failure:
            await _refuse(responder, errors.internal(failure.message))

    async def _check(self, request: Request) -> None:
        if not self._authorize(request.peer_certificate):
            await self._access.check(request)

    async def _serve(self, request: Request, responder: Responder) -> None:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        match parts:
            case ["pods"]:
                await responder.send(200, _JSON, self._pod_list(lambda worker: True))
            case ["runningpods"]:
                await responder.send(200, _JSON, self._pod_list(self._runs))
            case ["healthz", "ping" | "log" | "syncloop"]:
                await responder.send(200, {"content-type": "text/plain"}, b"ok")
            case ["configz"]:
                await responder.send(200, _JSON, orjson.dumps(configz(self._pods.node.settings)))
            case ["logs", *place]:
                await self._node_logs(request, responder, "/".join(place))
            case ["stats" | "metrics", *_]:
                told = await self._statistics.told(parts)
                if told is None:
                    raise StatusError("NotFound", f"the agent serves no {request.path}")
                await responder.send(200, {"content-type": told[0]}, told[1])
            case ["containerLogs", namespace, name, container]:
                await self._logs(request, responder, namespace, name, container)
            case ["exec", namespace, name, container] | ["exec", namespace, name, _, container]:
                await self._exec(request, responder, namespace, name, container)
            case ["attach", namespace, name, container] | ["attach", namespace, name, _, container]:
                await self._attach(request, responder, namespace, name, container)
            case ["portForward", namespace, name] | ["portForward", namespace, name, _]:
                await self._port_forward(request, responder, namespace, name)
            case ["dial", namespace, name, port] if port.isdigit():
                await self._dial(request, responder, namespace, name, int(port))
            case _:
                raise StatusError("NotFound", f"the agent serves no {request.path}")

    def _runs(self, worker: PodWorker) -> bool:
        return any(self._pods.node.observer.of(worker.uid).alive())

    def _pod_list(self, wanted: Callable[[PodWorker], bool]) -> bytes:
        items = [worker.pod() for worker in self._pods.workers() if not worker.memory.gone and wanted(worker)]
        return orjson.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    def _worker(self, namespace: str, name: str) -> PodWorker:
        worker = self._pods.named(namespace, name)
        if worker is None:
            raise errors.not_found("", "pods", name)
        return worker

    async def _logs(self, request: Request, responder: Responder, namespace: str, name: str, container: str) -> None:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        options = parse_options(query, time.time())
        worker = self._worker(namespace, name)
        node = self._pods.node
        pod = worker.pod()
        attempt = log_of(pod, container, node.observer.of(worker.uid), worker.memory, previous=options.previous)
        path: Path = node.paths(pod).log(container, attempt)

        def over() -> bool:
            found = node.observer.of(worker.uid).latest(container)
            return found is None or found.status.attempt != attempt or found.status.state != "RUNNING"

        if over():
            await until_complete(path)
        await responder.start(200, {"content-type": "text/plain"})
        try:
            async for piece in read_log(path, options, completion(path, over)):
                await responder.write(piece)
        except Disconnected:
            return
        await responder.end()

    async def _node_logs(self, request: Request, responder: Responder, place: str) -> None:
        query = None if place else parse(parse_qs(request.query, keep_blank_values=True))
        if query is not None:
            pieces, content_type = answer(query), TEXT
        else:
            content_type, found = browsed(place)
            if isinstance(found, bytes):
                await responder.send(200, {"content-type": content_type}, found)
                return
            pieces = blocks_of(found)
        async with aclosing(pieces):
            first = await anext(pieces, b"")  # what is not there is said before the answer begins
            await responder.start(200, {"content-type": content_type})
            if first:
                await responder.write(first)
            async for piece in pieces:
                await responder.write(piece)
        await responder.end()

    def _running(self, worker: PodWorker, container: str) -> str:
        found = self._pods.node.observer.of(worker.uid).latest(container)
        if found is None or found.status.state != "RUNNING":
            raise StatusError("NotFound", f'container not found ("{container}")')
        return found.status.id

    async def _exec(self, request: Request, responder: Responder, namespace: str, name: str, container: str) -> None:
        query = parse_qs(request.query, keep_blank_values=True)
        container_id = self._running(self._worker(namespace, name), container)
        flags = _stream_flags(query)
        command = query.get("command", [])
        if not command:
            raise errors.bad_request("you must specify at least 1 command for the container")
        url = await self._pods.node.runtime.exec_url(container_id, command, **flags)
        await join(request, responder, url)

    async def _attach(self, request: Request, responder: Responder, namespace: str, name: str, container: str) -> None:
        query = parse_qs(request.query, keep_blank_values=True)
        container_id = self._running(self._worker(namespace, name), container)
        url = await self._pods.node.runtime.attach_url(container_id, **_stream_flags(query))
        await join(request, responder, url)

    async def _dial(self, request: Request, responder: Responder, namespace: str, name: str, port: int) -> None:
        """A connection to a port of a pod of this node, and of no other machine. ``tls=1``: the pod speaks TLS."""
        address = (self._worker(namespace, name).pod().get("status") or {}).get("podIP")
        if not address:
            raise errors.unreachable(f"pod {name} has no address yet")
        if not is_reachable(str(address)):
            raise errors.bad_request("address not allowed")
        context = unverified_client_context() if "tls=1" in request.query.split("&") else None
        await join_port(request, responder, str(address), port, context)

    async def _port_forward(self, request: Request, responder: Responder, namespace: str, name: str) -> None:
        worker = self._worker(namespace, name)
        sandbox = self._pods.node.observer.of(worker.uid).sandbox
        if sandbox is None or sandbox.sandbox.state != "READY":
            raise errors.bad_request(f"pod {name} is not running")
        ports = [int(port) for port in parse_qs(request.query).get("port", []) if port.isdigit()]
        url = await self._pods.node.runtime.port_forward_url(sandbox.sandbox.id, ports)
        await join(request, responder, url)


def _stream_flags(query: dict[str, list[str]]) -> dict[str, bool]:
    """kubelet's names, and the API's own."""

    def flag(*names: str) -> bool:
        return any(query.get(name, [""])[0].lower() in ("1", "true") for name in names)

    tty = flag("tty")
    return {
        "stdin": flag("input", "stdin"),
        "stdout": flag("output", "stdout"),
        "stderr": flag("error", "stderr") and not tty,
        "tty": tty,
    }


async def _refuse(responder: Responder, error: StatusError) -> None:
    if responder.started:
        raise Disconnected(error.message)
    body: Object = error.status()
    await responder.send(error.code, _JSON, orjson.dumps(body))
