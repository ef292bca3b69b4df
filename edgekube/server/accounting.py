"""One request, as those see it who count, log and audit: what was asked, by whom, and what came of it.

Enters: a request, its responder; then, as they become known, the route, the kind and the user.
Leaves: an Account, through which the answer goes: it notes the status, the bytes and when the answer began.
Holds: one for each request, whoever answers it; nothing here refuses or changes anything but headers: Audit-Id, and whose turn it
was (server.fairness).
Next: server.figures, server.request_log, server.auditing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from edgekube import limits
from edgekube.admission.flows import Flow
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.verbs import UserInfo
from edgekube.server.routes import Route
from edgekube.wire.protocol import ByteStream, Headers, Request, Responder

AUDIT_ID: Final = "audit-id"
#: Annotations of the audit log.
DECISION: Final = "authorization.k8s.io/decision"
REASON: Final = "authorization.k8s.io/reason"
_AUDIT_ID_CHARACTERS_MAX: Final = 64
_LONG_VERBS: Final = ("watch",)
_LONG_SUBRESOURCES: Final = ("attach", "exec", "log", "portforward", "proxy")


class Account:
    """Also the Responder of its request."""

    __slots__ = (
        "_responder",
        "annotations",
        "audit",
        "audit_id",
        "body",
        "body_is_gzip",
        "bytes_sent",
        "code",
        "dry_run",
        "failure",
        "flow",
        "impersonator",
        "keeps_body",
        "kind",
        "more_headers",
        "on_start",
        "request",
        "route",
        "started_at",
        "user",
    )

    def __init__(self, request: Request, responder: Responder, *, tells_id: bool = False) -> None:
        """``tells_id``: the answer names the request's Audit-Id; it always does when the client gave one."""
        self._responder = responder
        self.request = request
        self.started_at = time.perf_counter()
        self.route: Route | None = None
        self.kind: Kind | None = None
        self.user: UserInfo | None = None
        #: Who asked in somebody else's name; ``user`` is then that other.
        self.impersonator: UserInfo | None = None
        self.dry_run = ""
        self.code = 0
        self.bytes_sent = 0
        #: For the audit log: authorization.k8s.io/decision and what admission says.
        self.annotations: dict[str, str] = {}
        #: What server.auditing keeps of this request, and the answer's body if it wants it.
        self.audit: object = None
        self.keeps_body = False
        self.body: bytes | None = None
        self.body_is_gzip = False
        #: Whose turn it has to be (server.fairness).
        self.flow: Flow | None = None
        #: Headers that go with any answer.
        self.more_headers: Headers = {}
        #: Why the request failed.
        self.failure: StatusError | None = None
        #: Called when an answer that lasts begins.
        self.on_start: Callable[[Account], None] | None = None
        given = request.headers.get(AUDIT_ID, "")
        self.audit_id = given[:_AUDIT_ID_CHARACTERS_MAX] if given else (_new_id() if tells_id else "")

    def annotate(self, key: str, value: str) -> None:
        """The first value stays, as upstream's."""
        self.annotations.setdefault(key, value)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started_at

    @property
    def lasts(self) -> bool:
        """A watch, a log, something that is proxied or was upgraded: long is what it is meant to be."""
        route = self.route
        if self.code == 101:
            return True
        return route is not None and (route.verb in _LONG_VERBS or route.subresource in _LONG_SUBRESOURCES)

    def disconnected(self) -> None:
        """The client left before it had its answer: 499 where nothing was said yet, as others count it."""
        if not self.code:
            self.code = 499

    # --- the Responder

    def _headers(self, status: int, headers: Headers) -> Headers:
        self.code = status
        if self.more_headers:
            headers = {**headers, **self.more_headers}
        return {**headers, AUDIT_ID: self.audit_id} if self.audit_id else headers

    async def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.bytes_sent = len(body)
        if self.keeps_body and len(body) <= limits.AUDIT_BODY_BYTES_MAX:
            self.body, self.body_is_gzip = body, "content-encoding" in headers
        await self._responder.send(status, self._headers(status, headers), body)

    async def start(self, status: int, headers: Headers) -> None:
        headers = self._headers(status, headers)
        if self.on_start is not None:
            self.on_start(self)
        await self._responder.start(status, headers)

    async def write(self, chunk: bytes) -> None:
        self.bytes_sent += len(chunk)
        await self._responder.write(chunk)

    async def end(self) -> None:
        await self._responder.end()

    async def upgrade(self) -> ByteStream:
        self.code = 101
        if self.on_start is not None:
            self.on_start(self)
        return await self._responder.upgrade()

    @property
    def started(self) -> bool:
        return self._responder.started


def _new_id() -> str:
    """A random UUID; it names a request and guards nothing."""
    text = f"{random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
