"""A server in a thread of its own, so that hypothesis can ask it thousands of questions without starting it anew for each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import trio

from edgekube.api.objects import Object
from tests.server.running import Answer, Api, running_api

#: A single request of 3 MB may take a slow machine so long; what takes longer grows with more than its size.
ANSWERED_WITHIN_SECONDS = 20.0
JSON = "application/json"


class Faults(logging.Handler):
    """What the server's log calls a fault of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(logging.Formatter().format(record))


class Fuzzed:
    """Asks the server and holds each answer against what is promised of all answers."""

    def __init__(self, api: Api, token: trio.lowlevel.TrioToken, faults: Faults) -> None:
        self.api = api
        self._token = token
        self._faults = faults

    def ask(
        self,
        method: str,
        path: str,
        body: Object | list[Any] | bytes | None = None,
        *,
        query: Object | None = None,
        **headers: Any,
    ) -> Answer:
        """No answer is a fault of the server, and each refusal is a Status that says why."""
        target = quote(path, safe="/%:") + (f"?{urlencode(query, doseq=True, errors='replace')}" if query else "")
        # "watch=" asks for a watch as well, and nobody says when one ends.
        reads_on = str((query or {}).get("watch", "0")).lower() in ("false", "0")
        answer: Answer = self.run(self._ask, method, target, body, reads_on, headers)
        asked = f"{method} {target} {headers} {body!r:.3000}"
        assert not self._faults.told, f"{asked}\n{self._faults.told.pop()}"
        # Upstream has 500 without a reason for patches and configurations that its code did not foresee, and so have we.
        unforeseen = answer.status == 500 and not answer.json.get("reason")
        assert answer.status != 500 or unforeseen, f"{asked}\n{answer.body!r:.1000}"
        if answer.status >= 400 and answer.headers.get("content-type", "").startswith(JSON):
            status = answer.json
            assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", answer.status), asked
            assert (status.get("reason") or unforeseen) and status["message"], (asked, status)
        return answer

    async def _ask(self, method: str, target: str, body: Any, reads_on: bool, headers: dict[str, str]) -> Answer:
        if reads_on:
            return await self.api.ask(method, target, body, **headers)
        sent = {name.replace("_", "-"): value for name, value in headers.items()} | {"authorization": "Bearer admin"}
        with trio.fail_after(ANSWERED_WITHIN_SECONDS):
            async with self.api.http.request(method, target, sent, body) as response:
                said = await response.read(1 << 20) if response.status != 200 else b""
                return Answer(response.status, response.headers, said)

    def run(self, function: Any, *arguments: Any) -> Any:
        return trio.from_thread.run(partial(function, *arguments), trio_token=self._token)

    def is_alive(self) -> bool:
        return self.ask("GET", "/livez").body == b"ok"

    def must(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = self.ask(method, path, body, **more)
        assert answer.status in (200, 201, 409), answer.text
        return orjson.loads(answer.body)


@contextmanager
def serving(tmp_path: Path) -> Iterator[Fuzzed]:
    """The server, until the block ends; a server that died is seen by the next question and at the end."""
    ready = threading.Event()
    found: list[tuple[Api, trio.lowlevel.TrioToken, trio.Event]] = []
    died: list[BaseException] = []

    async def serve() -> None:
        async with running_api(tmp_path) as api:
            over = trio.Event()
            found.append((api, trio.lowlevel.current_trio_token(), over))
            ready.set()
            await over.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            died.append(error)
        finally:
            ready.set()

    faults = Faults()
    logging.getLogger("edgekube").addHandler(faults)
    thread = threading.Thread(target=run, name="fuzzed server")
    thread.start()
    ready.wait()
    try:
        if died:
            raise died[0]
        api, token, over = found[0]
        yield Fuzzed(api, token, faults)
        trio.from_thread.run_sync(over.set, trio_token=token)
        thread.join()
        assert not died, died
    finally:
        logging.getLogger("edgekube").removeHandler(faults)
