"""One HTTP GET from the node to a pod, as probes and lifecycle hooks make it.

Enters: an address, a path, headers.
Leaves: the status and the first bytes of the body; OSError or ValueError when there was no HTTP answer.
Holds: one connection, closed at the end; certificates of pods are not verified, as Kubernetes documents for probes; at most
limits.PROBE_BODY_BYTES_MAX are kept. Redirects are followed on the same host only.
Next: agent.probes, agent.lifecycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import httptools
import trio
from msgspec import Struct

from edgekube.agent.dial import both_ends, dial, host_port, read_failure
from edgekube.limits import PROBE_BODY_BYTES_MAX
from edgekube.wire.tls import unverified_client_context

REDIRECTS_MAX = 10


class Answer(Struct):
    status: int = 0
    location: str = ""
    body: bytes = b""
    complete: bool = False
    #: Redirected to another host, which was not asked.
    elsewhere: str = ""


class _Reader:
    """httptools' callbacks."""

    def __init__(self) -> None:
        self.answer = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"location":
            self.answer.location = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        room = PROBE_BODY_BYTES_MAX - len(self.answer.body)
        self.answer.body += body[:room]

    def on_message_complete(self) -> None:
        self.answer.complete = True


async def _once(scheme: str, host: str, port: int, target: str, headers: Mapping[str, str]) -> Answer:
    lines = {"Host": host_port(host, port), "User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
    by_lower = {name.lower(): name for name in lines}
    for name, value in headers.items():
        known = by_lower.get(name.lower())
        if known:
            del lines[known]
        if value or name.lower() not in ("user-agent", "accept"):
            lines[name] = value
    head = f"GET {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    stream: Any = await dial(host, port)
    ends = both_ends(stream)
    if scheme == "https":
        stream = trio.SSLStream(stream, unverified_client_context(), server_hostname=host, https_compatible=True)
    try:
        await stream.send_all(head.encode("latin-1"))
        reader = _Reader()
        parser = httptools.HttpResponseParser(reader)
        # RFC 9112 section 2.2 lets a recipient take a bare LF; scripts behind small web servers write it.
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        while not reader.answer.complete and len(reader.answer.body) < PROBE_BODY_BYTES_MAX:
            data = await stream.receive_some(65536)
            if not data:
                break
            try:
                parser.feed_data(data)
            except httptools.HttpParserError as error:
                raise ValueError(f"malformed HTTP response: {error}") from None
        reader.answer.status = parser.get_status_code()
        if not reader.answer.status:
            raise ValueError("EOF")
        return reader.answer
    except trio.BrokenResourceError as error:
        raise read_failure(ends, error) from None
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await trio.aclose_forcefully(stream)


async def http_get(scheme: str, host: str, port: int, path: str, headers: Mapping[str, str]) -> Answer:
    url = f"{scheme}://{host_port(host, port)}{path if path.startswith('/') else '/' + path}"
    for _ in range(REDIRECTS_MAX):
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        default_port = 443 if parts.scheme == "https" else 80
        answer = await _once(parts.scheme, parts.hostname or host, parts.port or default_port, target, headers)
        if answer.status not in (301, 302, 303, 307, 308) or not answer.location:
            return answer
        url = urljoin(url, answer.location)
        if urlsplit(url).hostname != host:
            answer.elsewhere = url
            return answer
    raise ValueError(f"stopped after {REDIRECTS_MAX} redirects")
