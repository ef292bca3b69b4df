"""edgekube-supervise, what stands in for systemd: the real script, with a small program in the server's place."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekube.cli.installation import lock_is_held
from tests.lab.cluster import until

SCRIPT = Path(__file__).resolve().parents[2] / "systemd/edgekube-supervise"

_PROGRAM = """#!/bin/sh
echo "started with $*"
echo $$ >{place}/child
trap 'echo ended; exit 0' TERM
read _ <{place}/never
"""


class Supervised:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log" / "server.log"
        self.program = place / "edgekube"
        self.environment = {
            **os.environ,
            "EDGEKUBE_PROGRAM": str(self.program),
            "EDGEKUBE_LOG": str(self.log),
            "EDGEKUBE_SUPERVISE_STATE": str(place / "state"),
            "EDGEKUBE_LOG_BYTES_MAX": "2000",
            "EDGEKUBE_LOG_CHECK_SECONDS": "0.1",
        }
        os.mkfifo(place / "never")
        self.set_program(_PROGRAM.format(place=place))

    def set_program(self, text: str) -> None:
        self.program.write_text(text)
        self.program.chmod(0o755)

    def call(self, verb: str) -> subprocess.CompletedProcess[str]:
        # Its output goes to a file: the supervisor lives on, and would hold a pipe open.
        with (self.place / "said").open("w+") as said:
            done = subprocess.run([str(SCRIPT), verb], env=self.environment, stdout=said, stderr=said, timeout=90, check=False)
            said.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, said.read(), "")

    def running(self) -> bool:
        return lock_is_held(self.place / "state.lock")

    def text(self, name: str) -> str:
        try:
            return (self.place / name).read_text().strip()
        except FileNotFoundError:
            return ""

    def child(self) -> int:
        return int(until(lambda: self.text("child")))


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    yield supervised
    supervised.call("stop")
    assert not supervised.running()


def test_it_is_started_once_and_stopped_with_its_child(supervised: Supervised) -> None:
    assert supervised.call("start").returncode == 0
    child = supervised.child()
    assert supervised.running() and supervised.text("state.starts") == "1"
    assert "running already" in supervised.call("start").stdout

    assert supervised.call("stop").returncode == 0
    assert not supervised.running() and not Path(f"/proc/{child}").exists()
    log = supervised.log.read_text()
    assert "started with server" in log and log.count("started with") == 1 and "ended" in log
    assert supervised.call("stop").returncode == 0, "stopping twice is fine"


def test_a_child_that_dies_is_started_again(supervised: Supervised) -> None:
    supervised.call("start")
    first = supervised.child()
    os.kill(first, signal.SIGKILL)
    until(lambda: supervised.child() != first)
    assert supervised.text("state.starts") == "2" and "ended with status 137" in supervised.log.read_text()


def test_a_child_that_cannot_start_is_given_longer_and_longer_pauses(supervised: Supervised) -> None:
    supervised.set_program("#!/bin/sh\necho 'edgekube: a port is in use'\nexit 1\n")
    supervised.call("start")
    until(lambda: "starting it again in 3 s" in supervised.text("log/server.log"))  # nobody says when the file is there
    pauses = [line.rsplit(" ", 2)[1] for line in supervised.log.read_text().splitlines() if "starting it again" in line]
    assert pauses == ["0", "1", "3"]


def test_a_restart_is_another_supervisor_and_another_child(supervised: Supervised) -> None:
    supervised.call("start")
    child, supervisor = supervised.child(), supervised.text("state.pid")
    (supervised.place / "child").unlink()
    assert supervised.call("restart").returncode == 0
    assert supervised.child() != child and supervised.text("state.pid") != supervisor


def test_its_log_is_bounded_and_for_root_only(supervised: Supervised) -> None:
    supervised.set_program("#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do printf '%0500d\\n' $i; done\nexec sleep 1000\n")
    supervised.call("start")
    until(lambda: (supervised.place / "log/server.log.1").exists())
    until(lambda: supervised.log.stat().st_size < 2000)
    assert "0008" in (supervised.place / "log/server.log.1").read_text()
    assert supervised.log.stat().st_mode & 0o077 == 0


def test_what_it_does_not_know_it_says() -> None:
    done = subprocess.run([str(SCRIPT), "begin"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage: edgekube-supervise start|stop|restart|run" in done.stderr


def test_an_agent_is_kept_running_as_a_server_is(supervised: Supervised) -> None:
    supervised.environment["EDGEKUBE_ROLE"] = "agent"
    supervised.call("start")
    supervised.child()
    assert "started with agent" in supervised.log.read_text()
