"""Variables out of a file of the pod's own (fileKeyRef): the file's form, and how it is read without being led elsewhere.

Enters: a volume's directory, a path below it, a key.
Leaves: the value; None when the file or the key is not there; ConfigProblem for a file that is not of this form.
Holds: containers write these files, so nothing about them is believed: no link is followed out of the volume, only a file is
read, and not more of it than limits.ENV_FILE_BYTES_MAX.
Source: Kubernetes documentation, "Define Environment Variable Values Using An Init Container": a strict subset of a shell's
assignments, values in single quotes.
Next: agent.env.
"""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath

from edgekube.agent.problems import ConfigProblem
from edgekube.agent.volumes.subpath import inside, open_beneath
from edgekube.limits import ENV_FILE_BYTES_MAX


def value_of(text: str, key: str) -> str | None:
    """Raises ValueError, which names the line."""
    rest, number = text, 0
    while rest:
        line, _, following = rest.partition("\n")
        number += 1
        line = line.lstrip(" \t")
        if not line or line.startswith("#"):
            rest = following
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"invalid environment variable format at line {number}: missing '='")
        if not name.strip(" \t"):
            raise ValueError(f"invalid environment variable format at line {number}: empty variable name")
        if name != name.rstrip(" \t"):
            raise ValueError(f"invalid environment variable format at line {number}: whitespace before '=' is not allowed")
        if value.startswith((" ", "\t")):
            # As a shell reads it: the variable is empty.
            if name == key:
                return None
            rest = following
            continue
        if not value.startswith("'"):
            raise ValueError(f"invalid environment variable format at line {number}: value must be enclosed in single quotes")
        quoted = rest[rest.index("'", rest.index("=")) + 1 :]
        content, closing, behind = quoted.partition("'")
        if not closing:
            raise ValueError(f"invalid environment variable format starting at line {number}: unclosed single quote")
        number += content.count("\n")
        after, _, rest = behind.partition("\n")
        if after.strip(" \t\r") and not after.lstrip(" \t").startswith("#"):
            raise ValueError(f"invalid environment variable format at line {number}: unexpected content after closing quote")
        if name == key:
            return content or None
    return None


def read_text(volume: str, path: str) -> str | None:
    """None when there is no such file. Raises ConfigProblem."""
    root = os.path.realpath(volume)
    resolved = os.path.realpath(os.path.join(root, path))
    if not inside(root, resolved):
        raise ConfigProblem("couldn't parse env file")
    try:
        descriptor = open_beneath(root, PurePosixPath(resolved).relative_to(root), make=False)
    except FileNotFoundError:
        return None
    except OSError:
        raise ConfigProblem("couldn't parse env file") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigProblem("couldn't parse env file")
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            raw = file.read(ENV_FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(raw) > ENV_FILE_BYTES_MAX:
        raise ConfigProblem("couldn't parse env file")
    return raw.decode(errors="replace")


def file_key(volume: str, path: str, key: str) -> str | None:
    text = read_text(volume, path)
    try:
        return None if text is None else value_of(text, key)
    except ValueError:
        # What stands in it may be a secret: no more is told than upstream tells.
        raise ConfigProblem("couldn't parse env file") from None
