"""The audit log: who did what, when, and what came of it, as far as a policy says so.

Enters: Accounts as they go on: who asks is known, the answer begins, the request has ended.
Leaves: audit.k8s.io/v1 Events, one a line, for server.audit_file and server.audit_webhook.
Holds: nothing is done, and nothing costs anything, for a request of level None or without a policy. Bodies are kept only where
the level asks for them, and only as large as limits.AUDIT_BODY_BYTES_MAX; what is larger is left out and says so.
Source: kubernetes.io, "Auditing"; k8s.io/apiserver pkg/apis/audit/v1.
Next: server.audit_file, server.audit_webhook.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from edgekube import limits
from edgekube.admission.audit_policy import (
    COMPLETE,
    METADATA,
    NONE,
    PANIC,
    PATCH_ANNOTATIONS,
    RECEIVED,
    REQUEST,
    REQUEST_RESPONSE,
    STARTED,
    Asked,
    AuditPolicy,
    Said,
)
from edgekube.api import decode, times
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.api.protobuf import PROTOBUF_TYPE, decode_protobuf
from edgekube.api.verbs import UserInfo
from edgekube.metrics import Metrics
from edgekube.server.accounting import Account
from edgekube.wire.protocol import Body

_TRUNCATED: Final = "audit.k8s.io/truncated"


class _Read:
    """A body that is remembered while it is read."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.data = b""
        self.too_large = False

    async def read(self, max_bytes: int) -> bytes:
        data = await self._body.read(max_bytes)
        self._note(data)
        return data

    async def receive_some(self) -> bytes:
        data = await self._body.receive_some()
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        if len(self.data) + len(data) > limits.AUDIT_BODY_BYTES_MAX:
            self.too_large, self.data = True, b""
        elif not self.too_large:
            self.data += data


class Trail:
    """What is remembered of one request that is told of."""

    def __init__(self, said: Said, received_at: float) -> None:
        self.said = said
        self.received_at = received_at
        self.request: _Read | None = None


class Sink(Protocol):
    """Where events go: server.audit_file, server.audit_webhook."""

    lost: int

    def put(self, line: bytes) -> bool:
        """Never waits. False: there was no room."""
        ...

    async def run(self) -> None: ...


class Auditing:
    def __init__(self, policy: AuditPolicy, sinks: Mapping[str, Sink], metrics: Metrics) -> None:
        """``sinks`` by upstream's names: log, webhook."""
        self._policy = policy
        self._sinks = sinks
        self._events = metrics.counter("apiserver_audit_event_total", "Audit events made.")
        self._levels = metrics.counter("apiserver_audit_level_total", "Requests by the level that the policy gave them.", "level")
        self._errors = metrics.counter(
            "apiserver_audit_error_total", "Audit events that found no room or could not be written.", "plugin"
        )
        metrics.before_reading(self._count_lost)

    def _count_lost(self) -> None:
        for name, sink in self._sinks.items():
            self._errors.add((name,), sink.lost - self._errors.value((name,)))

    def begin(self, account: Account) -> None:
        """Who asks is known, or that nobody does."""
        said = self._policy.of(_asked(account))
        self._levels.add((said.level,))
        if said.level == NONE:
            return
        trail = account.audit = Trail(said, time.time() - account.seconds)
        account.on_start = self._started
        if said.level != METADATA and account.kind is not None:
            trail.request = _Read(account.request.body)
            account.request.body = trail.request
        account.keeps_body = said.level == REQUEST_RESPONSE and account.kind is not None
        self._tell(account, trail, RECEIVED, None)

    def _started(self, account: Account) -> None:
        if isinstance(account.audit, Trail) and account.lasts:
            self._tell(account, account.audit, STARTED, None)

    def ended(self, account: Account, *, failed: bool = False) -> None:
        trail = account.audit
        if isinstance(trail, Trail):
            self._tell(account, trail, PANIC if failed else COMPLETE, account.body)

    def refused(self, account: Account) -> None:
        """Nobody could be authenticated."""
        self.begin(account)
        if isinstance(account.audit, Trail):
            trail, account.audit = account.audit, None
            status = {
                "metadata": {},
                "status": "Failure",
                "message": "Authentication failed",
                "reason": "Unauthorized",
                "code": 401,
            }
            self._put({**self._event(account, trail, STARTED), "responseStatus": status})

    # --- events

    def _tell(self, account: Account, trail: Trail, stage: str, body: bytes | None) -> None:
        if stage in trail.said.omitted:
            return
        event = self._event(account, trail, stage)
        if stage != RECEIVED:
            status: Object = {"metadata": {}, "code": account.code}
            if account.failure is not None:
                told = account.failure.status()
                status |= {key: told[key] for key in ("status", "message", "reason", "details") if key in told}
            event["responseStatus"] = status
        if stage in (COMPLETE, PANIC):
            self._put_bodies(event, account, trail, body)
        annotations = self._annotations(account, trail)
        if annotations:
            event["annotations"] = {**event.get("annotations", {}), **annotations}
        self._put(event)

    def _annotations(self, account: Account, trail: Trail) -> dict[str, str]:
        """A webhook's patch is part of what was asked for, and told where that is."""
        bodies = trail.said.level in (REQUEST, REQUEST_RESPONSE)
        return {
            key: value
            for key, value in account.annotations.items()
            if not key.startswith(PATCH_ANNOTATIONS) or (bodies and len(value) <= limits.AUDIT_BODY_BYTES_MAX)
        }

    def _put_bodies(self, event: Object, account: Account, trail: Trail, body: bytes | None) -> None:
        truncated = False
        read = trail.request
        if read is not None and (read.data or read.too_large):
            truncated = read.too_large
            content_type = account.request.headers.get("content-type", "")
            found = None if truncated else _decoded(read.data, decode.media_type(content_type))
            if found is not None:
                event["requestObject"] = _without_managed(found) if trail.said.omit_managed_fields else found
        if account.keeps_body:
            if body is None:
                truncated = truncated or account.bytes_sent > limits.AUDIT_BODY_BYTES_MAX
            elif body:
                shown = _decoded(gzip.decompress(body) if account.body_is_gzip else body, "application/json")
                if shown is not None:
                    event["responseObject"] = _without_managed(shown) if trail.said.omit_managed_fields else shown
        if truncated:
            event["annotations"] = {_TRUNCATED: "true"}

    def _event(self, account: Account, trail: Trail, stage: str) -> Object:
        request, route = account.request, account.route
        uri = f"{request.path}?{request.query}" if request.query else request.path
        event: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": trail.said.level,
            "auditID": account.audit_id,
            "stage": stage,
            "requestURI": uri[: limits.AUDIT_URI_BYTES_MAX],
            "verb": route.verb if route is not None else request.method.lower(),
            "user": _user(account.impersonator or account.user),
            "sourceIPs": [request.peer.rpartition(":")[0].strip("[]")],
        }
        if account.impersonator is not None:
            event["impersonatedUser"] = _user(account.user)
        if agent := request.headers.get("user-agent", ""):
            event["userAgent"] = agent[: limits.REFUSAL_TEXT_BYTES_MAX]
        if route is not None and route.is_resource:
            named = {
                "resource": route.plural, "namespace": route.namespace, "name": route.name, "apiGroup": route.group,
                "apiVersion": route.version, "subresource": route.subresource,
            }  # fmt: skip
            event["objectRef"] = {key: value for key, value in named.items() if value}
        event["requestReceivedTimestamp"] = times.rfc3339_micro(trail.received_at)
        event["stageTimestamp"] = times.rfc3339_micro(time.time())
        return event

    def _put(self, event: Object) -> None:
        self._events.add()
        line = orjson.dumps(event) + b"\n"
        for sink in self._sinks.values():
            sink.put(line)


def _asked(account: Account) -> Asked:
    route, user = account.route, account.user
    name, groups = (user.name, tuple(user.groups)) if user is not None else ("", ())
    if route is None or not route.is_resource:
        verb = route.verb if route is not None else account.request.method.lower()
        return Asked(name, groups, verb, False, account.request.path)
    return Asked(
        name, groups, route.verb, True, "", route.group, route.plural, route.subresource, route.namespace, route.name
    )  # fmt: skip


def _user(user: UserInfo | None) -> Object:
    if user is None:
        return {}
    shown: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        shown["uid"] = user.uid
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown


def _decoded(data: bytes, media_type: str) -> Any:
    """None for what is no object in a form that we read."""
    try:
        if media_type == PROTOBUF_TYPE:
            return decode_protobuf(data)
        if "yaml" in media_type:
            return decode.decode_body(data, "application/yaml") if len(data) <= limits.YAML_INLINE_BYTES_MAX else None
        return orjson.loads(data)
    except (StatusError, ValueError):
        return None


def _without_managed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    metadata, items = value.get("metadata"), value.get("items")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
    if isinstance(items, list):
        for item in items:
            _without_managed(item)
    return value
