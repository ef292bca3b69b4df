"""HTTPS to a webhook: by its URL, or through the Service that it stands behind.

Enters: a clientConfig (admissionregistration.k8s.io, apiextensions.k8s.io), a JSON body, the time it may take.
Leaves: the body of a 2xx answer; CallFailed with Go's words for everything else.
Holds: TLS always, against caBundle alone where there is one; the name that the certificate must carry is the URL's host or
<service>.<namespace>.svc. The webhook learns nothing of who asks (no token, no client certificate), redirects are not followed,
and an endpoint that only this machine itself shall reach is not gone to (api.reachable).
Bound: limits.WEBHOOK_RESPONSE_BYTES_MAX; limits.WEBHOOK_CLIENTS_MAX contexts with limits.WEBHOOK_IDLE_MAX idle connections each,
for limits.WEBHOOK_IDLE_SECONDS; the time of the call from its first look to the last byte.
Source: k8s.io/apiserver pkg/util/webhook.
Next: registry.service_places, wire.client.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from urllib.parse import urlsplit

import trio
from msgspec import Struct, field

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.api.reachable import is_reachable
from edgekube.registry import webhook_faults
from edgekube.registry.service_places import Place, places_of
from edgekube.registry.state import Registry
from edgekube.registry.webhook_faults import CallFailed
from edgekube.wire.client import HttpConnection, ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected
from edgekube.wire.tls import foreign_client_context
from edgekube.wire.transport import connect, connect_over

_HEADERS: Final = {
    "content-type": "application/json", "accept": "application/json, */*", "user-agent": "kube-apiserver-admission",
}  # fmt: skip
_HTTPS_PORT: Final = 443


class Elsewhere(Protocol):
    """Pods that this machine has no route to: their node's agent joins them to a socket."""

    def is_elsewhere(self, place: Place) -> bool: ...

    def socket_to(self, place: Place) -> AbstractAsyncContextManager[socket.socket]: ...


class _Target(Struct, frozen=True):
    authority: str
    server_name: str
    path: str
    #: "" for a URL.
    namespace: str
    service: str
    host: str
    port: int


class _Client(Struct):
    context: ssl.SSLContext
    idle: list[tuple[Place, HttpConnection]] = field(default_factory=list)


class WebhookClient:
    def __init__(
        self,
        registry: Registry,
        *,
        elsewhere: Elsewhere | None = None,
        reachable: Callable[[str], bool] = is_reachable,
    ) -> None:
        """``reachable``: whether an endpoint's address is one to go to; a URL was written by who may write it."""
        self._registry = registry
        self._elsewhere = elsewhere
        self._reachable = reachable
        self._clock = _Clock(registry.clock)
        self._clients: OrderedDict[tuple[str, bytes], _Client] = OrderedDict()

    async def call(
        self, config: Object, body: bytes, timeout_seconds: float, *, max_bytes: int = limits.WEBHOOK_RESPONSE_BYTES_MAX
    ) -> bytes:
        """The answer's body. CallFailed."""
        target = _target_of(config)
        client = self._client(target, config)
        path = f"{target.path}?timeout={int(-(-timeout_seconds // 1))}s"
        answer: bytes | None = None
        try:
            with trio.move_on_after(timeout_seconds):
                answer = await self._ask(client, target, path, body, max_bytes)
        except _Unsent as error:
            raise CallFailed(f'Post "https://{target.authority}{path}": {error}') from error
        if answer is None:
            raise CallFailed(f'Post "https://{target.authority}{path}": context deadline exceeded')
        return answer

    def _client(self, target: _Target, config: Object) -> _Client:
        self._sweep()
        bundle = _bundle_of(config)
        key = (target.authority, hashlib.sha256(bundle or b"").digest())
        client = self._clients.get(key)
        if client is None:
            try:
                client = _Client(foreign_client_context(bundle, clock=self._clock))
            except (ssl.SSLError, ValueError) as error:
                why = "unable to load root certificates: unable to parse bytes as PEM block"
                raise CallFailed(why, 500) from error
            self._clients[key] = client
            while len(self._clients) > limits.WEBHOOK_CLIENTS_MAX:
                _, oldest = self._clients.popitem(last=False)
                _close(oldest, everything=True)
        self._clients.move_to_end(key)
        return client

    def _sweep(self) -> None:
        for client in self._clients.values():
            _close(client)

    async def _ask(self, client: _Client, target: _Target, path: str, body: bytes, max_bytes: int) -> bytes:
        choices = await self._places(target)
        while True:
            kept = _take(client, choices)
            if kept is None:
                break
            place, connection = kept
            try:
                return await self._exchange(client, place, connection, path, body, max_bytes)
            except _Unsent:  # closed by the other side while it lay idle
                if connection.answered_anything:
                    raise
        place = self._registry.draw.choice(choices)
        if self._elsewhere is not None and self._elsewhere.is_elsewhere(place):
            return await self._through(self._elsewhere, client, target, place, path, body, max_bytes)
        address = f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}"
        try:
            transport = await connect(
                place.host, place.port, context=client.context, server_hostname=target.server_name,
                timeout_seconds=limits.WEBHOOK_SECONDS_MAX,
            )  # fmt: skip
        except OSError as error:
            raise _Unsent(webhook_faults.of_dialling(error, address, target.server_name)) from error
        connection = HttpConnection(transport, target.authority)
        return await self._exchange(client, place, connection, path, body, max_bytes)

    async def _places(self, target: _Target) -> list[Place]:
        if not target.service:
            return [Place(target.host, target.port)]
        try:
            found = await places_of(self._registry, target.namespace, target.service, target.port)
        except StatusError as error:
            raise _Unsent(error.message) from error
        allowed = [place for place in found if self._reachable(place.host) or not _is_address(place.host)]
        if not allowed:
            raise _Unsent("address not allowed")
        return allowed

    async def _through(
        self, elsewhere: Elsewhere, client: _Client, target: _Target, place: Place, path: str, body: bytes, max_bytes: int
    ) -> bytes:
        """A pod of another node: the connection lasts for one request."""
        try:
            async with elsewhere.socket_to(place) as sock:
                transport = await connect_over(sock.dup(), context=client.context, server_hostname=target.server_name)
                connection = HttpConnection(transport, target.authority)
                try:
                    return await self._exchange(None, place, connection, path, body, max_bytes)
                finally:
                    connection.close()
        except StatusError as error:
            raise _Unsent(error.message) from error
        except OSError as error:
            raise _Unsent(webhook_faults.of_dialling(error, f"{place.host}:{place.port}", target.server_name)) from error

    async def _exchange(
        self, client: _Client | None, place: Place, connection: HttpConnection, path: str, body: bytes, max_bytes: int
    ) -> bytes:
        """One request on one connection, which is kept for the next if all went well."""
        finished = False
        try:
            response = await connection.request("POST", path, _HEADERS, body)
            answer = await response.read(max_bytes)
            finished = response.keep_alive and client is not None
        except (Disconnected, ProtocolError, OSError) as error:
            raise _Unsent("EOF" if isinstance(error, Disconnected) else str(error)) from error
        except BodyTooLarge as error:
            raise CallFailed(str(error)) from error
        finally:
            if not finished:
                connection.close()
        if client is not None and finished:
            connection.idle_since = trio.current_time()
            client.idle.append((place, connection))
            while len(client.idle) > limits.WEBHOOK_IDLE_MAX:
                client.idle.pop(0)[1].close()
        if not 200 <= response.status <= 206:
            raise webhook_faults.of_answer(response.status, answer, response.headers.get("content-type", ""))
        return answer


def client_of(registry: Registry) -> WebhookClient:
    """The registry's one client, made when it is first needed."""
    if registry.webhooks is None:
        registry.webhooks = WebhookClient(registry)
    assert isinstance(registry.webhooks, WebhookClient)
    return registry.webhooks


class _Clock:
    """A foreign certificate says nothing about what time it is."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def __call__(self) -> float:
        return self._clock()

    def raise_floor(self, seconds: float, source: str) -> None:
        return None


class _Unsent(Exception):
    """No answer came; the message goes behind ``Post "URL": ``."""


def _close(client: _Client, *, everything: bool = False) -> None:
    """Idle connections that have lain there too long, or that the other side has closed; with ``everything`` all."""
    oldest = trio.current_time() - limits.WEBHOOK_IDLE_SECONDS
    kept = []
    for place, connection in client.idle:
        if everything or connection.idle_since < oldest or connection.transport.readable_now():
            connection.close()
        else:
            kept.append((place, connection))
    client.idle = kept


def _take(client: _Client, choices: list[Place]) -> tuple[Place, HttpConnection] | None:
    """An idle connection to a place that is still ready."""
    while client.idle:
        place, connection = client.idle.pop()
        if place in choices:
            return place, connection
        connection.close()
    return None


def _is_address(host: str) -> bool:
    """What an ExternalName names is no address: who may write that Service may name any host, as upstream has it."""
    return ":" in host or host.replace(".", "").isdigit()


def _bundle_of(config: Object) -> bytes | None:
    text = config.get("caBundle")
    if not text:
        return None
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return b"-"


def _target_of(config: Object) -> _Target:
    service = config.get("service")
    if service:
        namespace, name = str(service.get("namespace") or ""), str(service.get("name") or "")
        port = int(service.get("port") or _HTTPS_PORT)
        server_name = f"{name}.{namespace}.svc"
        path = str(service.get("path") or "/")
        return _Target(f"{server_name}:{port}", server_name, path, namespace, name, "", port)
    url = config.get("url")
    if not url:
        raise CallFailed("webhook configuration must have either service or URL", 500)
    try:
        parts = urlsplit(str(url))
        host, port = parts.hostname or "", parts.port or _HTTPS_PORT
    except ValueError as error:
        raise CallFailed(f"Unparsable URL: {error}", 500) from error
    return _Target(parts.netloc, host, parts.path or "/", "", "", host, port)
