"""hostPath: check, or make, what the type asks for.

Enters: a path of the host and a hostPath type.
Leaves: nothing, or VolumeProblem in upstream's words.
Holds: nothing is made but for the ...OrCreate types.
Next: volumes.setup.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgekube.agent.problems import VolumeProblem

_TESTS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def check_host_path(path: str, kind: str) -> None:
    if not kind:
        return
    if kind == "DirectoryOrCreate":
        os.makedirs(path, 0o755, exist_ok=True) if not os.path.exists(path) else None
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not os.path.exists(path):
            try:
                Path(path).touch(0o644)
            except OSError as error:
                raise VolumeProblem(f"hostPath type check failed: {path}: {error.strerror}") from None
        kind = "File"
    if kind not in _TESTS:
        raise VolumeProblem(f"hostPath type check failed: unknown type {kind}")
    test, words = _TESTS[kind]
    try:
        mode = os.stat(path).st_mode
    except OSError:
        raise VolumeProblem(f"hostPath type check failed: {path} is not {words}") from None
    if not test(mode):
        raise VolumeProblem(f"hostPath type check failed: {path} is not {words}")
