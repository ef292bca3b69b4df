"""/var/log/pods and /var/log/containers: where log shippers look for what containers say.

Enters: the settings, a pod's paths.
Leaves: the directory of logs; a link for each container, <pod>_<namespace>_<container>-<id>.log, to its log of now.
Holds: a directory and no link to one, because a shipper in a container is shown /var/log and nothing else of the host. Logs that
an earlier version kept below the data directory move once; where they cannot (another disk) they stay, and the log says so.
Source: Kubernetes documentation, "Logging Architecture"; pkg/kubelet/kuberuntime/legacy.go.
Next: agent.execute, agent.volumes.setup.
"""

from __future__ import annotations

import logging
from pathlib import Path

from edgekube.agent.names import PodPaths, links_into
from edgekube.agent.volumes.removal import remove_tree
from edgekube.settings import Settings

log = logging.getLogger("edgekube.agent")

_MODE = 0o750
_LINKS_MODE = 0o755


def provide(settings: Settings) -> None:
    """Both directories, without links to logs that are gone. OSError where there can be no logs."""
    logs, links = settings.pod_logs_dir, settings.container_logs_dir
    logs.mkdir(mode=_MODE, parents=True, exist_ok=True)
    logs.chmod(_MODE)  # what pods say is no business of other users of the machine
    _take_over(settings.agent_dir / "logs" / "pods", logs)
    try:
        links.mkdir(mode=_LINKS_MODE, parents=True, exist_ok=True)
        for link in links_into(links, logs):
            if not link.exists():
                link.unlink(missing_ok=True)
    except OSError as error:
        log.warning("log shippers do not find containers by name path=%s error=%s", links, error)


def show(paths: PodPaths, container: str, attempt: int, container_id: str) -> None:
    """A link to the log of this container, unless it has none (no disk, for one)."""
    target, link = paths.log(container, attempt), paths.log_link(container, container_id)
    try:
        if target.exists() and not link.is_symlink():
            link.symlink_to(target)
    except OSError as error:
        log.warning("log shippers do not find a log path=%s error=%s", link, error)


def withdraw(settings: Settings) -> list[str]:
    """What the agent keeps there goes, and the directories if nobody else has anything in them. Returns what stays, and why."""
    logs, links = settings.pod_logs_dir, settings.container_logs_dir
    left = []
    for link in links_into(links, logs):
        link.unlink(missing_ok=True)
    for folder in logs.glob("*_*_*"):
        try:
            remove_tree(folder)
        except OSError as error:
            left.append(f"{folder}: {error.strerror}")
    for directory in (links, logs):
        try:
            directory.rmdir()
        except OSError:
            pass  # another's things are in it, or it is not there
    return left


def _take_over(old: Path, logs: Path) -> None:
    """Containers that run write on into what was moved; the runtime finds it by the old name, too."""
    if old == logs or old.is_symlink() or not old.is_dir():
        return
    try:
        for folder in old.iterdir():
            folder.rename(logs / folder.name)
        old.rmdir()
        old.symlink_to(logs)
    except OSError as error:
        log.warning("logs of earlier containers stay where they are path=%s error=%s", old, error)
