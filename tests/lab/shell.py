"""Run a command and say what it said when it fails."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class CommandFailed(AssertionError):
    """A command that had to succeed did not; the text has its output."""


def run(command: Sequence[str], *, stdin: str | None = None, timeout_seconds: float = 150, check: bool = True) -> str:
    """Standard output of the command. Raises CommandFailed with everything it printed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    if check and done.returncode != 0:
        raise CommandFailed(f"$ {' '.join(command)}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
