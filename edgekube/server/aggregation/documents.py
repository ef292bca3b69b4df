"""OpenAPI documents of version 2 of the API servers behind this one.

Enters: whoever asks for the whole document; the index of APIServices.
Leaves: of each available server what of its document is about its group versions, compressed.
Holds: nobody is asked before somebody asks here, and none more often than once in AGGREGATED_DOCUMENT_SECONDS, with the ETag of
what is kept. A server that is away, does not describe itself or describes itself in a way that cannot be told is left out.
Bound: limits.AGGREGATED_DOCUMENT_BYTES_MAX each, AGGREGATED_DOCUMENTS_BYTES_MAX kept of all, AGGREGATED_CHECK_TIMEOUT_SECONDS.
Next: server.openapi puts them together.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from typing import Final, NamedTuple

import orjson
import trio

from edgekube import limits
from edgekube.api.api_services import Remote
from edgekube.api.errors import StatusError
from edgekube.api.openapi.merging import Foreign, part_of
from edgekube.server.aggregation.checking import AGGREGATOR
from edgekube.server.aggregation.connections import FAILURES, RemoteConnections
from edgekube.server.aggregation.forwarding import identity_headers
from edgekube.server.aggregation.index import ApiServices

log = logging.getLogger("edgekube.server")

_PATH: Final = "/openapi/v2"


class Packed(NamedTuple):
    digest: str
    body: bytes

    def unpacked(self) -> Foreign:
        return Foreign(*orjson.loads(zlib.decompress(self.body)))


class _Known(NamedTuple):
    group_versions: frozenset[tuple[str, str]]
    etag: str
    asked_at: float
    #: None: it has none, or none that can be told.
    packed: Packed | None


class RemoteDocuments:
    def __init__(self, index: ApiServices, connections: RemoteConnections) -> None:
        self._index = index
        self._connections = connections
        self._known: dict[Remote, _Known] = {}
        self._asking = trio.Lock()

    async def all(self) -> list[Packed]:
        """In the order of their digests, so that the same ones make the same document."""
        wanted: dict[Remote, set[tuple[str, str]]] = {}
        for group, version, remote, available in self._index.remotes():
            if available:
                wanted.setdefault(remote, set()).add((group, version))
        if not wanted:
            self._known.clear()
            return []
        async with self._asking:
            self._known = {remote: known for remote, known in self._known.items() if remote in wanted}
            async with trio.open_nursery() as nursery:
                for remote, group_versions in wanted.items():
                    nursery.start_soon(self._ask, remote, frozenset(group_versions))
            return self._within_bounds()

    def _within_bounds(self) -> list[Packed]:
        found = sorted(known.packed for known in self._known.values() if known.packed is not None)
        size, kept = 0, []
        for packed in found:
            size += len(packed.body)
            if size <= limits.AGGREGATED_DOCUMENTS_BYTES_MAX:
                kept.append(packed)
        return kept

    async def _ask(self, remote: Remote, group_versions: frozenset[tuple[str, str]]) -> None:
        known = self._known.get(remote)
        if known is not None and known.group_versions != group_versions:
            known = None
        now = trio.current_time()
        if known is not None and now < known.asked_at + limits.AGGREGATED_DOCUMENT_SECONDS:
            return
        etag, packed = (known.etag, known.packed) if known is not None else ("", None)
        try:
            with trio.fail_after(limits.AGGREGATED_CHECK_TIMEOUT_SECONDS):
                status, etag, body = await self._fetch(remote, etag)
            if status == 200:
                packed = await trio.to_thread.run_sync(_packed, body, group_versions)
            elif status != 304:
                packed = None
        except (StatusError, *FAILURES) as error:
            log.info("no document of api server=%s why=%r", remote.server_name, str(error))
            packed = None
        self._known[remote] = _Known(group_versions, etag if packed is not None else "", now, packed)

    async def _fetch(self, remote: Remote, etag: str) -> tuple[int, str, bytes]:
        headers = {"accept": "application/json", **identity_headers(AGGREGATOR)}
        if etag:
            headers["if-none-match"] = etag
        client = self._connections.client(remote)
        status, answered, body = await client.fetch("GET", _PATH, headers, max_bytes=limits.AGGREGATED_DOCUMENT_BYTES_MAX)
        return status, answered.get("etag", etag), body


def _packed(body: bytes, group_versions: frozenset[tuple[str, str]]) -> Packed:
    """ValueError."""
    kept = orjson.dumps([*part_of(orjson.loads(body), group_versions)], option=orjson.OPT_SORT_KEYS)
    return Packed(hashlib.sha256(kept).hexdigest(), zlib.compress(kept))
