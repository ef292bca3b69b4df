"""postStart and preStop: exec, httpGet, tcpSocket, sleep.

Enters: a handler, the container it belongs to, the pod's address.
Leaves: nothing, or a HookFailed that says why.
Holds: no deadline of its own: the caller bounds it (a pod's grace period).
Source: Kubernetes documentation, "Container Lifecycle Hooks".
Next: agent.execute.
"""

from __future__ import annotations

import trio

from edgekube.agent.dial import dial
from edgekube.agent.http_get import http_get
from edgekube.agent.ports import port_number
from edgekube.api.objects import Object
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.protocol import Runtime

#: exec_sync needs a number; the caller's cancel scope is what ends a hook.
EXEC_SECONDS_MAX = 24 * 3600


class HookFailed(Exception):
    pass


async def run_hook(runtime: Runtime, handler: Object, container: Object, container_id: str, pod_ip: str) -> None:
    if action := handler.get("exec"):
        await _exec(runtime, container_id, action.get("command") or [])
    elif action := handler.get("httpGet"):
        await _http(action, container, pod_ip)
    elif action := handler.get("tcpSocket"):
        host = action.get("host") or pod_ip
        try:
            stream = await dial(host, port_number(container, action.get("port")))
        except (OSError, ValueError) as error:
            raise HookFailed(str(error)) from None
        await stream.aclose()
    elif action := handler.get("sleep"):
        await trio.sleep(float(action.get("seconds") or 0))


async def _exec(runtime: Runtime, container_id: str, command: list[str]) -> None:
    try:
        result = await runtime.exec_sync(container_id, command, EXEC_SECONDS_MAX)
    except RuntimeFailure as failure:
        raise HookFailed(failure.message) from None
    if result.exit_code != 0:
        output = (result.stdout + result.stderr)[:1024].decode(errors="replace")
        raise HookFailed(f"command '{' '.join(command)}' exited with {result.exit_code}: {output}")


async def _http(action: Object, container: Object, pod_ip: str) -> None:
    headers = {item["name"]: item.get("value") or "" for item in action.get("httpHeaders") or []}
    scheme = str(action.get("scheme") or "HTTP").lower()
    host = action.get("host") or pod_ip
    try:
        port = port_number(container, action.get("port"))
        answer = await http_get(scheme, host, port, action.get("path") or "/", headers)
    except (OSError, ValueError) as error:
        raise HookFailed(f'Get "{scheme}://{host}{action.get("path") or "/"}": {error}') from None
    if answer.status >= 400:
        raise HookFailed(f"HTTP probe failed with statuscode: {answer.status}")
