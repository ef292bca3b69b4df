"""What the API server did, in the names that dashboards ask kube-apiserver for.

Enters: Accounts of requests that have ended; who was let in and who was not.
Leaves: families of metrics.
Holds: a client's words become labels only when they name something that is served; everything else is one series.
Source: kubernetes.io, "Kubernetes Metrics Reference" (component kube-apiserver), v1.36.
Next: metrics.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from edgekube.api.kinds import Kind
from edgekube.api.verbs import UserInfo
from edgekube.api.warnings import deprecation_of
from edgekube.metrics import Labels, Metrics
from edgekube.server.accounting import Account

_COMPONENT: Final = "apiserver"
_SECONDS: Final = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0,
    60.0,
)  # fmt: skip
_BYTES: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
_AUTH_SECONDS: Final = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384)
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_CONNECTS: Final = ("attach", "exec", "portforward", "proxy")
_VERBS: Final = {
    "create": "POST", "delete": "DELETE", "deletecollection": "DELETECOLLECTION", "get": "GET", "list": "LIST", "patch": "PATCH",
    "update": "PUT", "watch": "WATCH",
}  # fmt: skip
_APPLY_TYPES: Final = ("application/apply-patch+yaml", "application/apply-patch+cbor")
#: First segments of paths that are no resource: the label that upstream calls subresource.
_PATHS: Final = frozenset(
    {"api", "apis", "edgekube", "healthz", "livez", "metrics", "openapi", "readyz", "version", ".well-known"}
)
_KNOWN_USERS: Final = frozenset({"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"})
_RESOURCE_LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope", "component")


def verb_of(account: Account) -> str:
    """GET, LIST, WATCH, APPLY, CONNECT …; other for a method that nothing answers to."""
    route, kind = account.route, account.kind
    if route is None or kind is None:
        return account.request.method if account.request.method in _METHODS else "other"
    if route.subresource in _CONNECTS:
        return "CONNECT"
    if route.verb == "patch" and account.request.headers.get("content-type", "").partition(";")[0] in _APPLY_TYPES:
        return "APPLY"
    return _VERBS.get(route.verb, "other")


def place_of(account: Account) -> Labels:
    """group, version, resource, subresource, scope."""
    route, kind = account.route, account.kind
    if route is None or kind is None:
        first = account.request.path.strip("/").partition("/")[0]
        return ("", "", "", f"/{first}" if first in _PATHS else "", "")
    subresource = route.subresource if route.subresource in kind.subresources else ""
    if route.name or (subresource and kind.namespaced):
        scope = "resource"
    else:
        scope = "namespace" if route.namespace else "cluster"
    return (kind.group, kind.version, kind.plural, subresource, scope)


class ApiFigures:
    def __init__(self, metrics: Metrics, in_flight: Callable[[], dict[str, int]]) -> None:
        """``in_flight``: how many requests read and write at this moment."""
        self._requests = metrics.counter(
            "apiserver_request_total",
            "Requests answered, by what was asked and the code of the answer.",
            "verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code",
        )  # fmt: skip
        self._seconds = metrics.histogram(
            "apiserver_request_duration_seconds",
            "Seconds from a request to the end of its answer.",
            "verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component",
            buckets=_SECONDS,
        )  # fmt: skip
        self._sizes = metrics.histogram(
            "apiserver_response_sizes",
            "Bytes of answers to get and list.",
            *_RESOURCE_LABELS,
            buckets=_BYTES,
        )
        self._lasting = metrics.gauge(
            "apiserver_longrunning_requests",
            "Watches and other requests that last, at this moment.",
            *_RESOURCE_LABELS,
        )
        self._in_flight = metrics.gauge(
            "apiserver_current_inflight_requests",
            "Requests being worked on at this moment.",
            "request_kind",
        )
        self._running = in_flight
        metrics.before_reading(self._set_in_flight)
        metrics.before_reading(self._count_answers)
        self._deprecated = metrics.gauge(
            "apiserver_requested_deprecated_apis",
            "1: this deprecated resource was asked for.",
            "group", "version", "resource", "subresource", "removed_release",
        )  # fmt: skip
        self._refused_early = metrics.counter(
            "apiserver_request_terminations_total",
            "Requests refused because too many ran.",
            *("verb", "group", "version", "resource", "subresource", "scope", "component", "code"),
        )
        self._objects = metrics.gauge("apiserver_storage_objects", "Objects stored, by resource.", "resource")
        self._resource_objects = metrics.gauge("apiserver_resource_objects", "Objects stored.", "group", "resource")
        self._attempts = metrics.counter(
            "authentication_attempts", "Attempts to authenticate.", "result"
        )  # success, failure, error
        self._authenticating = metrics.histogram(
            "authentication_duration_seconds", "Seconds that it took to authenticate.", "result",
            buckets=_AUTH_SECONDS,
        )  # fmt: skip
        self._users = metrics.counter("authenticated_user_requests", "Authenticated requests, by kinds of users.", "username")
        self._decisions = metrics.counter(
            "authorization_attempts_total",
            "Decisions of the authorizer.",
            "result",
        )
        self._deciding = metrics.histogram(
            "authorization_duration_seconds", "Seconds that a decision took.", "result",
            buckets=_AUTH_SECONDS,
        )  # fmt: skip

    def _set_in_flight(self) -> None:
        for kind, count in self._running().items():
            self._in_flight.set((kind,), count)

    def _count_answers(self) -> None:
        """What the histograms know is not counted with each request again."""
        for counter, histogram in ((self._attempts, self._authenticating), (self._decisions, self._deciding)):
            for labels in histogram.series():
                counter.set(labels, histogram.count(labels))

    async def count_objects(self, kinds: Iterable[Kind], count: Callable[[str], Awaitable[int]]) -> None:
        """Before the figures are read: how many there are of what is stored."""
        self._objects.clear()
        self._resource_objects.clear()
        for kind in {kind.resource: kind for kind in kinds if kind.stored}.values():
            found = await count(kind.resource)
            self._objects.set((kind.resource,), found)
            self._resource_objects.set((kind.group, kind.plural), found)

    def authenticated(self, user: UserInfo | None, seconds: float) -> None:
        result = "success" if user is not None else "failure"
        self._authenticating.observe((result,), seconds)
        if user is not None:
            name = user.name
            self._users.add((name if name in _KNOWN_USERS else "email_id" if "@" in name else "other",))

    def not_authenticated(self, seconds: float) -> None:
        """A token or certificate that is not good."""
        self._authenticating.observe(("error",), seconds)

    def authorized(self, allowed: bool, seconds: float) -> None:
        result = "allowed" if allowed else "no-opinion"
        self._deciding.observe((result,), seconds)

    @contextmanager
    def while_lasting(self, account: Account) -> Iterator[None]:
        """A watch or its like, from its beginning to its end."""
        labels = (verb_of(account), *place_of(account), _COMPONENT)
        self._lasting.add(labels, 1)
        try:
            yield
        finally:
            self._lasting.add(labels, -1)

    def ended(self, account: Account) -> None:
        verb, place = verb_of(account), place_of(account)
        labels = (verb, account.dry_run, *place, _COMPONENT)
        self._requests.add((*labels, str(account.code)))
        if verb != "WATCH" and verb != "CONNECT":
            self._seconds.observe(labels, account.seconds)
        if verb in ("GET", "LIST"):
            self._sizes.observe((verb, *place, _COMPONENT), account.bytes_sent)
        if account.code == 429:
            self._refused_early.add((verb, *place, _COMPONENT, "429"))
        kind = account.kind
        if kind is not None and deprecation_of(kind):
            self._deprecated.set((kind.group, kind.version, kind.plural, place[3], ""), 1)

    def sli_lines(self) -> Iterator[str]:
        """The same times under the name that service levels are computed from: nothing that we do not answer for is in them."""
        name = "apiserver_request_sli_duration_seconds"
        yield f"# HELP {name} The same seconds, as service levels count them."
        yield f"# TYPE {name} histogram"
        yield from self._seconds.lines_as(name)
