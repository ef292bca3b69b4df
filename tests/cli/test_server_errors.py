"""``edgekube server`` in a bad place: one line that says what to do, an exit code, no traceback, nothing overwritten.

Each server has network and mount namespaces of its own, so that a taken port or a full disk is nobody else's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

#: The lines of a shell script before the server is started; then the server's own arguments.
_ALONE = ["unshare", "--net", "--mount", "--fork", "sh", "-c"]
_LISTEN = (
    "import socket, time; s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
    "s.bind(('::', 6443)); s.listen(); print('listening', flush=True); time.sleep(1000)"
)


def run_server(place: Path, *arguments: str, before: str = ":", after: str = ":") -> subprocess.CompletedProcess[str]:
    """The server runs to its end (150 s at most, on a busy machine; it must not get as far as serving)."""
    for name in ("etc", "etc.work"):
        (place / name).mkdir()
    # The administrator's kubeconfig goes into this /etc.
    etc = f"mount -t overlay -o lowerdir=/etc,upperdir={place}/etc,workdir={place}/etc.work overlay /etc"
    directories = f"--data-dir {place}/data --run-dir {place}/run --node-ip 127.0.0.1"
    server = f"timeout 150 {sys.executable} -m edgekube server {directories} {' '.join(arguments)}"
    script = f"ip link set lo up; mount --make-rprivate / && {etc} || exit 99; {before}; {server}; code=$?; {after}; exit $code"
    return subprocess.run([*_ALONE, script], capture_output=True, text=True, check=False, timeout=180, env={**os.environ})


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of an ended server; without a traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith(("edgekube: ", "Error: "))]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_port_in_use(tmp_path: Path) -> None:
    listen = f'mkfifo {tmp_path}/up; {sys.executable} -c "{_LISTEN}" >{tmp_path}/up & p=$!; read _ <{tmp_path}/up'
    done = run_server(tmp_path, before=listen, after="kill $p")
    assert done.returncode == 1
    line = told(done)
    assert "a port is in use already" in line and "--https-port" in line and "ss -ltnp" in line
    assert not (tmp_path / "data/server/state.db").exists(), "a second server does not get as far as the database"


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    fill = f"mount -t tmpfs -o size=64k tmpfs {tmp_path}/data; dd if=/dev/zero of={tmp_path}/data/filler bs=1k 2>/dev/null"
    done = run_server(tmp_path, before=fill)
    assert done.returncode == 1
    assert "the disk is full" in told(done) and "free some space" in told(done)


def test_a_read_only_disk(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = run_server(tmp_path, before=f"mount -t tmpfs -o ro tmpfs {tmp_path}/data")
    assert done.returncode == 1
    assert "no permission to write" in told(done) and str(tmp_path / "data") in told(done)


def test_a_database_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    database = tmp_path / "data/server/state.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"my diary\n" * 1000)
    done = run_server(tmp_path)
    assert done.returncode == 1 and str(database) in told(done)
    assert database.read_bytes() == b"my diary\n" * 1000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("node-name: [", "is not YAML"),
        ("node-nmae: pi-7", "unknown key 'node-nmae'"),
        ("https-port: many", "give a port from 1 to 65535"),
        ("- a list", "expected lines of the form"),
        ("cluster-cidr: 10.43.0.0/16", "overlap"),
    ],
)
def test_a_config_file_that_cannot_be_used(tmp_path: Path, text: str, complaint: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    done = run_server(tmp_path, "--config", str(config))
    assert done.returncode == 2 and complaint in told(done)
    assert not (tmp_path / "data").exists()


#: Loaded first: nobody may not read where a developer keeps the interpreter.
_AS_NOBODY = "import os, edgekube.cli.server; from edgekube.cli.main import main; os.setuid(65534); main()"


def test_without_root_it_says_so(tmp_path: Path) -> None:
    """As nobody, who may not even read the settings of root."""
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, "server"],
        capture_output=True, text=True, check=False, timeout=180, cwd="/",
    )  # fmt: skip
    assert done.returncode == 1 and "run it as root" in told(done)


def test_a_scheduler_configuration_with_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "profiles:\n- plugins: {score: {enabled: [{name: Magic}]}}\n"
    )
    done = run_server(tmp_path, "--scheduler-config", str(file))
    assert done.returncode == 1
    assert f'{file}: profiles[0].plugins.score.enabled[0].name: there is no plugin "Magic"' in told(done)
