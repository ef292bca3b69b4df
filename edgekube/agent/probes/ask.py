"""Ask once: exec, httpGet, tcpSocket or grpc.

Enters: a probe, its container, the pod's address, a timeout.
Leaves: (ok, words): words say what was wrong, or carry a warning when all is well. ok is None when it could not be asked: that
containerd is away, or the command is not there, says nothing about the container (as upstream's "unknown").
Holds: never raises for what a pod does; a question lasts no longer than its timeout.
Next: agent.http_get, containerd.
"""

from __future__ import annotations

import math

import trio

from edgekube.agent.dial import dial, host_port
from edgekube.agent.http_get import http_get
from edgekube.agent.ports import port_number
from edgekube.api.objects import Object
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.limits import PROBE_BODY_BYTES_MAX

Answer = tuple[bool | None, str]


async def _exec(runtime: Runtime, command: list[str], container_id: str, timeout_seconds: float) -> Answer:
    try:
        result = await runtime.exec_sync(container_id, command, math.ceil(timeout_seconds))
    except RuntimeFailure as failure:
        if failure.code == "DEADLINE_EXCEEDED":
            return False, f"command timed out: {' '.join(command)!r} timed out after {timeout_seconds:g}s"
        return None, failure.message
    output = (result.stdout + result.stderr)[:PROBE_BODY_BYTES_MAX].decode(errors="replace")
    return result.exit_code == 0, "" if result.exit_code == 0 else output


async def _http(action: Object, container: Object, address: str, timeout_seconds: float) -> Answer:
    headers = {item["name"]: item.get("value") or "" for item in action.get("httpHeaders") or []}
    scheme = str(action.get("scheme") or "HTTP").lower()
    host = action.get("host") or address
    path = action.get("path") or "/"
    port = port_number(container, action.get("port"))
    url = f"{scheme}://{host_port(host, port)}{path if path.startswith('/') else '/' + path}"
    with trio.move_on_after(timeout_seconds):
        try:
            answer = await http_get(scheme, host, port, path, headers)
        except (OSError, ValueError, trio.BrokenResourceError) as error:
            return False, f'Get "{url}": {error}'
        if answer.elsewhere:
            return True, f"Probe terminated redirects, Response body: {answer.body.decode(errors='replace')}"
        if 200 <= answer.status < 400:
            return True, ""
        return False, f"HTTP probe failed with statuscode: {answer.status}"
    return False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'


async def _tcp(action: Object, container: Object, address: str, timeout_seconds: float) -> Answer:
    host = action.get("host") or address
    port = port_number(container, action.get("port"))
    with trio.move_on_after(timeout_seconds):
        try:
            stream = await dial(host, port)
        except OSError as error:
            return False, str(error)
        await stream.aclose()
        return True, ""
    return False, f"dial tcp {host_port(host, port)}: i/o timeout"


async def ask(
    runtime: Runtime, probe: Object, container: Object, container_id: str, address: str, timeout_seconds: float
) -> Answer:
    try:
        if action := probe.get("exec"):
            return await _exec(runtime, action.get("command") or [], container_id, timeout_seconds)
        if (action := probe.get("httpGet")) is not None:
            return await _http(action, container, address, timeout_seconds)
        if (action := probe.get("tcpSocket")) is not None:
            return await _tcp(action, container, address, timeout_seconds)
        if (action := probe.get("grpc")) is not None:
            from edgekube.agent.probes.grpc_health import check_health

            with trio.move_on_after(timeout_seconds):
                return await check_health(address, int(action.get("port") or 0), action.get("service") or "", timeout_seconds)
            return False, f"timeout: health rpc did not complete within {timeout_seconds:g}s"
    except ValueError as error:
        return None, str(error)
    return None, "missing probe handler"
