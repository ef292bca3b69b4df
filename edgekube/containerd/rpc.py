"""gRPC calls on containerd's socket as trio awaits.

Enters: messages of ``containerd._generated``.
Leaves: reply messages; every failure is a RuntimeFailure with the gRPC status name.
Holds: no thread per call: grpcio completes a future on its own poller thread and wakes trio with run_sync_soon; a cancelled
await cancels the call at containerd. A server stream costs one thread while it is open. The channel connects at the first call
and again by itself after containerd was restarted.
Bound: MESSAGE_BYTES_MAX per message; limits.RUNTIME_EVENT_BACKLOG_MAX messages waiting in a stream.
Next: containerd.cri, containerd.image_store.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import trio

from edgekube import limits
from edgekube.containerd.model import RuntimeFailure

#: containerd's and the kubelet's own limit for one message.
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
#: containerd's namespace for what the CRI makes.
NAMESPACE: Final = "k8s.io"
#: What containerd says of a shim that closed the connection.
SHIM_GONE: Final = "ttrpc: closed"

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # A restarted containerd answers within 0.2 s; gRPC's own first retry comes after a whole second, later ones after minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # In spite of its name this is how long an attempt may take at least: a busy containerd is not slow to connect to, it is busy.
    ("grpc.min_reconnect_backoff_ms", 20_000),
    # Two connections to one path are two connections, also after the socket behind the path was replaced.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.default_authority", "localhost"),
)


def failure_of(error: grpc.RpcError) -> RuntimeFailure:
    """The gRPC status as a RuntimeFailure; containerd's text is kept because it names the cause."""
    code = error.code() if hasattr(error, "code") else None
    details = (error.details() if hasattr(error, "details") else None) or str(error)
    return RuntimeFailure(code.name if code is not None else "UNKNOWN", details)


class Exchange:
    """A two-way stream in lockstep: one request, one reply. For a worker thread.

    The requests go through a queue because grpcio pulls them on a thread of its own, which may outlive the call; whatever
    makes the requests must not run there.
    """

    def __init__(self, start: Callable[..., Any], timeout_seconds: float, metadata: tuple[tuple[str, str], ...]) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call = start(iter(self._requests.get, None), timeout=timeout_seconds, metadata=metadata)

    def ask(self, request: Any) -> Any:
        self._requests.put(request)
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise failure_of(error) from None
        except StopIteration:
            raise RuntimeFailure("UNKNOWN", "containerd closed the stream before it answered") from None

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()


class Rpc:
    """A lazy channel to the socket at ``address``."""

    def __init__(self, address: Path | str) -> None:
        self.address = Path(str(address).removeprefix("unix://"))
        self._channel = grpc.insecure_channel(f"unix:{self.address}", options=_OPTIONS)
        self._callables: dict[str, Any] = {}

    def close(self) -> None:
        self._channel.close()

    def _callable(self, service: Any, method: str) -> Any:
        path = f"/{service.full_name}/{method}"
        found = self._callables.get(path)
        if found is None:
            from google.protobuf.message_factory import GetMessageClass

            descriptor = service.methods_by_name[method]
            make: Callable[..., Any] = {
                (False, False): self._channel.unary_unary,
                (False, True): self._channel.unary_stream,
                (True, True): self._channel.stream_stream,
            }[descriptor.client_streaming, descriptor.server_streaming]
            found = self._callables[path] = make(
                path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=GetMessageClass(descriptor.output_type).FromString,
            )
        return found

    async def call(
        self,
        service: Any,
        method: str,
        request: Any,
        timeout_seconds: float | None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> Any:
        """One unary call. ``timeout_seconds`` None: as long as it takes. Raises RuntimeFailure."""
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def wake(_: object) -> None:
            try:
                token.run_sync_soon(done.set)
            except trio.RunFinishedError:
                pass  # the program ended before the answer came

        try:
            future = self._callable(service, method).future(request, timeout=timeout_seconds, metadata=metadata)
        except ValueError as error:  # the channel was closed
            raise RuntimeFailure("UNAVAILABLE", str(error)) from None
        future.add_done_callback(wake)
        try:
            await done.wait()
        finally:
            if not future.done():
                future.cancel()
        try:
            return future.result()
        except grpc.RpcError as error:
            raise failure_of(error) from None
        except grpc.FutureCancelledError:
            raise RuntimeFailure("CANCELLED", f"{method} was cancelled: the connection was closed") from None

    def call_blocking(
        self, service: Any, method: str, request: Any, timeout_seconds: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Any:
        """The same from a worker thread, for code that does file I/O there anyway (imports)."""
        try:
            return self._callable(service, method)(request, timeout=timeout_seconds, metadata=metadata)
        except grpc.RpcError as error:
            raise failure_of(error) from None

    def collect_blocking(
        self, service: Any, method: str, request: Any, timeout_seconds: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """The ``data`` of every message of a server stream, joined. The caller knows that it is small."""
        try:
            return b"".join(
                part.data for part in self._callable(service, method)(request, timeout=timeout_seconds, metadata=metadata)
            )
        except grpc.RpcError as error:
            raise failure_of(error) from None

    def parts_blocking(
        self, service: Any, method: str, request: Any, timeout_seconds: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Iterator[Any]:
        """The messages of a server stream, one at a time."""
        try:
            yield from self._callable(service, method)(request, timeout=timeout_seconds, metadata=metadata)
        except grpc.RpcError as error:
            raise failure_of(error) from None

    def exchange_blocking(
        self, service: Any, method: str, timeout_seconds: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Exchange:
        """A two-way stream from a worker thread."""
        return Exchange(self._callable(service, method), timeout_seconds, metadata)

    @asynccontextmanager
    async def stream(self, service: Any, method: str, request: Any) -> AsyncIterator[AsyncIterator[Any]]:
        """A server stream. It ends when the server or the connection goes away; leaving the block closes it.

        A reader that falls RUNTIME_EVENT_BACKLOG_MAX messages behind loses the newest, so this suits hints, not data.
        """
        call = self._callable(service, method)(request)
        token = trio.lowlevel.current_trio_token()
        send, receive = trio.open_memory_channel[Any](limits.RUNTIME_EVENT_BACKLOG_MAX)

        def offer(message: Any) -> None:
            try:
                send.send_nowait(message)
            except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        def pump() -> None:
            try:
                for message in call:
                    token.run_sync_soon(offer, message)
            except (grpc.RpcError, trio.RunFinishedError):
                pass
            try:
                token.run_sync_soon(send.close)
            except trio.RunFinishedError:
                pass

        threading.Thread(target=pump, name=f"containerd-{method}", daemon=True).start()
        try:
            yield receive
        finally:
            call.cancel()
            receive.close()
