"""The verbs over HTTPS: what an agent or the command line uses where the server itself uses registry.local.

Enters: a Target; the same calls as in process.
Leaves: objects, raw lists, watch events; a server's Status as StatusError, a server out of reach as "ServiceUnavailable".
Holds: objects in lists and events are passed on as the bytes that came; nothing is sent twice unless it was never taken (no
connection, 429 or 503 with Retry-After) or is a read.
Bound: LIST_PAGE_ITEMS per page, RESPONSE_BYTES_MAX per response, WATCH_EVENT_BYTES_MAX per event.
Next: agent, cli; reconcile.follow on top of list and watch.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
import orjson
import trio

from edgekube import limits
from edgekube.api.errors import CODES, StatusError, expired, unavailable
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.api.verbs import (
    DEFAULT_DELETE,
    EVERYTHING,
    MERGE_PATCH,
    DeleteOptions,
    ListOptions,
    PatchBody,
    RawList,
    WatchEvent,
)
from edgekube.client.figures import FAILED, ClientFigures
from edgekube.client.outage import Outage
from edgekube.client.target import Target
from edgekube.version import PACKAGE_VERSION
from edgekube.wire.client import ClientResponse, ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected

_JSON: Final = "application/json"
#: Reason for a code whose body is no Status (a proxy, a listener that is not an API server).
_REASONS: Final = {code: reason for reason, code in reversed(CODES.items())}


class _ListMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    continue_token: str = msgspec.field(default="", name="continue")
    remaining: int | None = msgspec.field(default=None, name="remainingItemCount")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_LIST: Final = msgspec.json.Decoder(_List)
_EVENT: Final = msgspec.json.Decoder(_Event)


class RemoteVerbs:
    """api.verbs.Verbs over HTTPS. Close it, or use it as ``async with``, to end its idle connections."""

    def __init__(
        self,
        target: Target,
        *,
        user_agent: str = f"edgekube/{PACKAGE_VERSION}",
        timeout_seconds: float = limits.CLIENT_REQUEST_SECONDS,
        page_items: int = limits.CLIENT_LIST_PAGE_ITEMS,
    ) -> None:
        self._target = target
        self._outage = Outage()
        self.figures = ClientFigures(target.server_name)
        self._http = target.http_client()
        self._headers = {"accept": _JSON, "user-agent": user_agent}
        self._timeout_seconds = timeout_seconds
        self._page_items = page_items

    async def __aenter__(self) -> RemoteVerbs:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    def hang_up(self, local_addresses: Collection[str]) -> None:
        """This machine no longer has these addresses: nobody will answer there, and waiting for it to show would take long."""
        self._http.hang_up(local_addresses)

    def start_afresh(self) -> None:
        """Who we are has changed: new requests go over new connections, those under way end on their old ones."""
        self._http.start_afresh()

    # --- the verbs ---------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str, *, subresource: str = "") -> Object:
        return _decoded(await self._call("GET", _path(kind, namespace, name, subresource)))

    async def list(self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING) -> RawList:
        if options.limit or options.continue_token:
            return await self._page(kind, namespace, options, options.limit, options.continue_token)
        try:
            return await self._all_pages(kind, namespace, options)
        except StatusError as error:
            if error.reason != "Expired":
                raise
        # The history moved on between two pages: one answer without pages cannot expire.
        return await self._page(kind, namespace, options, 0, "")

    async def _all_pages(self, kind: Kind, namespace: str, options: ListOptions) -> RawList:
        page = await self._page(kind, namespace, options, self._page_items, "")
        items = page.items
        while page.continue_token:
            page = await self._page(kind, namespace, options, self._page_items, page.continue_token)
            items += page.items
        return RawList(items, page.revision)

    async def _page(self, kind: Kind, namespace: str, options: ListOptions, limit: int, token: str) -> RawList:
        query = _selection(options)
        if limit:
            query["limit"] = str(limit)
        if token:
            query["continue"] = token
        elif options.revision:
            query["resourceVersion"] = options.revision
        body = await self._call("GET", _path(kind, namespace) + _query(query))
        try:
            decoded = _LIST.decode(body)
        except msgspec.DecodeError as error:
            raise unavailable(f"the server answered a list that is none: {error}") from error
        metadata = decoded.metadata
        head = kind.head  # items of a list do not say what they are
        items = [item if item.startswith(head) else head + item[1:] for item in map(bytes, decoded.items or ())]
        return RawList(items, metadata.resource_version, metadata.continue_token, metadata.remaining)

    @asynccontextmanager
    async def watch(
        self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        query = _selection(options)
        query["watch"] = "true"
        query["allowWatchBookmarks"] = "true"
        if options.revision:
            query["resourceVersion"] = options.revision
        response = await self._open("GET", _path(kind, namespace) + _query(query), None, "")
        async with response, aclosing(_events(response)) as events:
            yield events

    async def create(self, kind: Kind, namespace: str, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        return _decoded(await self._call("POST", _path(kind, namespace, name, subresource), obj))

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        namespace = namespace_of(obj) if kind.namespaced else ""
        return _decoded(await self._call("PUT", _path(kind, namespace, name_of(obj), subresource), obj))

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: PatchBody,
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Object:
        return _decoded(await self._call("PATCH", _path(kind, namespace, name, subresource), patch, patch_type))

    async def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions = DEFAULT_DELETE) -> None:
        await self._call("DELETE", _path(kind, namespace, name), options.as_object())

    async def delete_collection(
        self, kind: Kind, namespace: str, selection: ListOptions = EVERYTHING, options: DeleteOptions = DEFAULT_DELETE
    ) -> None:
        query = _selection(selection)
        if selection.revision:
            query["resourceVersion"] = selection.revision
        await self._call("DELETE", _path(kind, namespace) + _query(query), options.as_object())

    async def ask(self, method: str, path: str, body: Object | None = None) -> Object:
        """A path that is no resource, and its answer."""
        return _decoded(await self._call(method, path, body))

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _call(self, method: str, target: str, body: PatchBody | None = None, content_type: str = _JSON) -> bytes:
        with trio.move_on_after(self._timeout_seconds):
            for attempt in range(limits.CLIENT_ATTEMPTS_MAX):
                response = await self._open(method, target, body, content_type)
                try:
                    async with response:
                        return await response.read(limits.CLIENT_RESPONSE_BYTES_MAX)
                except Disconnected as error:
                    if method != "GET" or attempt + 1 == limits.CLIENT_ATTEMPTS_MAX:
                        raise unavailable(f"{self._target.server_name}: {error}") from error
                except (ProtocolError, BodyTooLarge) as error:
                    raise unavailable(f"{self._target.server_name}: {error}") from error
        raise StatusError("Timeout", f"{method} {target}: no answer within {self._timeout_seconds:g} s")

    async def _open(self, method: str, target: str, body: PatchBody | None, content_type: str) -> ClientResponse:
        """A response with a 2xx status, or the StatusError that the server gave. Tries again what was not taken."""
        data = None if body is None else orjson.dumps(body)
        with trio.move_on_after(self._timeout_seconds):
            for attempt in range(limits.CLIENT_ATTEMPTS_MAX):
                last = attempt + 1 == limits.CLIENT_ATTEMPTS_MAX
                try:
                    response = await self._send(method, target, data, content_type)
                except (ssl.SSLError, ProtocolError) as error:
                    raise self._out_of_reach(error) from error
                except OSError as error:  # nothing was sent
                    if last:
                        raise self._out_of_reach(error) from error
                    await _back_off(attempt)
                    continue
                except Disconnected as error:
                    if last or method != "GET":  # it may have been taken: one connection's end, not an outage
                        raise unavailable(f"{self._target.server_name}: {error or 'connection lost'}") from error
                    await _back_off(attempt)
                    continue
                self._outage.answered()
                if 200 <= response.status < 300:
                    return response
                error_to_tell = await _error_of(response)
                if response.status == 401 and self._target.refused is not None:
                    self._target.refused(error_to_tell)
                pause_seconds = _retry_after_seconds(response)
                if pause_seconds is None or last:
                    raise error_to_tell
                await trio.sleep(pause_seconds)
        raise StatusError("Timeout", f"{method} {target}: no answer within {self._timeout_seconds:g} s")

    async def _send(self, method: str, target: str, data: bytes | None, content_type: str) -> ClientResponse:
        began, code = time.perf_counter(), FAILED
        try:
            response = await self._http.send(method, target, self._request_headers(data, content_type), data)
            code = str(response.status)
        finally:
            self.figures.asked(method, code, time.perf_counter() - began)
        return response

    def _out_of_reach(self, error: Exception) -> StatusError:
        self._outage.failed(str(error))
        return unavailable(f"{self._target.server_name}: {error}")

    def _request_headers(self, data: bytes | None, content_type: str) -> dict[str, str]:
        headers = self._headers
        token = self._target.token() if self._target.token is not None else ""
        if data is None and not token:
            return headers
        headers = dict(headers)
        if data is not None:
            headers["content-type"] = content_type
        if token:
            headers["authorization"] = f"Bearer {token}"
        return headers


def _path(kind: Kind, namespace: str, name: str = "", subresource: str = "") -> str:
    return kind.path(quote(namespace, safe=""), quote(name, safe=":"), subresource)


def _selection(options: ListOptions) -> dict[str, str]:
    query = {}
    if options.label_selector:
        query["labelSelector"] = options.label_selector
    if options.field_selector:
        query["fieldSelector"] = options.field_selector
    return query


def _query(query: dict[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""


def _decoded(body: bytes) -> Object:
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise unavailable(f"the server answered something that is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise unavailable("the server answered something that is no object")
    return decoded


async def _error_of(response: ClientResponse) -> StatusError:
    """The Status in a response's body, or one made up from its code."""
    try:
        async with response:
            body = await response.read(limits.CLIENT_ERROR_BYTES_MAX)
    except (Disconnected, ProtocolError, BodyTooLarge):
        body = b""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return StatusError.from_status({**status, "code": status.get("code") or response.status})
    text = body[:200].decode("utf-8", "replace").strip()
    reason = _REASONS.get(response.status, "Unknown")
    return StatusError(reason, text or f"the server answered {response.status}", code=response.status)


def _retry_after_seconds(response: ClientResponse) -> float | None:
    """None: do not ask again. Only what was refused for load carries Retry-After (client-go's rule)."""
    value = response.headers.get("retry-after", "")
    if response.status not in (429, 503) or not value.isdigit():
        return None
    return min(float(value), limits.CLIENT_RETRY_AFTER_SECONDS_MAX)


async def _back_off(attempt: int) -> None:
    delay_seconds = limits.CLIENT_BACKOFF_SECONDS * 2**attempt
    await trio.sleep(delay_seconds * random.uniform(0.5, 1.0))


async def _events(response: ClientResponse) -> AsyncGenerator[WatchEvent, None]:
    """One JSON document per line (Kubernetes API concepts, "Efficient detection of changes")."""
    buffer = bytearray()
    while True:
        try:
            piece = await response.receive_some()
        except (Disconnected, ProtocolError):
            return  # as good as the server's own end: what came until here counts
        if not piece:
            return
        searched = len(buffer)
        buffer += piece
        begin = 0
        while (end := buffer.find(b"\n", max(begin, searched))) >= 0:
            if end > begin:
                yield _event(bytes(memoryview(buffer)[begin:end]))
            begin = end + 1
        if begin:
            del buffer[:begin]
        if len(buffer) > limits.CLIENT_WATCH_EVENT_BYTES_MAX:
            raise unavailable("the server sent a watch event beyond any object's size")


def _event(line: bytes) -> WatchEvent:
    try:
        event = _EVENT.decode(line)
    except msgspec.DecodeError as error:
        raise unavailable(f"the server sent a watch event that is none: {error}") from error
    raw = bytes(event.object)
    if event.type == "ERROR":
        status = _decoded(raw)
        if status.get("code") == 410 and status.get("reason") == "Gone":
            raise expired(str(status.get("message") or "too old resource version"))
        raise StatusError.from_status(status)
    return WatchEvent(event.type, raw)
