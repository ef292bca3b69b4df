"""A shim that ends while it is asked: containerd answers with the broken connection, and knows better a moment later.

The other side is a gRPC server that says what containerd 1.6 and 2.0 say; when a real shim goes cannot be chosen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import trio.testing

from edgekube.containerd.cri import SHIM_GONE_PAUSES_SECONDS, CriRuntime, connect
from edgekube.containerd.model import RuntimeFailure

CLOSED = (grpc.StatusCode.UNKNOWN, 'failed to kill container "abc": ttrpc: closed: unknown')
UNDO: dict[str, Callable[[CriRuntime], Awaitable[None]]] = {
    "StopPodSandbox": lambda runtime: runtime.stop_sandbox("abc"),
    "RemovePodSandbox": lambda runtime: runtime.remove_sandbox("abc"),
    "StopContainer": lambda runtime: runtime.stop_container("abc", 1),
    "RemoveContainer": lambda runtime: runtime.remove_container("abc"),
}


class Shimless(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers with the failures that it was given, one after the other, then with success."""

    def __init__(self, failures: list[tuple[grpc.StatusCode, str]]) -> None:
        self.failures = failures
        self.asked: list[str] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = str(details.method).rsplit("/", 1)[1]

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.append(method)
            if self.failures:
                context.abort(*self.failures.pop(0))
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def answering(socket: Path, *failures: tuple[grpc.StatusCode, str]) -> AsyncIterator[tuple[CriRuntime, list[str]]]:
    handler = Shimless(list(failures))
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        async with connect(socket) as runtime:
            yield runtime, handler.asked
    finally:
        server.stop(None)


@pytest.mark.parametrize("method", UNDO)
async def test_it_is_asked_again(method: str, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with answering(tmp_path / "s", CLOSED, CLOSED) as (runtime, asked):
        await UNDO[method](runtime)
    assert asked == [method] * 3


async def test_one_that_never_goes_is_a_failure(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    times = len(SHIM_GONE_PAUSES_SECONDS) + 1
    async with answering(tmp_path / "s", *[CLOSED] * times) as (runtime, asked):
        with pytest.raises(RuntimeFailure, match="ttrpc: closed"):
            await runtime.stop_sandbox("abc")
    assert asked == ["StopPodSandbox"] * times


async def test_gone_meanwhile_is_gone(tmp_path: Path) -> None:
    async with answering(tmp_path / "s", CLOSED, (grpc.StatusCode.NOT_FOUND, "no such container")) as (runtime, asked):
        await runtime.stop_container("abc", 1)
    assert asked == ["StopContainer"] * 2


async def test_another_failure_is_the_callers(tmp_path: Path) -> None:
    async with answering(tmp_path / "s", (grpc.StatusCode.UNKNOWN, "device or resource busy")) as (runtime, asked):
        with pytest.raises(RuntimeFailure, match="busy"):
            await runtime.remove_sandbox("abc")
    assert asked == ["RemovePodSandbox"]
