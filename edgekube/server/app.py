"""The API server's handler: who asks, may they, and which part answers.

Enters: requests from the wire.
Leaves: responses; every failure is a Status with upstream's reason and code.
Holds: nothing but health and version is answered to a stranger; a handler's fault is a 500 in the log, never a dead server.
Bound: server.inflight.
Next: server.resources, server.watching, server.reviews, server.discovery, server.tunnel.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import Final

import orjson
import trio

from edgekube.admission.attributes import Attributes, Authorizer
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.verbs import UserInfo
from edgekube.api.warnings import deprecation_of
from edgekube.registry import checks
from edgekube.registry.state import Registry
from edgekube.server import inflight, negotiation, respond
from edgekube.server.agents import AgentConnections
from edgekube.server.authenticator import Authenticator
from edgekube.server.discovery import AGGREGATED_TYPE, Discovery
from edgekube.server.health import ENDPOINTS, Check, Health
from edgekube.server.openapi import VERSION_2_ASKED, VERSION_2_PROTOBUF, OpenApi
from edgekube.server.proxy import PROXY, Proxy
from edgekube.server.resources import Exchange, serve
from edgekube.server.reviews import Reviews, RuleSource
from edgekube.server.routes import Route, route
from edgekube.server.tunnel import TUNNELS, Tunnel
from edgekube.server.version import VERSION_BODY
from edgekube.server.watching import Ending, serve_watch
from edgekube.wire.protocol import BodyTooLarge, Disconnected, Request, Responder

log = logging.getLogger("edgekube.server")

ANONYMOUS: Final = UserInfo("system:anonymous", groups=("system:unauthenticated",))
_AUTHENTICATED: Final = "system:authenticated"
_MASTERS: Final = "system:masters"
_OPEN_PATHS: Final = frozenset({"version", *ENDPOINTS})
_NAMED: Final = re.compile(r"(?:^|,)metadata\.name==?([^,]+)(?:,|$)")
_REVIEW_GROUPS: Final = ("authentication.k8s.io", "authorization.k8s.io")
_CONNECTS: Final = ("exec", "attach", "portforward")
#: All that may be done with a namespaced kind in every namespace at once; deleting is not.
_ACROSS_NAMESPACES: Final = ("list", "watch")
_READING_VERBS: Final = ("get", "list")


class Application:
    """``handle`` is the wire's Handler."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        authorizer: Authorizer,
        agents: AgentConnections,
        *,
        rules: RuleSource | None = None,
        server_address: str = "127.0.0.1:6443",
        live: Mapping[str, Check] | None = None,
        ready: Mapping[str, Check] | None = None,
    ) -> None:
        """``rules`` answers SelfSubjectRulesReview. ``live`` and ``ready`` are the named checks of /livez and /readyz."""
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._reviews = Reviews(authenticator, authorizer, rules)
        self._tunnel = Tunnel(registry, agents)
        self._proxy = Proxy(registry, agents)
        self._discovery = Discovery(registry.kinds, server_address)
        self._openapi = OpenApi(registry.kinds)
        self._health = Health(live or {}, {"shutdown": self._not_draining, **(ready or {})})
        self._in_flight = inflight.InFlight()
        self._streams: set[Ending] = set()
        self._draining = False
        self._answered: dict[str, int] = {}

    def drain(self) -> None:
        """End every watch as if its time were up; /readyz fails from now on."""
        self._draining = True
        for ending in list(self._streams):
            ending.end()

    def _not_draining(self) -> str | None:
        return "the server is shutting down" if self._draining else None

    async def handle(self, request: Request, responder: Responder) -> None:
        started = time.perf_counter()
        outcome = "ok"
        try:
            await self._answer(request, responder)
        except StatusError as error:
            outcome = error.reason
            if responder.started:
                raise Disconnected from error
            await respond.send_error(request, responder, error, error.warnings)
        except BodyTooLarge as error:
            outcome = "RequestEntityTooLarge"
            await respond.send_error(request, responder, errors.entity_too_large(str(error)))
        except (Disconnected, trio.Cancelled):
            outcome = "disconnected"
            raise
        except Exception as error:
            outcome = "failed"
            log.exception("handler failed method=%s path=%s peer=%s", request.method, request.path, request.peer)
            if responder.started:
                raise Disconnected from error
            await respond.send_error(request, responder, errors.internal("the server's log says what went wrong"))
        finally:
            self._answered[outcome] = self._answered.get(outcome, 0) + 1
            if log.isEnabledFor(logging.DEBUG):
                took = (time.perf_counter() - started) * 1000
                log.debug(
                    "request method=%s path=%s query=%s outcome=%s ms=%.1f peer=%s",
                    request.method, request.path, request.query, outcome, took, request.peer,
                )  # fmt: skip

    async def _answer(self, request: Request, responder: Responder) -> None:
        asked = route(request.method, request.path, request.query)
        user = await self._authenticate(request)
        if user is None:
            if asked.is_resource or asked.path.strip("/").partition("/")[0] not in _OPEN_PATHS:
                raise errors.unauthorized()
            user = ANONYMOUS
        elif any(name.startswith("impersonate-") for name in request.headers):
            raise errors.forbidden("", "", "", "impersonation is not supported by this server")
        if user is not ANONYMOUS:
            self._authorize(user, asked, asked.verb)
            if asked.subresource in _CONNECTS and asked.verb == "get":
                self._authorize(user, asked, "create")  # a WebSocket is a GET, yet it runs things
        if not asked.is_resource:
            await self._path(request, responder, asked)
            return
        await self._resource(request, responder, asked, user)

    async def _authenticate(self, request: Request) -> UserInfo | None:
        """A connection's certificate is looked at once; a token with each request."""
        authorization = request.headers.get("authorization", "")
        if not authorization:
            known = request.connection.get("user")
            if isinstance(known, UserInfo):
                return known
        user = await self._authenticator.authenticate(request.peer_certificate, authorization)
        if user is None:
            return None
        if _AUTHENTICATED not in user.groups:
            user = UserInfo(user.name, user.uid, (*user.groups, _AUTHENTICATED), user.extra)
        if not authorization:
            request.connection["user"] = user
        return user

    def _authorize(self, user: UserInfo, asked: Route, verb: str) -> None:
        if not asked.is_resource:
            attributes = Attributes(user, verb, path=asked.path)
        else:
            name = asked.name
            if not name and verb in ("list", "watch", "deletecollection"):
                named = _NAMED.search(asked.parameter("fieldSelector")) if "fieldSelector" in asked.query else None
                name = named[1] if named else ""
            attributes = Attributes(
                user, verb, asked.group, asked.version, asked.plural, asked.subresource, asked.namespace, name
            )
        decision = self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise _refused(attributes, decision.reason)

    # --- paths that are no resource

    async def _path(self, request: Request, responder: Responder, asked: Route) -> None:
        path = asked.path
        first = path.strip("/").partition("/")[0]
        if request.method not in ("GET", "HEAD"):
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        if first in ENDPOINTS:
            found = self._health.answer(path, asked.query.get("exclude", []), verbose="verbose" in asked.query)
            if found is not None:
                await respond.send_text(request, responder, *found)
                return
        elif path == "/version" or path == "/version/":
            await respond.send(request, responder, 200, VERSION_BODY)
            return
        elif first in ("api", "apis"):
            if await self._discover(request, responder, path):
                return
        elif first == "openapi":
            if await self._describe(request, responder, path):
                return
        elif path == "/metrics":
            await respond.send_text(request, responder, 200, self._metrics())
            return
        elif path in ("/", ""):
            paths = [
                "/healthz",
                "/livez",
                "/metrics",
                "/openapi/v2",
                "/openapi/v3",
                "/readyz",
                "/version",
                *self._discovery.paths(),
            ]
            await respond.send(request, responder, 200, orjson.dumps({"paths": sorted(paths)}))
            return
        await self._unknown(request, responder, path)

    async def _unknown(self, request: Request, responder: Responder, path: str) -> None:
        """Below a group that is served the answer is a Status, elsewhere plain text."""
        root, _, below = path.strip("/").partition("/")
        if root == "api" or (root == "apis" and below and self._discovery.has_group(below.partition("/")[0])):
            raise StatusError("NotFound", "the server could not find the requested resource")
        await respond.send_text(request, responder, 404, "404 page not found\n")

    async def _discover(self, request: Request, responder: Responder, path: str) -> bool:
        accept = request.headers.get("accept", "")
        root = path.strip("/") in ("api", "apis")
        aggregated = root and negotiation.accepts(accept, group="apidiscovery.k8s.io", version="v2", view="APIGroupDiscoveryList")
        document = self._discovery.find(path, aggregated=aggregated)
        if document is None:
            return False
        headers = {"vary": "Accept"}
        if aggregated:
            headers["etag"] = document.etag
            if request.headers.get("if-none-match") == document.etag:
                await responder.send(304, headers)
                return True
            await respond.send(request, responder, 200, document.body, content_type=AGGREGATED_TYPE, headers=headers)
            return True
        await respond.send(request, responder, 200, document.body, headers=headers)
        return True

    async def _describe(self, request: Request, responder: Responder, path: str) -> bool:
        """/openapi/v2, /openapi/v3 and below."""
        if path == "/openapi/v2":
            accept = request.headers.get("accept", "")
            protobuf = VERSION_2_ASKED in accept or VERSION_2_PROTOBUF in accept
            content_type = VERSION_2_PROTOBUF if protobuf else negotiation.JSON
            document = self._openapi.version_2(protobuf=protobuf)
            await respond.send(request, responder, 200, document, content_type=content_type, headers={"vary": "Accept"})
            return True
        _, _, below = path.strip("/").partition("openapi/v3")
        if not path.startswith("/openapi/v3"):
            return False
        body = self._openapi.document(below.strip("/")) if below else self._openapi.index()
        if body is None:
            return False
        await respond.send(request, responder, 200, body)
        return True

    def _metrics(self) -> str:
        """Prometheus text, the few figures that a small cluster is watched by."""
        lines = ["# TYPE apiserver_requests_answered_total counter"]
        lines += [f'apiserver_requests_answered_total{{outcome="{key}"}} {n}' for key, n in sorted(self._answered.items())]
        lines.append("# TYPE apiserver_current_inflight_requests gauge")
        running = self._in_flight.running
        lines += [f'apiserver_current_inflight_requests{{request_kind="{key}"}} {n}' for key, n in sorted(running.items())]
        lines += ["# TYPE apiserver_store_revision gauge", f"apiserver_store_revision {self._registry.store.revision()}"]
        return "\n".join([*lines, ""])

    # --- resources

    async def _resource(self, request: Request, responder: Responder, asked: Route, user: UserInfo) -> None:
        kind = self._registry.kinds.by_resource(asked.group, asked.version, asked.plural)
        if kind is None or (asked.namespace and not kind.namespaced):
            await self._unknown(request, responder, asked.path)
            return
        if kind.namespaced and not asked.namespace:
            if asked.name:
                raise StatusError("NotFound", "the server could not find the requested resource")
            if asked.verb not in _ACROSS_NAMESPACES:
                raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        exempt = _MASTERS in user.groups
        if asked.subresource in (*TUNNELS, PROXY) and asked.subresource in kind.subresources:
            with self._in_flight.place(inflight.WATCHING, exempt=exempt):
                if asked.subresource == PROXY:
                    await self._proxy.serve(request, responder, asked)
                else:
                    await self._tunnel.serve(request, responder, asked)
            return
        exchange = Exchange(self._registry, request, responder, asked, kind, user)
        if deprecation := deprecation_of(kind):
            exchange.warnings.append(deprecation)
        try:
            await self._exchange(exchange, asked, kind, exempt=exempt)
        except StatusError as error:
            error.warnings = exchange.warnings
            raise

    async def _exchange(self, exchange: Exchange, asked: Route, kind: Kind, *, exempt: bool) -> None:
        if asked.verb == "watch" or (asked.verb == "get" and asked.flag("watch")):
            if "watch" not in kind.verbs:
                raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
            with self._in_flight.place(inflight.WATCHING, exempt=exempt):
                await serve_watch(exchange, self._streams)
            return
        what = inflight.READING if asked.verb in _READING_VERBS else inflight.WRITING
        with self._in_flight.place(what, exempt=exempt):
            if kind.group in _REVIEW_GROUPS:
                await self._review(exchange, kind)
            else:
                await serve(exchange)

    async def _review(self, exchange: Exchange, kind: Kind) -> None:
        asked = exchange.route
        if asked.verb != "create" or asked.name or asked.subresource:
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        context = exchange.context()
        obj = await exchange.decoded(context)
        checks.shape(kind, obj, context)
        made = await self._reviews.answer(kind.kind, obj, exchange.user, asked.namespace, self._registry.clock())
        await exchange.answer(orjson.dumps(made), status=201)


def _refused(attributes: Attributes, reason: str) -> StatusError:
    user = attributes.user.name
    if not attributes.resource:
        why = f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
        return errors.forbidden("", "", "", f"{why}: {reason}" if reason else why)
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    place = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    why = f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {place}'
    return errors.forbidden(attributes.group, attributes.resource, attributes.name, f"{why}: {reason}" if reason else why)
