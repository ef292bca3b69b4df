"""What a container had to say when it ended.

Enters: the file mounted at terminationMessagePath; the end of its log when the policy asks for that.
Leaves: text for the status, within the API's bound.
Holds: a file that a container made into something else (a link, a device) is not followed.
Source: Kubernetes documentation, "Determine the Reason for Pod Failure".
Next: agent.last_words.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgekube.agent.log_lines import tail_text
from edgekube.agent.names import TERMINATION_POLICY, PodPaths
from edgekube.containerd.model import ContainerStatus
from edgekube.limits import TERMINATION_LOG_LINES_MAX, TERMINATION_MESSAGE_BYTES_MAX

_LOG_BYTES_MAX = 2048


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        size = os.fstat(descriptor).st_size
        if size > TERMINATION_MESSAGE_BYTES_MAX:
            stream.seek(size - TERMINATION_MESSAGE_BYTES_MAX)
        return stream.read(TERMINATION_MESSAGE_BYTES_MAX)


def message_of_file(paths: PodPaths, status: ContainerStatus) -> str:
    return _read(paths.termination_log(status.name, status.attempt)).decode(errors="replace")


def wants_log(status: ContainerStatus) -> bool:
    """The end of its log is its message, when it left no other."""
    return status.exit_code != 0 and status.annotations.get(TERMINATION_POLICY) == "FallbackToLogsOnError"


def message_of_log(paths: PodPaths, status: ContainerStatus) -> str:
    return tail_text(paths.log(status.name, status.attempt), TERMINATION_LOG_LINES_MAX, _LOG_BYTES_MAX)
