"""emptyDir of medium HugePages: which page size, and the mount.

Enters: the medium, the pod's requests.
Leaves: a hugetlbfs mount; VolumeProblem in the kubelet's words.
Holds: page_size() is pure. Source: Kubernetes documentation, "Manage HugePages".
Next: volumes.empty_dir.
"""

from __future__ import annotations

from pathlib import Path

from edgekube.agent.podspec import containers_of, init_containers_of
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes import mounts
from edgekube.api import quantities
from edgekube.api.objects import Object, spec_of

_PREFIX = "hugepages-"


def page_size(medium: str, pod: Object) -> str:
    """``2Mi``, as the request spells it."""
    wanted = medium.removeprefix("HugePages").removeprefix("-")
    found = ""
    for item in (spec_of(pod), *containers_of(pod), *init_containers_of(pod)):
        for name in (item.get("resources") or {}).get("requests") or {}:
            if not name.startswith(_PREFIX):
                continue
            size = name.removeprefix(_PREFIX)
            if wanted and quantities.to_bytes(size) != quantities.to_bytes(wanted):
                continue
            if found and quantities.to_bytes(size) != quantities.to_bytes(found):
                raise VolumeProblem(f"medium: {medium} can't be used if container requests multiple huge page sizes")
            found = size
    if not found:
        raise VolumeProblem(f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages")
    return found


def mount_huge_pages(medium: str, pod: Object, path: Path) -> None:
    size = page_size(medium, pod)
    try:
        mounts.mount_hugetlbfs(path, quantities.to_bytes(size))
    except OSError as error:
        raise VolumeProblem(f"huge pages of {size} cannot be mounted: {error}") from None
