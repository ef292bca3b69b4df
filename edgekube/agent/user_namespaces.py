"""The users of pods that have a user namespace of their own (hostUsers: false).

Enters: the pod, what the runtime says it can do, the ranges that other pods of this node have.
Leaves: the pod's range, written to its directory; UsersProblem with the kubelet's words where the runtime cannot.
Holds: no two pods of the node share a range, and none has the host's first 65536 users; a pod keeps its range as long as it has a
directory, so that a restart of this process, or a new sandbox, finds volumes owned by whom they were.
Bound: limits.USER_NAMESPACE_RANGES_MAX.
Source: Kubernetes documentation, "User Namespaces".
Next: agent.execute (before a sandbox or a container is made).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson
import trio

from edgekube.api.objects import Object, spec_of, uid_of
from edgekube.containerd.model import IdMapping, RuntimeFeatures
from edgekube.containerd.protocol import Runtime
from edgekube.limits import USER_NAMESPACE_RANGES_MAX
from edgekube.pki.files import PRIVATE, replace_whole, sync_directory

#: As many as a pod's processes may be, and the step between ranges.
IDS: Final = 65536
_FILE: Final = "userns"


class UsersProblem(Exception):
    """The pod cannot have users of its own here."""


def wants_own_users(pod: Object) -> bool:
    return spec_of(pod).get("hostUsers") is False


def refusal(features: RuntimeFeatures, handler: str) -> str:
    """Why the runtime cannot give a pod users of its own; "" when it can."""
    about = f'RuntimeClass handler "{handler}"' if handler else "runtime"
    words = f"can't set `spec.hostUsers: false`, {about} does not support user namespaces"
    if not features.handlers:
        return words
    found = features.handler(handler)
    if found is None:
        return f'{words}: the handler "{handler}" is not known'
    return "" if found.user_namespaces else words


def first_free(taken: Iterable[int]) -> int:
    """The lowest first user that no other range has. Raises UsersProblem."""
    used = set(taken)
    for number in range(1, USER_NAMESPACE_RANGES_MAX + 1):
        if number * IDS not in used:
            return number * IDS
    raise UsersProblem("create user namespace: could not find an empty slot to allocate a user namespace")


def read_range(pod_directory: Path) -> int | None:
    """The first user of a pod's range; None when it has none, or the file is not one of ours."""
    try:
        mappings = orjson.loads((pod_directory / _FILE).read_bytes())["uidMappings"]
        first, length = int(mappings[0]["hostId"]), int(mappings[0]["length"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return first if length == IDS and first % IDS == 0 and first > 0 else None


def range_of(pods_directory: Path, uid: str) -> IdMapping:
    """The pod's range: the one it has, else a free one, which is on disk before it is used."""
    own = pods_directory / uid
    first = read_range(own)
    if first is None:
        others = (read_range(folder) for folder in pods_directory.iterdir() if folder.name != uid)
        first = first_free(number for number in others if number is not None)
        mapping = [{"hostId": first, "containerId": 0, "length": IDS}]
        replace_whole(own / _FILE, orjson.dumps({"uidMappings": mapping, "gidMappings": mapping}), PRIVATE)
        sync_directory(own)
    return IdMapping(first, IDS)


class OwnUsers:
    """Gives ranges out, one at a time."""

    def __init__(self, runtime: Runtime, pods_directory: Path) -> None:
        self._runtime = runtime
        self._pods_directory = pods_directory
        self._turn = trio.Lock()

    async def of(self, pod: Object, handler: str) -> IdMapping | None:
        """None for a pod that shares the host's users. Raises UsersProblem, RuntimeFailure."""
        if not wants_own_users(pod):
            return None
        if why := refusal(await self._runtime.features(), handler):
            raise UsersProblem(why)
        async with self._turn:
            try:
                return await trio.to_thread.run_sync(range_of, self._pods_directory, uid_of(pod))
            except OSError as error:
                raise UsersProblem(f"create user namespace: {error}") from None
