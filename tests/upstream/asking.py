"""The same question to both servers.

Enters: a Server, a request.
Leaves: an Answer: status, body, the headers that clients look at.
Next: tests.upstream.comparing.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.upstream.servers import Server

_USER_AGENT: Final = "side-by-side/1.0"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def json(self) -> Any:
        """The body; text that is no JSON as it is."""
        try:
            return json.loads(self.text)
        except ValueError:
            return self.text.decode(errors="replace")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"


class Client:
    def __init__(self, server: Server) -> None:
        self.server = server
        self._connection = http.client.HTTPSConnection(server.host, server.port, context=server.context, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json", accept: str = "") -> Answer:
        headers = {"User-Agent": _USER_AGENT, "Accept": accept or "application/json", **self.server.headers}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = content_type
        try:
            self._connection.request(method, path, data, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()
            return Answer(0, {}, repr(error).encode())
        named = {"content-type", "warning", "retry-after", "location"}
        kept: dict[str, str] = {}
        for name, value in answer.getheaders():
            if name.lower() in named:
                kept[name.lower()] = f"{kept[name.lower()]}, {value}" if name.lower() in kept else value
        return Answer(answer.status, kept, text)

    def put(self, request: Request) -> Answer:
        return self.ask(request.method, request.path, request.body, request.content_type, request.accept)
