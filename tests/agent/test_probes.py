"""Probes against real sockets, and the counting of answers."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.probes import loop
from edgekube.agent.probes.ask import ask
from edgekube.agent.probes.loop import Thresholds, probe_loop
from edgekube.api.objects import Object
from edgekube.containerd.model import ExecResult, RuntimeFailure

CONTAINER: Object = {"name": "web", "ports": [{"name": "http", "containerPort": 1}]}


class Commands:
    """The one verb of the runtime that probes use, with the results to give."""

    def __init__(self, *results: ExecResult | RuntimeFailure) -> None:
        self._results = list(results)
        self.asked = 0

    async def exec_sync(self, container_id: str, command: Any, timeout_seconds: int) -> ExecResult:
        self.asked += 1
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, RuntimeFailure):
            raise result
        return result


OK, BAD = ExecResult(0, b"", b""), ExecResult(1, b"out", b"err")


async def question(probe: Object, runtime: Any = None, timeout_seconds: float = 60.0) -> tuple[bool | None, str]:
    return await ask(runtime, probe, CONTAINER, "c1", "127.0.0.1", timeout_seconds)


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[int]:
    """A server that gives every connection this answer; None: it never speaks."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            if answer is None:
                await trio.sleep_forever()
            request = await stream.receive_some(65536)
            requests.append(request)
            await stream.send_all(answer or b"")

    requests.clear()
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield port
        nursery.cancel_scope.cancel()


requests: list[bytes] = []


async def test_http() -> None:
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n") as port:
        headers = [{"name": "Host", "value": "shop"}, {"name": "X-A", "value": "1"}]
        assert await question({"httpGet": {"port": port, "path": "/ready?x=1", "httpHeaders": headers}}) == (True, "")
        head = requests[0].decode().splitlines()
        assert head[0] == "GET /ready?x=1 HTTP/1.1"
        assert {"Host: shop", "X-A: 1", "User-Agent: kube-probe/1.36"} <= set(head)
    async with serving(b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nbody") as port:
        assert await question({"httpGet": {"port": port}}) == (False, "HTTP probe failed with statuscode: 500")
    async with serving(b"HTTP/1.0 200 OK\nServer: busybox\n\nfine") as port:
        assert await question({"httpGet": {"port": port}}) == (True, "")
    async with serving(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n") as port:
        ok, words = await question({"httpGet": {"port": port}})
        assert ok and words.startswith("Probe terminated redirects")
    async with serving(b"SSH-2.0-nothing\r\n") as port:
        ok, words = await question({"httpGet": {"port": port}})
        assert not ok and "malformed HTTP response" in words
    ok, words = await question({"httpGet": {"port": port}})
    assert (ok, words) == (False, f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused')
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        async def hang_up() -> None:
            connection, _ = await listener.accept()
            await connection.recv(1000)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up)
            ok, words = await question({"httpGet": {"port": port}})
    assert not ok
    assert words.startswith(f'Get "http://127.0.0.1:{port}/": read tcp 127.0.0.1:')
    assert words.endswith(f"->127.0.0.1:{port}: read: connection reset by peer")
    ok, words = await question({"httpGet": {"port": "none"}})
    assert (ok, words) == (None, "couldn't find port: none")


async def test_a_server_that_does_not_speak(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with serving(None) as port:
        ok, words = await question({"httpGet": {"port": port}}, timeout_seconds=3)
        assert not ok
        assert (
            words == f'Get "http://127.0.0.1:{port}/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        )
        assert await question({"tcpSocket": {"port": port}}) == (True, "")


async def test_tcp_and_exec() -> None:
    async with serving(b"") as port:
        assert await question({"tcpSocket": {"port": port}}) == (True, "")
    assert await question({"tcpSocket": {"port": port}}) == (False, f"dial tcp 127.0.0.1:{port}: connect: connection refused")
    assert await question({"exec": {"command": ["x"]}}, Commands(OK)) == (True, "")
    assert await question({"exec": {"command": ["x"]}}, Commands(BAD)) == (False, "outerr")
    late = Commands(RuntimeFailure("DEADLINE_EXCEEDED", "late"))
    ok, words = await question({"exec": {"command": ["x"]}}, late, 1.0)
    assert ok is False and "timed out after 1s" in words
    away = Commands(RuntimeFailure("UNAVAILABLE", "containerd is away"))
    assert await question({"exec": {"command": ["x"]}}, away) == (None, "containerd is away")


class Health(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    def service(self, details: Any) -> Any:
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        statuses = {b"": b"\x08\x01", b"\x0a\x02up": b"\x08\x01", b"\x0a\x04down": b"\x08\x02"}
        return grpc.unary_unary_rpc_method_handler(lambda request, context: statuses[request])


async def test_grpc() -> None:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Health()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert await question({"grpc": {"port": port}}) == (True, "")
        assert await question({"grpc": {"port": port, "service": "up"}}) == (True, "")
        ok, words = await question({"grpc": {"port": port, "service": "down"}})
        assert (ok, words) == (False, 'service unhealthy (responded with "NOT_SERVING")')
    finally:
        server.stop(None)
    ok, words = await question({"grpc": {"port": port}})
    assert not ok and words


@given(answers=st.lists(st.booleans(), max_size=30), successes=st.integers(1, 4), failures=st.integers(1, 4))
def test_a_verdict_needs_so_many_equal_answers_in_a_row(answers: list[bool], successes: int, failures: int) -> None:
    thresholds = Thresholds(successes, failures)
    for number, answer in enumerate(answers, start=1):
        verdict = thresholds.answer("success" if answer else "failure")
        needed = successes if answer else failures
        agreed = number >= needed and all(item is answer for item in answers[number - needed : number])
        assert (verdict is not None) is agreed


async def turns(kind: str, runtime: Commands, seconds: float, *, age_seconds: float = 0, **probe: Any) -> list[tuple[float, str]]:
    """When (seconds after the start) and how the probe turned."""
    began = trio.current_time()
    seen: list[tuple[float, str]] = []
    with trio.move_on_after(seconds):
        await probe_loop(
            runtime,  # type: ignore[arg-type]
            kind,
            {"exec": {"command": ["x"]}, **probe},
            CONTAINER,
            "c1",
            "127.0.0.1",
            lambda verdict: seen.append((round(trio.current_time() - began, 1), verdict)),
            lambda *event: None,
            age_seconds=age_seconds,
            ready=False,
        )
    return seen


async def test_delays_periods_and_thresholds(autojump_clock: trio.testing.MockClock) -> None:
    ready = await turns("readiness", Commands(BAD, OK), 100, initialDelaySeconds=5, periodSeconds=10)
    assert ready == [(15.0, "success")]
    dead = await turns("liveness", Commands(BAD), 35, periodSeconds=10, failureThreshold=3)
    assert dead == [(20.0, "failure"), (30.0, "failure")], "a kill that did not happen is asked for again"
    started = Commands(BAD, BAD, OK)
    assert await turns("startup", started, 100, periodSeconds=1, failureThreshold=30) == [(2.0, "success")]
    assert started.asked == 3, "a startup probe that succeeded is not asked again"
    away = RuntimeFailure("UNAVAILABLE", "containerd is away")
    unknown = await turns("liveness", Commands(BAD, *[away] * 30, BAD, OK), 1000, periodSeconds=10, failureThreshold=2)
    assert unknown == [(110.0, "failure"), (120.0, "success")], "what could not be asked is no answer"
    again = Commands(away, away, OK)
    assert await turns("startup", again, 100, periodSeconds=10) == [(0.0, "success")], "and is asked again at once"
    adopted = await turns("readiness", Commands(OK), 100, initialDelaySeconds=50, age_seconds=60)
    assert adopted[0][0] <= loop.JITTER_SECONDS_MAX, "the delay counts from the container's start, not from the agent's"
