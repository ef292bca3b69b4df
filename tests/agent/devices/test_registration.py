"""The socket that device plugins register at."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import trio

from edgekube.agent.devices.registration import SOCKET, serve_registrations


async def test_it_is_there_however_long_the_directorys_path_is(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120) / "device-plugins"

    async def take(resource: str, endpoint: Path) -> None:
        raise AssertionError("nobody registers here")

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_registrations, directory, take)
        descriptor = os.open(directory, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"/proc/self/fd/{descriptor}/{SOCKET}")
        os.close(descriptor)
        nursery.cancel_scope.cancel()
    assert not (directory / SOCKET).exists()
