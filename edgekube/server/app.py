"""The API server's handler: which part answers, and what is kept of it.

Enters: requests from the wire.
Leaves: responses; every failure is a Status with upstream's reason and code.
Holds: nothing but the doors is answered before server.entry has let the request in; a handler's fault is a 500 in the log, never
a dead server.
Bound: server.inflight.
Next: server.entry, server.resources, server.watching, server.reviews, server.discovery, server.tunnel, server.doors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import orjson
import trio

from edgekube.admission.attributes import Authorizer
from edgekube.admission.authentication.configuration import Anonymous
from edgekube.admission.request import CREATE
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.reachable import is_reachable
from edgekube.api.verbs import UserInfo
from edgekube.api.warnings import deprecation_of
from edgekube.limits import REQUEST_SECONDS_MAX
from edgekube.metrics import CONTENT_TYPE as METRICS_TYPE
from edgekube.process_figures import tell_of_process
from edgekube.registry import checks, gate, managing
from edgekube.registry.state import Registry
from edgekube.registry.webhook_client import WebhookClient
from edgekube.server import connecting, inflight, negotiation, parameters, respond
from edgekube.server.accounting import Account
from edgekube.server.agents import AgentConnections
from edgekube.server.aggregation.aggregator import Aggregator
from edgekube.server.authenticator import Authenticator
from edgekube.server.discovery import AGGREGATED_TYPE, Discovery
from edgekube.server.doors import PREFIX as DOORS_PREFIX
from edgekube.server.doors import Doors
from edgekube.server.entry import MASTERS, Entry
from edgekube.server.fairness.fairness import Fairness
from edgekube.server.figures import ApiFigures
from edgekube.server.health import ENDPOINTS, Check, Health
from edgekube.server.identity import NODE_PREFIX
from edgekube.server.metrics_api.api import MetricsApi
from edgekube.server.metrics_api.objects import ROWS
from edgekube.server.openapi import OpenApi
from edgekube.server.pod_dialing import PodSockets
from edgekube.server.proxy import PROXY, Proxy
from edgekube.server.request_log import RequestLog
from edgekube.server.resources import Exchange, serve
from edgekube.server.reviews import Reviews, RuleSource
from edgekube.server.routes import Route, route
from edgekube.server.start_checks import STARTED, SYNCED
from edgekube.server.store_check import StoreCheck, log_check
from edgekube.server.tunnel import TUNNELS, Tunnel
from edgekube.server.version import VERSION_BODY
from edgekube.server.watching import Ending, serve_watch
from edgekube.wire.protocol import BodyTooLarge, Disconnected, Handler, Request, Responder
from edgekube.wire.refusals import REFUSED, RefusalLog

log = logging.getLogger("edgekube.server")

if TYPE_CHECKING:
    from edgekube.server.auditing import Auditing

_REVIEW_GROUPS: Final = ("authentication.k8s.io", "authorization.k8s.io")
#: All that may be done with a namespaced kind in every namespace at once; deleting is not.
_ACROSS_NAMESPACES: Final = ("list", "watch")
_READING_VERBS: Final = ("get", "list")
_NOTHING: Final = Anonymous(frozenset())


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
        server_address: Callable[[], str] = lambda: "127.0.0.1:6443",
        live: Mapping[str, Check] | None = None,
        ready: Mapping[str, Check] | None = None,
        doors: Doors | None = None,
        desks: Mapping[str, Handler] | None = None,
        reachable: Callable[[str], bool] = is_reachable,
        aggregator: Aggregator | None = None,
        fairness: Fairness | None = None,
        log_requests: bool = False,
        auditing: Auditing | None = None,
        metrics_api: MetricsApi | None = None,
        anonymous: Anonymous = _NOTHING,
    ) -> None:
        """``rules`` answers SelfSubjectRulesReview. ``live`` and ``ready`` are the named checks of /livez and /readyz. ``desks``:
        further paths (below /edgekube/v1/ unless they begin with a slash), whose callers are authorized by RBAC. ``reachable``:
        where the proxy goes.
        ``aggregator``: other API servers behind this one.
        ``fairness``: whose turn it is. ``log_requests``: each has a line in the log, not only slow ones.
        ``metrics_api``: answers metrics.k8s.io unless another server does. ``anonymous``: what strangers may ask."""
        self._doors = doors or Doors()
        self._desks = {urljoin(DOORS_PREFIX, name): handler for name, handler in (desks or {}).items()}
        self._registry = registry
        self._reviews = Reviews(authenticator, authorizer, rules)
        self._tunnel = Tunnel(registry, agents)
        self._proxy = Proxy(registry, agents, reachable)
        registry.webhooks = WebhookClient(registry, elsewhere=PodSockets(agents), reachable=reachable)
        self._aggregator = aggregator
        self._fairness = fairness or Fairness()
        self._fairness.tell_of(registry.metrics)
        self._metrics_api = metrics_api
        beyond = aggregator.published if aggregator else None
        self._discovery = Discovery(registry.kinds, server_address, beyond, ROWS if metrics_api else ())
        self._openapi = OpenApi(registry.kinds, registry.custom, aggregator)
        self._store_check = StoreCheck(registry)
        always: dict[str, Check] = {"log": log_check, "etcd": self._store_check.why, **STARTED}
        self._health = Health({**always, **(live or {})}, {**SYNCED, "shutdown": self._not_draining, **(ready or {})})
        self._in_flight = inflight.InFlight()
        self._streams: set[Ending] = set()
        self._tunnels: set[Ending] = set()
        self._draining = False
        self.metrics = registry.metrics
        self._figures = ApiFigures(registry.metrics, self._in_flight.at_once)
        tell_of_process(registry.metrics, {})
        self._request_log = RequestLog(every=log_requests)
        self._auditing = auditing
        self._entry = Entry(registry, authenticator, authorizer, self._fairness, self._figures, auditing, anonymous)
        self._tells_id = log_requests or auditing is not None
        self._refusals = RefusalLog(log)
        registry.kinds.changed.append(self._end_streams_of_lost_kinds)

    def drain(self) -> None:
        """End every watch as if its time were up; /readyz fails from now on."""
        self._draining = True
        for ending in list(self._streams):
            ending.end()

    def _end_streams_of_lost_kinds(self) -> None:
        """A watch goes by the row that it began with; a client that watches again finds the new one, or 404."""
        kinds = self._registry.kinds
        for ending in list(self._streams):
            kind = ending.kind
            if kind is None or not kind.custom:
                continue
            now = kinds.by_resource(kind.group, kind.version, kind.plural)
            if now is None or replace(now, verbs=kind.verbs) != kind:  # one that is being deleted has fewer verbs
                ending.end()

    def end_streams_of_node(self, name: str) -> None:
        """The node, and the pods that ran on it, may not go on listening, nor what else they have open."""
        for ending in [*self._streams, *self._tunnels]:
            if ending.user_name == f"{NODE_PREFIX}{name}" or ending.node_name == name:
                ending.end()

    def _not_draining(self) -> str | None:
        return "the server is shutting down" if self._draining else None

    async def handle(self, request: Request, responder: Responder) -> None:
        account = Account(request, responder, tells_id=self._tells_id)
        failed = False
        try:
            await self._answer(request, account)
        except StatusError as error:
            account.failure = error
            if account.started:
                raise Disconnected from error
            await respond.send_error(request, account, error, error.warnings)
        except BodyTooLarge as error:
            await respond.send_error(request, account, errors.entity_too_large(str(error)))
        except (Disconnected, trio.Cancelled):
            account.disconnected()
            raise
        except Exception as error:
            failed = True
            log.exception("handler failed method=%s path=%s peer=%s", request.method, request.path, request.peer)
            if account.started:
                raise Disconnected from error
            await respond.send_error(request, account, errors.internal("the server's log says what went wrong"))
        finally:
            self._figures.ended(account)
            self._request_log.ended(account)
            if account.audit is not None and self._auditing is not None:
                self._auditing.ended(account, failed=failed)

    async def _answer(self, request: Request, account: Account) -> None:
        if request.path.startswith(DOORS_PREFIX) and request.path not in self._desks:
            try:
                await self._doors.serve(request, account)
            except StatusError as error:
                self._tell_of(request, error)
                raise
            return
        asked = account.route = route(request.method, request.path, request.query)
        seconds = REQUEST_SECONDS_MAX
        if "timeout" in asked.query and not account.lasts:
            seconds = parameters.timeout_seconds(asked)
        if asked.is_resource:
            account.kind = self._registry.kinds.by_resource(asked.group, asked.version, asked.plural)
        try:
            user = await self._entry.let_in(request, asked, account)
        except StatusError as error:
            self._tell_of(request, error)
            raise
        if account.lasts or "upgrade" in request.headers:
            await self._serve(request, account, asked, user)
            return
        seat = self._fairness.seat(account.flow)
        if _waits_for_nobody(asked, account.kind) and seat.sit():
            try:
                await self._serve(request, account, asked, user)
            finally:
                seat.leave()
            return
        with trio.move_on_after(seconds) as scope:
            async with seat:
                await self._serve(request, account, asked, user)
        if scope.cancelled_caught:
            if account.started:
                raise Disconnected("the request's time is up")
            raise StatusError("Timeout", "Timeout: request did not complete within the allotted timeout")

    async def _serve(self, request: Request, account: Account, asked: Route, user: UserInfo) -> None:
        if self._aggregator is not None and (behind := self._aggregator.of_path(request.path)) is not None:
            with self._place_behind(request, asked, user):
                await self._aggregator.serve(request, account, user, behind)
            return
        if self._metrics_api is not None and self._metrics_api.serves(asked):
            with self._in_flight.place(inflight.READING, exempt=MASTERS in user.groups):
                await self._metrics_api.serve(request, account, asked)
            return
        if not asked.is_resource:
            desk = self._desks.get(request.path)
            if desk is not None:
                await desk(request, account)
                return
            await self._path(request, account, asked)
            return
        await self._resource(request, account, asked, user)

    @contextmanager
    def _place_behind(self, request: Request, asked: Route, user: UserInfo) -> Iterator[None]:
        """A place among the requests that another API server answers."""
        exempt = MASTERS in user.groups
        if asked.verb == "watch" or "upgrade" in request.headers:
            place = self._in_flight.place(inflight.WATCHING, exempt=exempt, user_name=user.name)
            with place, Ending(user).within(self._tunnels):
                yield
            return
        reads = asked.verb in _READING_VERBS or not asked.is_resource
        with self._in_flight.place(inflight.READING if reads else inflight.WRITING, exempt=exempt):
            yield

    def _tell_of(self, request: Request, error: StatusError) -> None:
        """The log hears of who was not let in; a namespace that goes, a quota or a protocol refuse the best of friends."""
        if error.code in REFUSED and not error.causes:
            self._refusals.tell(request, error.code, error.message)

    async def review(self, group: str, kind: str, obj: Object) -> Object:
        """What this process's own agent asks about those who come to it (agent.access)."""
        return await self._reviews.answer(kind, obj, UserInfo(""), "", self._registry.clock())

    # --- paths that are no resource

    async def _path(self, request: Request, responder: Responder, asked: Route) -> None:
        path = asked.path
        first = path.strip("/").partition("/")[0]
        if request.method not in ("GET", "HEAD"):
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        if first in ENDPOINTS:
            await self._store_check.look()
            found = self._health.answer(path, asked.query.get("exclude", []), verbose="verbose" in asked.query)
            if found is not None:
                await respond.send_text(request, responder, *found)
                return
        elif path == "/version" or path == "/version/":
            _check_read(request, (negotiation.JSON,))
            await respond.send(request, responder, 200, VERSION_BODY)
            return
        elif first in ("api", "apis"):
            if await self._discover(request, responder, path):
                return
        elif first == "openapi":
            if await self._openapi.serve(request, responder, path, asked.parameter("hash")):
                return
            if path.startswith("/openapi/v3/"):
                await responder.send(404, {})
                return
        elif path == "/metrics":
            await self._figures.count_objects(self._registry.kinds.stored_rows(), self._registry.store.count)
            text = self.metrics.text(self._figures.sli_lines())
            await respond.send(request, responder, 200, text.encode(), content_type=METRICS_TYPE)
            return
        elif path == "/metrics/slis":
            await self._store_check.look()
            await respond.send(request, responder, 200, self._health.slis().encode(), content_type=METRICS_TYPE)
            return
        elif path in ("/", ""):
            paths = [
                "/apis/",
                "/metrics",
                "/metrics/slis",
                "/openapi/v2",
                "/openapi/v3",
                "/openapi/v3/",
                "/version",
                *(path for path in self._desks if not path.startswith(DOORS_PREFIX)),
                *self._health.paths(),
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
        _check_read(request, negotiation.PRODUCED)
        negotiation.check_discovery(accept)
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

    # --- resources

    async def _resource(self, request: Request, responder: Account, asked: Route, user: UserInfo) -> None:
        kind = responder.kind
        if kind is None or (asked.namespace and not kind.namespaced):
            await self._unknown(request, responder, asked.path)
            return
        if asked.verb == "watch" and asked.subresource:
            raise StatusError("NotFound", "the server could not find the requested resource")
        if kind.namespaced and not asked.namespace:
            if asked.name:
                raise StatusError("NotFound", "the server could not find the requested resource")
            if asked.verb not in _ACROSS_NAMESPACES:
                raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        if "dryRun" in asked.query:
            responder.dry_run = "All"
        exempt = MASTERS in user.groups
        if asked.subresource in (*TUNNELS, PROXY) and asked.subresource in kind.subresources:
            if asked.subresource == "log" and request.method != "GET":
                raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
            place = self._in_flight.place(inflight.WATCHING, exempt=exempt, user_name=user.name)
            with place, self._figures.while_lasting(responder), Ending(user).within(self._tunnels):
                await connecting.admit(self._registry, kind, asked, user, [])
                if asked.subresource == PROXY:
                    await self._proxy.serve(request, responder, asked)
                else:
                    await self._tunnel.serve(request, responder, asked)
            return
        if not kind.custom:
            listed = asked.verb in ("list", "watch")
            _check_read(request, negotiation.PRODUCED_STREAMS if listed else negotiation.PRODUCED)
        exchange = Exchange(self._registry, request, responder, asked, kind, user, annotations=responder.annotations)
        if MASTERS not in user.groups:
            exchange.check_create = lambda: self._entry.authorize(user, asked, "create")
        if deprecation := deprecation_of(kind):
            exchange.warnings.append(deprecation)
        try:
            await self._exchange(exchange, asked, kind, responder, exempt=exempt)
        except StatusError as error:
            error.warnings = exchange.warnings
            if user.name.startswith(NODE_PREFIX):  # admission.node_restriction
                self._tell_of(request, error)
            raise
        finally:
            for key, value in exchange.annotations.items():
                responder.annotate(key, value)

    async def _exchange(self, exchange: Exchange, asked: Route, kind: Kind, account: Account, *, exempt: bool) -> None:
        if asked.verb == "watch" or (asked.verb == "get" and asked.flag("watch")):
            if "watch" not in kind.verbs:
                raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
            place = self._in_flight.place(inflight.WATCHING, exempt=exempt, user_name=exchange.user.name)
            with place, self._figures.while_lasting(account):
                await serve_watch(exchange, self._streams, self._still(exchange.user, asked))
            return
        what = inflight.READING if asked.verb in _READING_VERBS else inflight.WRITING
        with self._in_flight.place(what, exempt=exempt):
            if kind.group in _REVIEW_GROUPS:
                await self._review(exchange, kind)
            else:
                await serve(exchange)

    def _still(self, user: UserInfo, asked: Route) -> Callable[[], bool]:
        """What a node may see changes with the pods that run on it; what others may, seldom."""
        if not user.name.startswith(NODE_PREFIX):
            return lambda: True

        def still() -> bool:
            try:
                self._entry.authorize(user, asked, asked.verb)
            except StatusError:
                return False
            return True

        return still

    async def _review(self, exchange: Exchange, kind: Kind) -> None:
        asked = exchange.route
        if asked.verb != "create" or asked.name or asked.subresource:
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        obj, context = await exchange.decoded()
        checks.shape(self._registry, kind, obj, context)
        if kind.kind in _MANAGED_REVIEWS:
            managing.for_create(self._registry, kind, obj, context)
        admission = gate.request_of(CREATE, kind, asked.namespace, "", context, obj)
        if gate.concerns(self._registry, admission):
            obj = await gate.mutate(self._registry, admission)
            await gate.validate(self._registry, admission)
        made = await self._reviews.answer(kind.kind, obj, exchange.user, asked.namespace, self._registry.clock())
        await exchange.answer(orjson.dumps(made), status=201)


#: The others answer with an object of their own.
_MANAGED_REVIEWS: Final = ("LocalSubjectAccessReview", "SelfSubjectAccessReview", "SubjectAccessReview", "TokenReview")


def _check_read(request: Request, produced: tuple[str, ...]) -> None:
    """Of a built-in path. StatusError MethodNotAllowed, NotAcceptable."""
    if request.method == "HEAD":  # upstream's router has no routes for it
        raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
    negotiation.check_routed(request.headers.get("accept", ""), produced)


def _waits_for_nobody(asked: Route, kind: Kind | None) -> bool:
    """Reading one object of ours: nothing but a disk that hangs could keep it past its time, and minding that costs a tenth."""
    return (
        asked.verb == "get"
        and kind is not None
        and not kind.custom
        and bool(asked.name)
        and not asked.subresource
        and "watch" not in asked.query
    )
