"""Ask a server's doors: what a machine does before it is anybody.

Enters: a server's address, a path below /edgekube/v1, a body.
Leaves: the answer's object; the server's Status as StatusError, a server out of reach as "ServiceUnavailable".
Holds: a server is known by its certificate's name under a given CA; the one call that trusts nobody yet says so in its name, and
what it brings is worth nothing until something that was known before confirms it.
Bound: limits.DOOR_ANSWER_BYTES_MAX, limits.DOOR_ANSWER_SECONDS.
Next: client.joining.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
import trio

from edgekube import limits
from edgekube.api.errors import Cause, StatusError, unavailable
from edgekube.api.objects import Object
from edgekube.pki.certificates import SERVER_NAME
from edgekube.wire.client import HttpConnection, ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected
from edgekube.wire.tls import client_context, unverified_client_context
from edgekube.wire.transport import connect

PREFIX = "/edgekube/v1/"


def address_of(url: str) -> tuple[str, int]:
    """(host, port) of https://HOST:PORT."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 6443


def url_of(address: tuple[str, int]) -> str:
    host, port = address
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


async def call(
    address: tuple[str, int],
    context: ssl.SSLContext,
    method: str,
    path: str,
    body: Object | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """The answer of a door, e.g. ``join``. ssl.SSLError when the server is not whom ``context`` trusts."""
    host, port = address
    sent = {"accept": "application/json", **(headers or {})}
    data = None if body is None else orjson.dumps(body)
    if data is not None:
        sent["content-type"] = "application/json"
    where = f"{host}:{port}"
    with trio.move_on_after(limits.DOOR_ANSWER_SECONDS):
        try:
            transport = await connect(host, port, context=context, server_hostname=SERVER_NAME)
        except ssl.SSLError:
            raise
        except OSError as error:
            raise unavailable(f"{where}: {error}") from error
        connection = HttpConnection(transport, SERVER_NAME)
        try:
            response = await connection.request(method, PREFIX + path, sent, data)
            answered = await response.read(limits.DOOR_ANSWER_BYTES_MAX)
        except (Disconnected, ProtocolError, BodyTooLarge) as error:
            raise unavailable(f"{where}: {error or 'connection lost'}") from error
        finally:
            connection.close()
        return _decoded(where, response.status, answered)
    raise unavailable(f"{where}: no answer within {limits.DOOR_ANSWER_SECONDS:g} s")


async def look_without_trust(address: tuple[str, int]) -> Object:
    """What whoever answers there says of its cluster: GET /edgekube/v1/cluster, from a server that nobody has verified. It can
    refuse nothing: then there is no server here, StatusError ServiceUnavailable, and another address may have one."""
    try:
        found: Object = await call(address, unverified_client_context(), "GET", "cluster")
    except StatusError as error:
        if error.reason == "ServiceUnavailable":
            raise
        raise unavailable(f"{address[0]}:{address[1]}: whoever answers there says {error.code}") from error
    return found


def trusting(authority_pem: str) -> ssl.SSLContext:
    """A context for ``call`` that trusts this CA alone."""
    return client_context(ca_data=authority_pem.encode())


def _decoded(where: str, status: int, answered: bytes) -> Any:
    try:
        decoded = orjson.loads(answered)
    except orjson.JSONDecodeError:
        decoded = None
    if not isinstance(decoded, dict):
        raise unavailable(f"{where}: this is not an edgekube server (status {status})")
    if 200 <= status < 300:
        return decoded
    if decoded.get("kind") == "Status":
        raise _told(where, decoded, status)
    raise unavailable(f"{where}: this is not an edgekube server (status {status})")


def _told(where: str, decoded: Object, status: int) -> StatusError:
    """What the server refuses with, made harmless: people read it beside what this machine says itself, the pairing code for
    one, so it is one short line; and nobody is made to wait for ever."""
    try:
        error = StatusError.from_status({**decoded, "code": decoded.get("code") or status})
        causes = [Cause(_one_line(c.reason), _one_line(c.message), _one_line(c.field)) for c in error.causes]
        seconds = max(0, min(error.retry_after_seconds, limits.DOOR_RETRY_SECONDS_MAX))
        reason, message = _one_line(error.reason), _one_line(error.message)
    except (AttributeError, TypeError, ValueError):
        return unavailable(f"{where}: this is not an edgekube server (status {status})")
    return StatusError(reason, message, code=error.code, causes=causes, retry_after_seconds=seconds)


def _one_line(text: str) -> str:
    short = text[: limits.DOOR_MESSAGE_CHARACTERS_MAX]
    return "".join(character if character.isprintable() else " " for character in short)
