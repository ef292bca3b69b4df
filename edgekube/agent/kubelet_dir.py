"""/var/lib/kubelet: where drivers and other programs look for a kubelet's sockets and volumes.

Enters: the path they know, the agent's own directory.
Leaves: the path by which to name the agent's directory to them.
Holds: a link to the agent's directory, made only where nothing is; another kubelet's directory is never touched.
Source: docs/adr/0064.
Next: agent.node_volumes.
"""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger("edgekube.agent")


def provide(path: Path | None, agent_dir: Path) -> Path:
    """``agent_dir`` itself where there is no other name for it."""
    if path is None:
        return agent_dir
    try:
        if path.is_dir() and not path.is_symlink() and not path.is_mount() and not any(path.iterdir()):
            path.rmdir()
        if not path.exists() and not path.is_symlink():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(agent_dir)
        if path.resolve() == agent_dir.resolve():
            return path
        why = "it is another's"
    except OSError as error:
        why = str(error)
    log.warning("CSI drivers and device plugins that look for %s do not find this node: %s", path, why)
    return agent_dir


def withdraw(path: Path | None, agent_dir: Path) -> None:
    """The link, if it is ours."""
    if path is not None and path.is_symlink() and path.resolve() == agent_dir.resolve():
        path.unlink()
