"""/openapi/v2, /openapi/v3 and below: what the API looks like, to kubectl explain and to clients that check objects themselves.

Enters: requests; the table of kinds as it is now.
Leaves: the index of group versions with the hashes of their documents, and the documents, compressed as they are kept.
Holds: a document is made when it is asked for, in a thread, piece by piece into a compressor; one at a time. Its hash is that of
what it is made from, so the index makes none. Whoever names the hash may keep the document for a year. What API servers behind
this one say of theirs goes into version 2; version 3 says where it is.
Bound: limits.OPENAPI_KEPT_BYTES_MAX of compressed documents.
Source: kubernetes.io, "OpenAPI V2 and V3"; kube-openapi pkg/handler, pkg/handler3.
Next: api.openapi.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import orjson
import trio

from edgekube import limits
from edgekube.api import schemas
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry.custom.definitions import Definitions
from edgekube.registry.served_kinds import ServedKinds
from edgekube.server import respond
from edgekube.server.discovery import subresource_body, subresource_verbs
from edgekube.server.negotiation import JSON, first_of
from edgekube.version import GIT_VERSION
from edgekube.wire.protocol import Request, Responder

if TYPE_CHECKING:
    from edgekube.api.openapi.document import Documents
    from edgekube.server.aggregation.aggregator import Aggregator

#: What clients ask for, and what is answered: "@" may not stand in a media type, and Go's parser refuses it.
VERSION_2_ASKED: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
VERSION_2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_INDEX: Final = "/openapi/v3"
_YEAR_SECONDS: Final = 365 * 24 * 3600
_GZIP: Final = 31  # zlib's window size with a gzip head
_PIECE_BYTES: Final = 64 * 1024
_UNKEPT: Final = {"cache-control": "no-cache, private", "vary": "Accept"}


class OpenApi:
    def __init__(self, kinds: ServedKinds, custom: Definitions, aggregator: Aggregator | None = None) -> None:
        self._aggregator = aggregator
        self._kinds = kinds
        self._custom = custom
        self._hashes: dict[str, str] = {}
        self._generation = -1
        #: By path, hash and form: gzip.
        self._kept: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._making = trio.Lock()

    async def serve(self, request: Request, responder: Responder, path: str, asked_hash: str) -> bool:
        """False: there is nothing at the path. ``asked_hash``: the parameter of that name."""
        if path == "/openapi/v2":
            await self._version_2(request, responder)
            return True
        if path.rstrip("/") == _INDEX:
            body = self.index()
            await self._small(request, responder, body, f'"{_digest([body])}"')
            return True
        if not path.startswith(f"{_INDEX}/"):
            return False
        return await self._version_3(request, responder, path.removeprefix(f"{_INDEX}/").strip("/"), asked_hash)

    def index(self) -> bytes:
        """Where each group version's document is. The hash changes with its content."""
        beyond = self._aggregator.published.documents() if self._aggregator is not None else {}
        places = {key: _url(key, digest) for key, digest in self._all().items()} | beyond
        return orjson.dumps({"paths": {key: {"serverRelativeURL": url} for key, url in places.items()}})

    # --- answers

    async def _small(self, request: Request, responder: Responder, body: bytes, etag: str) -> None:
        headers = {"etag": etag, "vary": "Accept"}
        if _matches(request, etag):
            await responder.send(304, headers)
            return
        await respond.send(request, responder, 200, body, headers=headers)

    async def _version_2(self, request: Request, responder: Responder) -> None:
        chosen = first_of(request.headers.get("accept", ""), (JSON, VERSION_2_ASKED, VERSION_2_PROTOBUF))
        if chosen is None:
            await responder.send(406, {"vary": "Accept"})
            return
        protobuf = chosen != JSON
        foreign = await self._aggregator.documents.all() if self._aggregator is not None else []
        digest = _digest([*self._all().values(), *(each.digest for each in foreign)])
        headers = {**_UNKEPT, "etag": f'"{digest}"', "content-type": VERSION_2_PROTOBUF if protobuf else JSON}
        if _matches(request, headers["etag"]):
            await responder.send(304, headers)
            return
        rows = self._kinds.rows

        def make() -> bytes:
            from edgekube.api.openapi import swagger  # seldom asked for

            documents = self._documents()
            others = [each.unpacked() for each in foreign]
            if protobuf:
                return _compressed(swagger.document(*documents.version_2_parts(rows, others)))
            return _compressed(documents.version_2(rows, others))

        await _stream(request, responder, headers, await self._document(("v2", digest, headers["content-type"]), make))

    async def _version_3(self, request: Request, responder: Responder, key: str, asked_hash: str) -> bool:
        digest = self._all().get(key)
        if digest is None:
            return False
        if first_of(request.headers.get("accept", ""), (JSON,)) is None:
            await responder.send(406, {"vary": "Accept"})
            return True
        headers = {**_UNKEPT, "etag": f'"{digest}"', "content-type": JSON}
        if asked_hash:
            if asked_hash != digest:
                await responder.send(301, {"location": _url(key, digest), "vary": "Accept"})
                return True
            headers["cache-control"] = "public, immutable"
            headers["expires"] = formatdate(time.time() + _YEAR_SECONDS, usegmt=True)
        if _matches(request, headers["etag"]):
            await responder.send(304, headers)
            return True
        rows = [kind for kind in self._kinds.rows if _key(kind) == key]
        body = await self._document((key, digest, JSON), lambda: _compressed(self._documents().version_3(rows)))
        await _stream(request, responder, headers, body)
        return True

    # --- documents

    def _documents(self) -> Documents:
        from edgekube.api.openapi.document import Documents

        return Documents(lambda kind, name: (subresource_verbs(kind, name), subresource_body(kind, name)), self._schema)

    def _schema(self, kind: Kind) -> Object | None:
        return self._custom.schema_of(kind)

    async def _document(self, key: tuple[str, str, str], make: Callable[[], bytes]) -> bytes:
        async with self._making:
            found = self._kept.get(key)
            if found is None:
                found = await trio.to_thread.run_sync(make)
                for old in [each for each in self._kept if each[0] == key[0] and each[1] != key[1]]:
                    del self._kept[old]
                self._kept[key] = found
                while len(self._kept) > 1 and sum(map(len, self._kept.values())) > limits.OPENAPI_KEPT_BYTES_MAX:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
            return found

    def _all(self) -> dict[str, str]:
        """Group version -> hash."""
        if self._generation != self._kinds.generation:
            parts: dict[str, list[bytes]] = {}
            for kind in self._kinds.rows:
                parts.setdefault(_key(kind), []).append(self._state(kind))
            base = [GIT_VERSION.encode(), schemas.digest()]
            self._hashes = {key: _digest([*base, *rows]) for key, rows in parts.items()}
            self._generation = self._kinds.generation
        return self._hashes

    def _state(self, kind: Kind) -> bytes:
        """Changes when what a document says of the kind does."""
        definition = self._custom.of(kind) if kind.custom else None
        return repr((kind, definition and (definition.uid, definition.generation))).encode()


def _key(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _url(key: str, digest: str) -> str:
    return f"{_INDEX}/{key}?hash={digest}"


def _digest(parts: Iterable[bytes | str]) -> str:
    made = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        made.update(len(data).to_bytes(4) + data)
    return made.hexdigest().upper()


def _matches(request: Request, etag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    return given == "*" or etag in [each.strip().removeprefix("W/") for each in given.split(",")]


def _compressed(pieces: Iterable[bytes]) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    made = [compressor.compress(piece) for piece in pieces]
    made.append(compressor.flush())
    return b"".join(made)


async def _stream(request: Request, responder: Responder, headers: dict[str, str], body: bytes) -> None:
    """As it is kept to whoever takes gzip, piece by piece to others."""
    if "gzip" in request.headers.get("accept-encoding", ""):
        zipped = {**headers, "content-encoding": "gzip", "vary": "Accept, Accept-Encoding"}
        await responder.send(200, zipped, body)
        return
    if request.method == "HEAD":
        await responder.send(200, headers)
        return
    await responder.start(200, headers)
    decompressor = zlib.decompressobj(_GZIP)
    left = body
    while left:
        piece = decompressor.decompress(left, _PIECE_BYTES)
        left = decompressor.unconsumed_tail
        await responder.write(piece)
    await responder.write(decompressor.flush())
    await responder.end()
