"""What the API server asks of this node, over mutual TLS: logs, exec, attach, port-forward, pods, statistics.

Enters: requests on :10250 with kubelet's paths.
Leaves: their answers; a Status for what is refused.
Holds: nobody but the API server is served: without a verified certificate 401, with any other one 403; only /healthz is open.
Bound: limits.AGENT_STREAMS_MAX requests at once.
Source: Kubernetes documentation, "Kubelet authentication/authorization"; the paths are kubelet's.
Next: agent.logs, agent.streams, agent.stats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, unquote

import orjson
import trio

from edgekube.agent.log_source import log_of
from edgekube.agent.logs import parse_options, read_log
from edgekube.agent.pods import Pods
from edgekube.agent.stats import summary
from edgekube.agent.streams import join
from edgekube.agent.worker import PodWorker
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.containerd.model import RuntimeFailure
from edgekube.limits import AGENT_STREAMS_MAX
from edgekube.wire.protocol import Disconnected, Request, Responder

log = logging.getLogger("edgekube.agent")

_JSON = {"content-type": "application/json"}


class AgentServer:
    """A wire Handler."""

    def __init__(self, pods: Pods, authorize: Callable[[bytes | None], bool]) -> None:
        self._pods = pods
        self._authorize = authorize
        self._slots = trio.CapacityLimiter(AGENT_STREAMS_MAX)

    async def __call__(self, request: Request, responder: Responder) -> None:
        try:
            if request.path == "/healthz":
                await responder.send(200, {"content-type": "text/plain"}, b"ok")
                return
            self._check(request)
            try:
                self._slots.acquire_on_behalf_of_nowait(request)
            except trio.WouldBlock:
                raise errors.too_many_requests("the node serves too many streams already") from None
            try:
                await self._serve(request, responder)
            finally:
                self._slots.release_on_behalf_of(request)
        except StatusError as error:
            await _refuse(responder, error)
        except RuntimeFailure as failure:
            await _refuse(responder, errors.internal(failure.message))

    def _check(self, request: Request) -> None:
        if request.peer_certificate is None:
            raise errors.unauthorized()
        if not self._authorize(request.peer_certificate):
            raise errors.forbidden("", "nodes", "", "only the API server may speak with a node's agent")

    async def _serve(self, request: Request, responder: Responder) -> None:
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        match parts:
            case ["pods"]:
                await responder.send(200, _JSON, self._pod_list())
            case ["stats", "summary"]:
                body = await trio.to_thread.run_sync(summary, self._pods)
                await responder.send(200, _JSON, orjson.dumps(body))
            case ["containerLogs", namespace, name, container]:
                await self._logs(request, responder, namespace, name, container)
            case ["exec", namespace, name, container]:
                await self._exec(request, responder, namespace, name, container)
            case ["attach", namespace, name, container]:
                await self._attach(request, responder, namespace, name, container)
            case ["portForward", namespace, name]:
                await self._port_forward(request, responder, namespace, name)
            case _:
                raise StatusError("NotFound", f"the agent serves no {request.path}")

    def _pod_list(self) -> bytes:
        items = [worker.pod() for worker in self._pods.workers() if not worker.memory.gone]
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

        def ended() -> bool:
            found = node.observer.of(worker.uid).latest(container)
            return found is None or found.status.attempt != attempt or found.status.state != "RUNNING"

        await responder.start(200, {"content-type": "text/plain"})
        try:
            async for piece in read_log(path, options, ended):
                await responder.write(piece)
        except Disconnected:
            return
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
