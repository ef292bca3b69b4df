"""What a field section asks for: HTTP/2's request line and headers.

Enters: decoded fields in order.
Leaves: a RequestHead; one that the shell itself refuses says how.
Holds: what RFC 9113 (8.2, 8.3.1) calls malformed is Malformed and never reaches a handler; no value holds a line break, so what
is passed on over HTTP/1.1 smuggles nothing.
Bound: WIRE_HEADERS_COUNT_MAX, WIRE_TARGET_BYTES_MAX.
Next: wire.http2_stream.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from edgekube import limits
from edgekube.wire.answers import Refused

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_IN_VALUE: Final = re.compile(r"[\0\r\n]")
#: What nearly every request consists of needs no look at each letter.
_USUAL: Final = frozenset(
    {"accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "kubectl-command", "user-agent"}
)
_OF_THE_CONNECTION: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


class Malformed(Exception):
    """The stream is reset with PROTOCOL_ERROR."""


class RequestHead(Struct):
    method: str
    path: str
    query: str
    headers: dict[str, str]
    content_length: int | None
    expects_continue: bool
    refused: Refused | None


def request_head(fields: list[tuple[str, str]]) -> RequestHead:
    """Raises Malformed."""
    pseudo: dict[str, str] = {}
    headers: dict[str, str] = {}
    for name, value in fields:
        if name[:1] == ":":
            if headers or name in pseudo or name not in (":method", ":path", ":scheme", ":authority"):
                raise Malformed(f"{name} is unknown, repeated or out of place")
            pseudo[name] = value
        elif name in headers:
            headers[name] += ("; " if name == "cookie" else ", ") + value
        else:
            if name not in _USUAL:
                _check_name(name, value)
            headers[name] = value
        if value and (value[0] in " \t" or value[-1] in " \t"):
            raise Malformed(f"{name} begins or ends with a space")
    if _BAD_IN_VALUE.search("".join([value for _, value in fields])):
        raise Malformed("a value holds a line break or NUL")
    method = pseudo.get(":method", "")
    target = pseudo.get(":path", "")
    if not method or (method != "CONNECT" and (not target or not pseudo.get(":scheme"))):
        raise Malformed(":method, :scheme or :path is missing")
    authority = pseudo.get(":authority")
    if authority and headers.setdefault("host", authority) != authority:
        raise Malformed("host and :authority differ")
    path, _, query = target.partition("?")
    length = headers.get("content-length")
    return RequestHead(
        method,
        path,
        query,
        headers,
        None if length is None or not _is_length(length) else int(length),
        "expect" in headers and headers["expect"].lower() == "100-continue",
        _refusal(len(fields), method, target, headers),
    )


def check_trailers(fields: list[tuple[str, str]]) -> None:
    """Nothing here uses them. Raises Malformed."""
    for name, value in fields:
        _check_name(name, value)
        if _BAD_IN_VALUE.search(value):
            raise Malformed("a value holds a line break or NUL")


def _check_name(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise Malformed(f"{name!r} is not the name of a field")
    if name in _OF_THE_CONNECTION or (name == "te" and value != "trailers"):
        raise Malformed(f"{name} has no place in HTTP/2")


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _refusal(count: int, method: str, target: str, headers: dict[str, str]) -> Refused | None:
    if count > limits.WIRE_HEADERS_COUNT_MAX:
        return Refused(431, "the request has too many headers")
    if len(target) > limits.WIRE_TARGET_BYTES_MAX:
        return Refused(414, "the request target is too long")
    if target[:1] != "/" and not (target == "*" and method == "OPTIONS"):
        return Refused(400, "the request target is not a path")
    if "host" not in headers:
        return Refused(400, "neither :authority nor host is given")
    if "content-length" in headers and not _is_length(headers["content-length"]):
        return Refused(400, "content-length is not a number")
    return None
