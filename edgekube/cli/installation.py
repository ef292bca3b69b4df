"""Where install.sh puts things, and how to ask whether its service runs.

Enters: nothing. Leaves: paths and the state of the service.
Holds: install.sh, systemd/ and this file spell the same paths (tests/rules compares them).
Next: cli.status, cli.uninstall.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections import deque
from pathlib import Path
from typing import Final

from msgspec import Struct

PREFIX: Final = Path("/opt/edgekube")
#: Written by install.sh: what stands in PREFIX is its work. Lists the Debian packages that it added, one a line.
RECORD: Final = PREFIX / "installed-packages"
VENV: Final = PREFIX / "venv"
PROGRAM: Final = VENV / "bin" / "edgekube"
LINK: Final = Path("/usr/local/bin/edgekube")
#: Written by install.sh: "server" or "agent", which of the two this machine runs.
ROLE: Final = PREFIX / "role"
ROLES: Final = ("server", "agent")
UNITS: Final = Path("/etc/systemd/system")
UNIT: Final = UNITS / "edgekube-server.service"
AGENT_UNIT: Final = UNITS / "edgekube-agent.service"
#: Only where PID 1 is not systemd.
SUPERVISE: Final = PREFIX / "bin" / "edgekube-supervise"
SUPERVISE_LOCK: Final = Path("/run/edgekube-supervise.lock")
SUPERVISE_PID: Final = Path("/run/edgekube-supervise.pid")
SUPERVISE_STARTS: Final = Path("/run/edgekube-supervise.starts")
LOG_DIR: Final = Path("/var/log/edgekube")
LOG: Final = LOG_DIR / "server.log"
AGENT_LOG: Final = LOG_DIR / "agent.log"
CONFIG_DIR: Final = Path("/etc/edgekube")

_LINES_READ_MAX: Final = 2000


class Service(Struct, frozen=True):
    """``manager``: "systemd", "supervise" or "" (no service is installed). ``starts``: how often the program was begun."""

    manager: str
    running: bool
    starts: int = 0

    def as_object(self) -> dict[str, object]:
        return {"manager": self.manager, "running": self.running, "starts": self.starts}


def role() -> str:
    """What install.sh was asked for; "server" where it has not been."""
    try:
        text = ROLE.read_text().strip()
    except OSError:
        return "server"
    return text if text in ROLES else "server"


def unit() -> Path:
    return AGENT_UNIT if role() == "agent" else UNIT


def log_file() -> Path:
    return AGENT_LOG if role() == "agent" else LOG


def systemd_runs() -> bool:
    """As sd_booted(3) decides it."""
    return Path("/run/systemd/system").is_dir()


def service() -> Service:
    if systemd_runs() and unit().exists():
        shown = _command(["systemctl", "show", "-p", "ActiveState", "-p", "NRestarts", unit().name])
        values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        running = values.get("ActiveState") in ("active", "activating", "reloading")
        return Service("systemd", running, int(values.get("NRestarts") or 0) + 1)
    if SUPERVISE.exists():
        return Service("supervise", lock_is_held(SUPERVISE_LOCK), _number(SUPERVISE_STARTS))
    return Service("", False)


def lock_is_held(path: Path) -> bool:
    """The supervisor holds the lock for as long as it lives, so a stale pid file deceives nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def how_to_start() -> str:
    match service().manager:
        case "systemd":
            return f"sudo systemctl start {unit().stem}"
        case "supervise":
            return f"sudo {SUPERVISE} start"
    return f"sudo ./install.sh, or sudo edgekube {role()} in a terminal"


def how_to_read_the_log() -> str:
    if service().manager == "systemd":
        return f"journalctl -u {unit().stem}"
    return f"less {log_file()}"


def log_tail(lines_max: int, wanted: str = "") -> list[str]:
    """The last lines of the service's log; only those in which the regular expression ``wanted`` is found, when given."""
    if service().manager == "systemd":
        text = _command(["journalctl", "-u", unit().name, "-n", str(_LINES_READ_MAX), "-o", "cat", "--no-pager"])
        lines = text.splitlines()
    else:
        try:
            with log_file().open(encoding="utf-8", errors="replace") as file:
                lines = [line.rstrip("\n") for line in deque(file, _LINES_READ_MAX)]
        except OSError:
            return []
    return [line for line in lines if re.search(wanted, line)][-lines_max:]


def _command(arguments: list[str]) -> str:
    try:
        return subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
