"""Who may ask this node, besides the API server: authentication and authorization are the API's to decide.

Enters: a request with a client certificate that TLS has verified, or a bearer token.
Leaves: nothing; StatusError Unauthorized or Forbidden.
Holds: a token is asked of the API as a TokenReview, what its user may as SubjectAccessReviews of ``nodes/SUBRESOURCE``; answers
are kept for a while, as the kubelet does. Without the API nobody new comes in.
Bound: limits.AGENT_ACCESS_KEPT_MAX answers of each kind.
Source: kubernetes.io, "Kubelet authentication/authorization"; k8s.io/kubernetes pkg/kubelet/server/auth.go.
Next: agent.server.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from edgekube import limits
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import built_in
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs
from edgekube.wire.protocol import Request

#: Group and kind of a review, and its object -> the object with its status. StatusError.
Review: TypeAlias = Callable[[str, str, Object], Awaitable[Object]]
V = TypeVar("V")

_VERBS: Final = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: What a path is of the node. The first of several that a user may is enough.
_SUBRESOURCES: Final = {
    "pods": ("pods", "proxy"),
    "runningpods": ("pods", "proxy"),
    "healthz": ("healthz", "proxy"),
    "configz": ("configz", "proxy"),
    "stats": ("stats",),
    "metrics": ("metrics",),
    "logs": ("log",),
    "checkpoint": ("checkpoint",),
}
_EVERYTHING_ELSE: Final = ("proxy",)


def subresources_of(path: str) -> tuple[str, ...]:
    return _SUBRESOURCES.get(path.strip("/").partition("/")[0], _EVERYTHING_ELSE)


def reviewed_by(verbs: Verbs) -> Review:
    """Reviews by an API server elsewhere."""

    async def review(group: str, kind: str, obj: Object) -> Object:
        return await verbs.create(built_in(f"{group}/v1", kind), "", obj)

    return review


class DelegatedAccess:
    def __init__(self, review: Review, node_name: str, clock: Callable[[], float]) -> None:
        self._review = review
        self._node_name = node_name
        self._clock = clock
        self._users: OrderedDict[bytes, tuple[float, Object | None]] = OrderedDict()
        self._decisions: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()

    async def check(self, request: Request) -> None:
        user = await self._user_of(request)
        if user is None:
            raise errors.unauthorized()
        verb = _VERBS.get(request.method, "")
        subresources = subresources_of(request.path)
        for subresource in subresources:
            if await self._may(user, verb, subresource):
                return
        asked = ", ".join(f"subresource={subresource}" for subresource in subresources)
        why = f"Forbidden (user={user['username']}, verb={verb}, resource=nodes, {asked})"
        raise StatusError("Forbidden", why, code=403)

    async def _user_of(self, request: Request) -> Object | None:
        if request.peer_certificate is not None:
            return _user_of_certificate(request.peer_certificate)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > limits.TOKEN_BYTES_MAX:
            return None
        key = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        found = self._kept(self._users, key)
        if found is not None:
            return found[0]
        answer = await self._ask("authentication.k8s.io", "TokenReview", {"token": token})
        user: Object | None = answer.get("user") if answer.get("authenticated") else None
        if user is not None:
            self._keep(self._users, key, user, limits.AGENT_TOKEN_KEPT_SECONDS)
        return user

    async def _may(self, user: Object, verb: str, subresource: str) -> bool:
        attributes = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": self._node_name}
        spec: Object = {"resourceAttributes": attributes, "user": user["username"]}
        spec |= {key: user[key] for key in ("uid", "groups", "extra") if user.get(key)}
        key = hashlib.sha256(repr(sorted(spec.items())).encode()).digest()
        found = self._kept(self._decisions, key)
        if found is not None:
            return found[0]
        allowed = bool((await self._ask("authorization.k8s.io", "SubjectAccessReview", spec)).get("allowed"))
        seconds = limits.AGENT_ALLOWED_KEPT_SECONDS if allowed else limits.AGENT_REFUSED_KEPT_SECONDS
        self._keep(self._decisions, key, allowed, seconds)
        return allowed

    async def _ask(self, group: str, kind: str, spec: Object) -> Object:
        try:
            answer = await self._review(group, kind, {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec})
        except StatusError as error:
            raise errors.unavailable(f"the API cannot be asked who this is: {error.message}") from error
        status: Object = answer.get("status") or {}
        return status

    def _kept(self, held: OrderedDict[bytes, tuple[float, V]], key: bytes) -> tuple[V] | None:
        entry = held.get(key)
        return (entry[1],) if entry is not None and self._clock() < entry[0] else None

    def _keep(self, held: OrderedDict[bytes, tuple[float, V]], key: bytes, value: V, seconds: float) -> None:
        held.pop(key, None)
        held[key] = (self._clock() + seconds, value)
        while len(held) > limits.AGENT_ACCESS_KEPT_MAX:
            held.popitem(last=False)


def _user_of_certificate(der: bytes) -> Object | None:
    from cryptography import x509

    from edgekube.pki.certificates import subject_of

    name, groups = subject_of(x509.load_der_x509_certificate(der))
    return {"username": name, "groups": [*groups, "system:authenticated"]} if name else None
