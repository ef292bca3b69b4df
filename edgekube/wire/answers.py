"""The text of response heads, and the answers that the shell gives by itself.

Enters: a status and headers, or what was wrong with a request.
Leaves: bytes of an HTTP/1.1 head; (content type, body) of an error.
Holds: no header value can end its line (ValueError), so a handler's data never becomes another header.
Next: wire.http1, wire.http2.
"""

from __future__ import annotations

import http
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Final, TypeAlias

#: Makes the body of an error that the shell itself answers (400, 408, 413, 431, 500): (status, message) -> (content type, body).
ErrorBody: TypeAlias = Callable[[int, str], tuple[str, bytes]]

_STATUS_LINES: Final = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n" for status in http.HTTPStatus}

#: Headers that framing decides, whatever a handler says.
_FRAMING: Final = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


def plain_error(status: int, message: str) -> tuple[str, bytes]:
    return "text/plain; charset=utf-8", (message + "\n").encode()


class Refused(Exception):
    """The request never reaches a handler: the peer gets this status, and the connection closes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Clock:
    """RFC 9110 says a server with a clock sends Date; formatted once a second."""

    __slots__ = ("second", "text")

    def __init__(self) -> None:
        self.second = 0
        self.text = ""

    def date(self) -> str:
        now = int(time.time())
        if now != self.second:
            self.second = now
            self.text = formatdate(now, usegmt=True)
        return self.text


_CLOCK: Final = _Clock()
http_date: Final = _CLOCK.date


def response_head(status: int, headers: Mapping[str, str], framing: str) -> bytes:
    """``framing`` is complete header lines: content-length, transfer-encoding, connection."""
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name not in _FRAMING]
    text = f"{line}{''.join(lines)}date: {_CLOCK.date()}\r\n{framing}\r\n"
    data = text.encode("latin-1", "replace")
    ends = len(lines) + 3 + framing.count("\n")
    if data.count(b"\n") != ends or data.count(b"\r") != ends:
        raise ValueError("a header holds a line break")
    return data
