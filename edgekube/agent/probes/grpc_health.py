"""grpc.health.v1.Health/Check, without its generated code: two messages of one field each.

Enters: an address, a service name.
Leaves: (ok, words).
Holds: grpc is imported here only when a pod has such a probe (it is already loaded for containerd).
Source: grpc.health.v1 health.proto: request 1 = service, answer 1 = status (1 is SERVING).
Next: probes.ask.
"""

from __future__ import annotations

import functools
from typing import Any

import trio

_SERVING = 1


def _request(service: str) -> bytes:
    name = service.encode()
    if not name:
        return b""
    size, length = len(name), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"\x0a" + bytes(length) + name


def _status(answer: bytes) -> int:
    """Field 1 as varint; 0 (UNKNOWN) when it is absent."""
    return answer[1] if len(answer) >= 2 and answer[0] == 0x08 else 0


async def check_health(host: str, port: int, service: str, timeout_seconds: float) -> tuple[bool, str]:
    import grpc

    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    channel: Any = grpc.insecure_channel(target, options=options)
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def finished(_: object) -> None:
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            pass

    try:
        call: Any = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=_request, response_deserializer=bytes)
        future: Any = call.future(service, timeout=timeout_seconds, metadata=(("user-agent", "kube-probe/1.36"),))
        future.add_done_callback(finished)
        try:
            await done.wait()
        finally:
            future.cancel()
        error = await trio.to_thread.run_sync(functools.partial(future.exception, timeout=0))
        if error is not None:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return (
                    False,
                    f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {error.details()}",
                )
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return False, f"timeout: health rpc did not complete within {timeout_seconds:g}s"
            return False, f'service unhealthy (responded with "{error.code().name}: {error.details()}")'
        status = _status(future.result(timeout=0))
        return (True, "") if status == _SERVING else (False, 'service unhealthy (responded with "NOT_SERVING")')
    finally:
        channel.close()
