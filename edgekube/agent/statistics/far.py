"""How full file systems are whose server is elsewhere, and may not answer.

Enters: a path on such a file system.
Leaves: what statvfs said, now or the last time; None while nothing is known.
Holds: whoever asks waits FAR_DISK_PATIENCE_SECONDS at most: a server that is away holds one thread for each volume of it, and
nobody who asks for figures. A thread that never returns does not keep the process from ending.
Bound: one thread and one answer for each path that is asked for; forget() drops what is not asked for any more.
Next: agent.statistics.collecting.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from typing import Final

from edgekube.limits import FAR_DISK_PATIENCE_SECONDS

_TYPES: Final = frozenset({"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"})


def is_far(file_system_type: str) -> bool:
    """Programs answer for fuse, and they die as servers do."""
    return file_system_type in _TYPES or file_system_type.startswith("fuse")


class FarDisks:
    """Called in threads, one caller at a time."""

    def __init__(self) -> None:
        self._asking: dict[str, threading.Thread] = {}
        self._known: dict[str, os.statvfs_result] = {}

    def look(self, path: str) -> os.statvfs_result | None:
        asking = self._asking.get(path)
        if asking is None or not asking.is_alive():
            asking = threading.Thread(target=self._ask, args=(path,), daemon=True, name="statvfs")
            self._asking[path] = asking
            asking.start()
            asking.join(FAR_DISK_PATIENCE_SECONDS)
        return self._known.get(path)

    def _ask(self, path: str) -> None:
        try:
            self._known[path] = os.statvfs(path)
        except OSError:
            self._known.pop(path, None)

    def forget(self, asked_for: Collection[str]) -> None:
        for path in [path for path in self._asking if path not in asked_for]:
            if not self._asking[path].is_alive():
                del self._asking[path]
                self._known.pop(path, None)
