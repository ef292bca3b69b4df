"""A containerd that is alive and takes its time: it is waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgekube.containerd.cri import connect
from tests.containerd.test_shim_gone import answering

#: Several times what the first attempt was allowed once.
LATE_SECONDS = 0.5


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two sockets: what comes to the first is passed on to the second, but nothing is said for a while."""
    front, back = tmp_path / "front", tmp_path / "back"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(front))
        listener.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    time.sleep(LATE_SECONDS)
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(str(back))
                    for source, target in ((client, server), (server, client)):
                        threading.Thread(target=_pump, args=(source, target), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield front, back
        listener.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


async def test_a_busy_containerd_is_waited_for(busy: tuple[Path, Path]) -> None:
    front, back = busy
    async with answering(back) as (_, asked), connect(front) as runtime:
        await runtime.stop_container("abc", 1)
    assert asked == ["StopContainer"]
