"""Who asks, and may they?

Enters: a request, its route, the account that is kept of it.
Leaves: the user that it is answered as; StatusError Unauthorized, Forbidden.
Holds: nothing but health and version is answered to a stranger, and what the configuration opens to those whom roles let in;
whom a user impersonates is judged as the user, what is asked as the impersonated; what makes an object, or runs something, needs
the right to create, by whatever verb it comes.
Source: kubernetes.io, "Controlling Access to the Kubernetes API"; k8s.io/apiserver pkg/endpoints/filters.
Next: server.app.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from edgekube.admission import impersonation
from edgekube.admission.attributes import Attributes, Authorizer
from edgekube.admission.authentication.configuration import Anonymous
from edgekube.admission.refusals import refusal_of
from edgekube.api import errors
from edgekube.api.decode import media_type
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE
from edgekube.api.selectors.fields import pinned_fields
from edgekube.api.verbs import APPLY_PATCH, UserInfo
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of
from edgekube.server import signers
from edgekube.server.accounting import DECISION, REASON, Account
from edgekube.server.authenticator import Authenticator
from edgekube.server.fairness.fairness import Fairness
from edgekube.server.figures import ApiFigures
from edgekube.server.health import ENDPOINTS
from edgekube.server.identity import NODE_PREFIX
from edgekube.server.proxy import PROXY
from edgekube.server.routes import Route
from edgekube.server.websocket_token import take_token
from edgekube.wire.protocol import Request

if TYPE_CHECKING:
    from edgekube.server.auditing import Auditing

ANONYMOUS: Final = UserInfo("system:anonymous", groups=("system:unauthenticated",))
MASTERS: Final = "system:masters"
_AUTHENTICATED: Final = "system:authenticated"
_OPEN_PATHS: Final = frozenset({"version", *ENDPOINTS})
_CONNECTS: Final = ("exec", "attach", "portforward")
_SELECTING_VERBS: Final = ("list", "watch", "deletecollection")


class Entry:
    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        authorizer: Authorizer,
        fairness: Fairness,
        figures: ApiFigures,
        auditing: Auditing | None,
        anonymous: Anonymous,
    ) -> None:
        """``anonymous``: what a stranger may ask if roles let him."""
        self._anonymous = anonymous
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._fairness = fairness
        self._figures = figures
        self._auditing = auditing

    async def let_in(self, request: Request, asked: Route, account: Account) -> UserInfo:
        """Who it is that may do this. StatusError Unauthorized, Forbidden."""
        try:
            account.user = user = await self._authenticated(request)
            is_open = False
            if user is None:
                is_open = not asked.is_resource and asked.path.strip("/").partition("/")[0] in _OPEN_PATHS
                if not is_open and not self._anonymous.allows(request.path):
                    raise errors.unauthorized()
                account.user = user = ANONYMOUS
        except StatusError:
            if self._auditing is not None:
                self._auditing.refused(account)
            raise
        if self._auditing is not None:
            self._auditing.begin(account)  # it tells of him who asks, whoever he then says he is
        try:
            if not is_open:
                account.user = user = self._impersonated(request, asked, user, account)
                self._classify(asked, user, account)
                account.annotate(REASON, await self._permit(request, asked, user))
        except StatusError as error:
            account.annotate(DECISION, "forbid")
            account.annotate(REASON, error.message)
            raise
        account.annotate(DECISION, "allow")
        return user

    async def _permit(self, request: Request, asked: Route, user: UserInfo) -> str:
        """Why he may. StatusError Forbidden."""
        why = self.authorize(user, asked, asked.verb)
        if asked.verb != "create" and (asked.subresource in _CONNECTS or _runs_through(request, asked)):
            self.authorize(user, asked, "create")  # a WebSocket is a GET, yet it runs things; so would be any other method
        if MASTERS not in user.groups and await self._would_make(request, asked):
            self.authorize(user, asked, "create")
        if signers.concerns(asked.plural, asked.subresource, asked.verb):
            await signers.check(self._registry, self._authorizer, user, asked.name, asked.subresource)
        return why

    async def _would_make(self, request: Request, asked: Route) -> bool:
        """Whether this is a PUT of a kind that it makes, or an apply, and of an object that is not there."""
        applies = asked.verb == "patch" and media_type(request.headers.get("content-type", "")) == APPLY_PATCH
        if asked.verb != "update" and not applies:
            return False
        kind = self._registry.kinds.by_resource(asked.group, asked.version, asked.plural)
        if kind is None or asked.subresource or not asked.name or not (applies or strategy_of(kind).create_on_update):
            return False
        return await self._registry.find(kind, asked.namespace, asked.name) is None

    async def _authenticated(self, request: Request) -> UserInfo | None:
        began = time.perf_counter()
        try:
            user = await self._authenticate(request)
        except StatusError:
            self._figures.not_authenticated(time.perf_counter() - began)
            raise
        self._figures.authenticated(user, time.perf_counter() - began)
        return user

    async def _authenticate(self, request: Request) -> UserInfo | None:
        """A connection's certificate is looked at once; a token, and a node that may have been revoked, with each request."""
        if "sec-websocket-protocol" in request.headers:
            take_token(request.headers)
        authorization = request.headers.get("authorization", "")
        if not authorization and request.peer_certificate is not None:
            known = request.connection.get("user")
            if isinstance(known, UserInfo) and not known.name.startswith(NODE_PREFIX):
                return known
        if request.expired_certificate is not None and not authorization:
            raise errors.unauthorized("Unauthorized: the client certificate has expired")
        user = await self._authenticator.authenticate(request.peer_certificate, authorization)
        if user is None:
            return None
        if _AUTHENTICATED not in user.groups:
            user = UserInfo(user.name, user.uid, (*user.groups, _AUTHENTICATED), user.extra)
        if not authorization:
            request.connection["user"] = user
        return user

    def _impersonated(self, request: Request, asked: Route, user: UserInfo, account: Account) -> UserInfo:
        """Whom the request is answered as. What is passed on to others does not say so again."""
        wanted = impersonation.wanted_in(request.headers)
        if wanted is None:
            return user
        for name in [name for name in request.headers if name.startswith(impersonation.PREFIX)]:
            del request.headers[name]
        found = impersonation.impersonate(wanted, _attributes(user, asked, asked.verb), self._authorizer)
        account.impersonator = user
        if found.constraint:
            account.annotate("authentication.k8s.io/impersonation-constraint", found.constraint)
        return found.user

    def authorize(self, user: UserInfo, asked: Route, verb: str) -> str:
        """Why he may. StatusError Forbidden."""
        attributes = _attributes(user, asked, verb)
        began = time.perf_counter()
        decision = self._authorizer.authorize(attributes)
        self._figures.authorized(decision.allowed, time.perf_counter() - began)
        if not decision.allowed:
            raise refusal_of(attributes, decision.reason)
        return decision.reason

    def _classify(self, asked: Route, user: UserInfo, account: Account) -> None:
        """The flow that the request belongs to; its answer names it."""
        if asked.is_resource:
            what = Attributes(user, asked.verb, asked.group, asked.version, asked.plural, asked.subresource, asked.namespace)
        else:
            what = Attributes(user, asked.verb, path=asked.path)
        flow = account.flow = self._fairness.flow(what)
        if flow is not None:
            account.more_headers = self._fairness.headers(flow)


def _runs_through(request: Request, asked: Route) -> bool:
    """An upgrade through a node's proxy leads to its agent, where it may run things."""
    return asked.subresource == PROXY and asked.plural == NODE.plural and "upgrade" in request.headers


def _attributes(user: UserInfo, asked: Route, verb: str) -> Attributes:
    """What authorization is asked about this request."""
    if not asked.is_resource:
        return Attributes(user, verb, path=asked.path)
    name = asked.name
    fields: tuple[tuple[str, str], ...] = ()
    labels = ""
    if not name and verb in _SELECTING_VERBS:
        if "fieldSelector" in asked.query:
            fields = pinned_fields(asked.parameter("fieldSelector"))
            name = next((value for field, value in fields if field == "metadata.name"), "")
        if "labelSelector" in asked.query:
            labels = asked.parameter("labelSelector")
    return Attributes(
        user, verb, asked.group, asked.version, asked.plural, asked.subresource, asked.namespace, name, "", fields, labels
    )
