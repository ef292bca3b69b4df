"""The service manager is told, and a missing one is no error."""

import socket
from pathlib import Path

from edgekube.notify import notify


def test_a_state_reaches_the_managers_socket(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        assert notify("READY=1", address)
        assert manager.recv(100) == b"READY=1"


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    assert not notify("READY=1", str(tmp_path / "nobody"))
