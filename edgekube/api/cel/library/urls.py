"""URLs: absolute ones or absolute paths, and their parts.

Enters: text.
Leaves: URLs, strings, a map of query parameters.
Source: Kubernetes' CEL URL library; Go's net/url documentation (ParseRequestURI).
Next: api.cel.environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote, unquote_plus

from edgekube.api.cel.errors import EvaluationError, no_such_overload

DECLARATIONS: Final = """
string_to_url url(string) -> kubernetes.URL
url_get_scheme kubernetes.URL.getScheme() -> string
url_get_host kubernetes.URL.getHost() -> string
url_get_hostname kubernetes.URL.getHostname() -> string
url_get_port kubernetes.URL.getPort() -> string
url_get_escaped_path kubernetes.URL.getEscapedPath() -> string
url_get_query kubernetes.URL.getQuery() -> map(string, list(string))
is_url_string isURL(string) -> bool
"""
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORT: Final = re.compile(r"(?::[0-9]*)?", re.ASCII)
_PATH_SAFE: Final = "/:@!$&'()*+,;=-._~[]"


class URL:
    __slots__ = ("host", "path", "query", "scheme", "text")
    type_name: Final = "kubernetes.URL"
    equality_cost_is_one: Final = True

    def __init__(self, text: str, scheme: str, host: str, path: str, query: str) -> None:
        self.text: Final = text
        self.scheme: Final = scheme
        self.host: Final = host
        self.path: Final = path
        self.query: Final = query

    def __eq__(self, other: object) -> bool:
        return isinstance(other, URL) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _parse(text: Any) -> URL:
    if type(text) is not str:
        raise no_such_overload()
    try:
        return parse_url(text)
    except ValueError as error:
        message = f'URL parse error during conversion from string: parse "{text}": {error}'
        raise EvaluationError(message) from None


def parse_url(text: str) -> URL:
    """A URL with a scheme, or a path from the root. ValueError, in Go's words, for anything else."""
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError("net/url: invalid control character in URL")
    if not text:
        raise ValueError("empty url")
    if text == "*":
        return URL(text, "", "", "*", "")
    rest, _, _fragment = text.partition("#")
    match = _SCHEME.fullmatch(rest)
    scheme = ""
    if match is not None:
        scheme, rest = match.group(1).lower(), match.group(2)
    elif rest.startswith(":"):
        raise ValueError("missing protocol scheme")
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return URL(text, scheme, "", "", query)
        raise ValueError("invalid URI for request")
    host = ""
    if scheme and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        host = _host(authority.rpartition("@")[2])
    wrong = _PERCENT.search(rest)
    if wrong is not None:
        raise ValueError(f'invalid URL escape "{rest[wrong.start() : wrong.start() + 3]}"')
    return URL(text, scheme, host, rest, query)


def _host(host: str) -> str:
    end = host.rfind("]")
    if host.startswith("["):
        if end < 0:
            raise ValueError("missing ']' in host")
        port = host[end + 1 :]
    else:
        port = ":" + host.rpartition(":")[2] if ":" in host else ""
    if _PORT.fullmatch(port) is None:
        raise ValueError(f'invalid port "{port}" after host')
    for character in host:
        if character in ' "<>\\^`{|}':
            raise ValueError(f'invalid character "{character}" in host name')
    return unquote(host)


def _is_url(text: Any) -> bool:
    if type(text) is not str:
        raise no_such_overload()
    try:
        parse_url(text)
    except ValueError:
        return False
    return True


def _hostname(url: URL) -> str:
    host = url.host
    if host.startswith("["):
        return host[1 : host.rfind("]")]
    return host.rpartition(":")[0] if ":" in host else host


def _port(url: URL) -> str:
    host = url.host
    after = host[host.rfind("]") + 1 :]
    return after.rpartition(":")[2] if ":" in after else ""


def _escaped_path(url: URL) -> str:
    return url.path if re.fullmatch(r"[\w/:@!$&'()*+,;=.~%\[\]-]*", url.path, re.ASCII) else quote(unquote(url.path), _PATH_SAFE)


def _query(url: URL) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in url.query.split("&"):
        if not part or ";" in part:
            continue
        key, _, value = part.partition("=")
        if _PERCENT.search(part) is None:
            found.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return found


def _of_url(take: Callable[[URL], Any]) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        if not isinstance(value, URL):
            raise no_such_overload()
        return take(value)

    return function


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "url": _parse,
    "getScheme": _of_url(lambda url: url.scheme),
    "getHost": _of_url(lambda url: url.host),
    "getHostname": _of_url(_hostname),
    "getPort": _of_url(_port),
    "getEscapedPath": _of_url(_escaped_path),
    "getQuery": _of_url(_query),
    "isURL": _is_url,
}
