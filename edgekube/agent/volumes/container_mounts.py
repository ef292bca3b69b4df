"""A container's volumeMounts and volumeDevices as the runtime takes them.

Enters: the pod, one container, where its volumes are mounted, the environment (subPathExpr).
Leaves: Mounts and Devices; ConfigProblem in upstream's words for what does not fit together.
Holds: touches no disk but for the binds of subPaths, in the pod's own directory.
Next: agent.container_config.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from edgekube.agent.env import expand
from edgekube.agent.names import PodPaths
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.volumes.mounts import bind_read_only_all_down, unmount
from edgekube.agent.volumes.read_only import resolve, supported
from edgekube.agent.volumes.source import Mounted
from edgekube.agent.volumes.subpath import bind_subpath
from edgekube.api.objects import Object
from edgekube.containerd.model import Device, Mount

log = logging.getLogger("edgekube.agent")

_PROPAGATION: dict[str, Literal["PRIVATE", "HOST_TO_CONTAINER", "BIDIRECTIONAL"]] = {
    "None": "PRIVATE",
    "HostToContainer": "HOST_TO_CONTAINER",
    "Bidirectional": "BIDIRECTIONAL",
}
_UNSET = re.compile(r"\$\(([^()]*)\)")


def _expand_subpath(text: str, environment: Mapping[str, str]) -> str:
    missing = set()
    for name in _UNSET.findall(text.replace("$$", "")):
        # An empty one would mount the whole volume.
        if not environment.get(name):
            missing.add(name)
    if missing:
        raise ConfigProblem(f"missing value for {', '.join(sorted(missing))}")
    return expand(text, environment)


def _found(volumes: Mapping[str, Mounted], name: str, what: str) -> Mounted:
    found = volumes.get(name)
    if found is None:
        raise ConfigProblem(f'cannot find volume "{name}" to {what}')
    return found


def volume_mounts(
    container: Object, volumes: Mapping[str, Mounted], paths: PodPaths, environment: Mapping[str, str]
) -> list[Mount]:
    made: list[Mount] = []
    for index, wanted in enumerate(container.get("volumeMounts") or []):
        volume = _found(volumes, wanted["name"], f'mount into container "{container["name"]}"')
        source = volume.path
        subpath = wanted.get("subPath") or ""
        if wanted.get("subPathExpr"):
            subpath = _expand_subpath(wanted["subPathExpr"], environment)
        if subpath:
            target = paths.subpaths / wanted["name"] / container["name"] / str(index)
            try:
                bind_subpath(source, subpath, target)
            except OSError as error:
                # What the host has is nobody's business who writes pods.
                log.warning("subPath is not prepared target=%s error=%s", target, error)
                place = f'volumeMount "{wanted["name"]}" of container "{container["name"]}"'
                raise ConfigProblem(f"failed to prepare subPath for {place}") from None
            source = str(target)
        if resolve(wanted, able=supported()):
            source = _read_only(source, paths.subpaths / wanted["name"] / container["name"] / f"{index}.ro", wanted["name"])
        path = wanted["mountPath"]
        made.append(
            Mount(
                container_path=path if path.startswith("/") else f"/{path}",
                host_path=source,
                readonly=bool(wanted.get("readOnly")) or volume.read_only,
                propagation=_PROPAGATION[wanted.get("mountPropagation") or "None"],
            )
        )
    return made


def _read_only(source: str, target: Path, name: str) -> str:
    """The same, read-only with all that is mounted in it now."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            unmount(target)
        if os.path.isdir(source):
            target.mkdir(exist_ok=True)
        else:
            target.touch(exist_ok=True)
        bind_read_only_all_down(source, target)
    except OSError as error:
        raise ConfigProblem(f'failed to make volumeMount "{name}" read-only: {error}') from None
    return str(target)


def volume_devices(container: Object, volumes: Mapping[str, Mounted]) -> tuple[Device, ...]:
    """Block volumes: the device itself, under the name that the container gives it."""
    made: list[Device] = []
    for wanted in container.get("volumeDevices") or []:
        volume = _found(volumes, wanted["name"], f'pass to container "{container["name"]}"')
        device = os.path.realpath(volume.path)
        made.append(Device(wanted["devicePath"], device, "r" if volume.read_only else "mrw"))
    return tuple(made)
