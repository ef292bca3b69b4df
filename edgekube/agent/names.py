"""Labels, annotations and paths by which a pod's containers are found again after any restart.

Enters: pods and their uids.
Leaves: the label keys that kubelets use (crictl and log shippers know them), and the directories of a pod.
Holds: what is written here once is what adoption reads later; a path never leaves the agent's directory.
Next: agent.sandbox and agent.container_config write them, agent.observe reads them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from edgekube.api.objects import Object, name_of, namespace_of, uid_of

POD_NAME: Final = "io.kubernetes.pod.name"
POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
POD_UID: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME: Final = "io.kubernetes.container.name"

CONTAINER_HASH: Final = "io.kubernetes.container.hash"
RESOURCES: Final = "edgekube.local/resources"
RESTART_COUNT: Final = "io.kubernetes.container.restartCount"
TERMINATION_PATH: Final = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY: Final = "io.kubernetes.container.terminationMessagePolicy"
GRACE_PERIOD: Final = "io.kubernetes.pod.terminationGracePeriod"

_LINK_CHARACTERS_MAX: Final = 255 - len(".log")


def container_hash(container: Object) -> str:
    """Changes when a running container must be replaced: its name or image (what upstream's kubelet hashes too)."""
    text = f"{container.get('name')}\0{container.get('image')}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def redefined(before: Iterable[Object], after: Iterable[Object]) -> Iterator[str]:
    """Names of containers that are to be other ones than they were."""
    known = {container.get("name"): container_hash(container) for container in before}
    for container in after:
        if known.get(container.get("name")) not in (None, container_hash(container)):
            yield container["name"]


def full_name(pod: Object) -> str:
    """``web-1_default(3f2c…)``: how the kubelet's messages name a pod."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"


class PodPaths:
    """Where one pod lives on disk, laid out as under /var/lib/kubelet/pods."""

    __slots__ = ("_name", "links", "logs", "root", "uid")

    def __init__(
        self, agent_dir: Path, pod_logs_dir: Path, namespace: str, name: str, uid: str, links: Path | None = None
    ) -> None:
        """``links``: where log shippers look for containers by their names; None: beside the logs."""
        if not uid or "/" in uid or uid in (".", ".."):
            raise ValueError(f"not a pod uid: {uid!r}")
        self.uid = uid
        self.root = agent_dir / "pods" / uid
        self.logs = pod_logs_dir / f"{namespace}_{name}_{uid}"
        self.links = links or pod_logs_dir.parent / "containers"
        self._name = f"{name}_{namespace}"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def subpaths(self) -> Path:
        return self.root / "volume-subpaths"

    @property
    def hosts_file(self) -> Path:
        return self.root / "etc-hosts"

    @property
    def checkpoint(self) -> Path:
        """The pod as last accepted, so that it runs on when the API is away."""
        return self.root / "pod.json"

    @property
    def allocation(self) -> Path:
        """What it was given, when a resize made that differ."""
        return self.root / "allocation.json"

    @property
    def ending(self) -> Path:
        """Why it must come to its end, when somebody said so."""
        return self.root / "ending.json"

    def volume(self, plugin: str, name: str) -> Path:
        return self.volumes / f"kubernetes.io~{plugin}" / name

    def termination_log(self, container: str, attempt: int) -> Path:
        return self.root / "containers" / container / str(attempt)

    def log(self, container: str, attempt: int) -> Path:
        return self.logs / container / f"{attempt}.log"

    def log_link(self, container: str, container_id: str) -> Path:
        """Cut where a file system would refuse it, as a kubelet does."""
        return self.links / f"{f'{self._name}_{container}-{container_id}'[:_LINK_CHARACTERS_MAX]}.log"

    def remove_log_links(self) -> None:
        for link in links_into(self.links, self.logs, self._name):
            link.unlink(missing_ok=True)


def links_into(links: Path, logs: Path, pod: str = "") -> list[Path]:
    """Of a directory of links to logs, those whose log is below ``logs``; ``pod``, its <pod>_<namespace>: no other's."""
    begin = pod[:_LINK_CHARACTERS_MAX]
    return [
        Path(entry.path)
        for entry in (os.scandir(links) if links.is_dir() else ())
        if entry.name.startswith(begin)
        and entry.name.endswith(".log")
        and entry.is_symlink()
        and Path(os.readlink(entry.path)).is_relative_to(logs)
    ]
