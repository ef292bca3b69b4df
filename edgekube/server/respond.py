"""Write an answer: status, headers, compression; errors as Status.

Enters: a body or a StatusError.
Leaves: one response.
Holds: an error comes in the form in which the client reads objects; large bodies are compressed only for clients that take it,
and the largest of them outside the event loop.
Next: wire.
"""

from __future__ import annotations

import gzip
from typing import Final

import orjson
import trio

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.protobuf import PROTOBUF_TYPE
from edgekube.server.negotiation import YAML, negotiate
from edgekube.wire.protocol import Request, Responder

JSON_TYPE: Final = "application/json"
#: As upstream: smaller answers cost more to compress than to send.
_GZIP_BYTES_MIN: Final = 128 * 1024
#: Warning headers (k8s.io/apiserver endpoints/filters/warning.go).
_WARNINGS_CHARACTERS_MAX: Final = 4096
_WARNING_CUT_CHARACTERS: Final = 256


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


async def send(
    request: Request,
    responder: Responder,
    status: int,
    body: bytes,
    *,
    content_type: str = JSON_TYPE,
    warnings: list[str] | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    answer = {"content-type": content_type, "cache-control": "no-cache, private"}
    if warnings:
        answer |= warning_header(warnings)
    if headers:
        answer |= headers
    if len(body) > _GZIP_BYTES_MIN and _takes_gzip(request):
        if len(body) > limits.GZIP_INLINE_BYTES_MAX:
            body = await trio.to_thread.run_sync(_compress, body)
        else:
            body = _compress(body)
        answer["content-encoding"] = "gzip"
        answer["vary"] = "Accept-Encoding"
    await responder.send(status, answer, body)


def _compress(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)


def warning_header(warnings: list[str]) -> dict[str, str]:
    """The Warning header (RFC 7234 section 5.5) of some texts; nothing for none."""
    if not warnings:
        return {}
    return {"warning": ", ".join(f"299 - {_quoted(text)}" for text in _bounded(warnings))}


def _bounded(warnings: list[str]) -> list[str]:
    """As upstream: beyond a total size each text is cut short, and what is still too much is left out."""
    if sum(map(len, warnings)) <= _WARNINGS_CHARACTERS_MAX:
        return warnings
    kept: list[str] = []
    total = 0
    for text in warnings:
        total += len(text := text[:_WARNING_CUT_CHARACTERS])
        if total > _WARNINGS_CHARACTERS_MAX:
            break
        kept.append(text)
    return kept


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110) of one line. Texts repeat what clients sent; no client takes control characters."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(each if each.isprintable() else "?" for each in line)
    escaped = line.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def send_error(request: Request, responder: Responder, error: StatusError, warnings: list[str] | None = None) -> None:
    headers = {}
    if error.retry_after_seconds:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.code == 401:
        headers["www-authenticate"] = 'Bearer realm="edgekube"'
    content_type, body = JSON_TYPE, orjson.dumps(error.status())
    if error.code != 406:  # who takes nothing that is here has to be told so in the form that everybody reads
        content_type, body = _in_form_of(request, body)
    await send(request, responder, error.code, body, content_type=content_type, warnings=warnings, headers=headers)


def _in_form_of(request: Request, status: bytes) -> tuple[str, bytes]:
    """A Status as the client reads objects; as JSON if it reads none of ours."""
    accept = request.headers.get("accept", "")
    if PROTOBUF_TYPE not in accept and YAML not in accept:
        return JSON_TYPE, status
    try:
        form = negotiate(accept)
    except StatusError:
        return JSON_TYPE, status
    if form.media_type not in (PROTOBUF_TYPE, YAML):
        return JSON_TYPE, status
    from edgekube.server.rendering import dressed  # few clients want it

    return form.media_type, dressed(status, form)


async def send_text(request: Request, responder: Responder, status: int, text: str) -> None:
    headers = {"x-content-type-options": "nosniff"}
    await send(request, responder, status, text.encode(), content_type="text/plain; charset=utf-8", headers=headers)


def error_body(status: int, message: str) -> tuple[str, bytes]:
    """The shell's own errors (a bad request line, a head that is too large) as a Status: wire.server's ``error_body``."""
    reasons = {400: "BadRequest", 408: "Timeout", 413: "RequestEntityTooLarge", 500: "InternalError", 503: "ServiceUnavailable"}
    error = StatusError(reasons.get(status, "Unknown"), message, code=status)
    return JSON_TYPE, orjson.dumps(error.status())
