"""Admission of connections: exec, attach, port-forward and the proxies, before a byte goes further.

Enters: a Route of such a subresource and who asks.
Leaves: nothing, or the StatusError that refuses.
Holds: the object that admission sees is the request's options, as upstream makes them of the query; nothing of it goes on to the
other side (source: k8s.io/apiserver pkg/endpoints/handlers/rest.go, ConnectResource; core/v1 Pod*Options).
Next: registry.gate; then server.tunnel or server.proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.admission.request import CONNECT
from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.registry import gate
from edgekube.registry.context import Context
from edgekube.registry.state import Registry
from edgekube.server.routes import Route

_STREAMS: Final = ("stdin", "stdout", "stderr", "tty")


def _row(kind: str) -> Kind:
    return Kind("", "v1", kind, kind.lower(), verbs=())


def _streams(route: Route) -> Object:
    options: Object = {name: True for name in _STREAMS if route.flag(name)}
    if container := route.parameter("container"):
        options["container"] = container
    return options


def _exec(route: Route) -> Object:
    return {**_streams(route), "command": route.query.get("command")}


def _ports(route: Route) -> Object:
    ports = [int(port) for value in route.query.get("ports", []) for port in value.split(",") if port.isdigit()]
    return {"ports": ports} if ports else {}


def _path(route: Route) -> Object:
    below = f"/{route.rest}" if route.rest else ""
    if route.path.endswith("/") and not below.endswith("/"):
        below += "/"
    return {"path": below} if below else {}


_OPTIONS: Final[dict[tuple[str, str], tuple[Kind, Callable[[Route], Object]]]] = {
    ("pods", "exec"): (_row("PodExecOptions"), _exec),
    ("pods", "attach"): (_row("PodAttachOptions"), _streams),
    ("pods", "portforward"): (_row("PodPortForwardOptions"), _ports),
    ("pods", "proxy"): (_row("PodProxyOptions"), _path),
    ("services", "proxy"): (_row("ServiceProxyOptions"), _path),
    ("nodes", "proxy"): (_row("NodeProxyOptions"), _path),
}


async def admit(registry: Registry, kind: Kind, route: Route, user: UserInfo, warnings: list[str]) -> None:
    """StatusError BadRequest for a dry run; whatever a plugin refuses with."""
    found = _OPTIONS.get((kind.plural, route.subresource))
    if found is None:
        return
    if any(route.query.get("dryRun", ())):
        raise errors.bad_request("dryRun is not supported")
    options_kind, options_of = found
    context = Context(user, warnings=warnings)
    request = gate.request_of(
        CONNECT, kind, route.namespace, route.name, context, None, subresource=route.subresource, body_kind=options_kind
    )
    if gate.concerns(registry, request):
        request.object = {"kind": options_kind.kind, "apiVersion": "v1", **options_of(route)}
        await gate.both(registry, request)
