"""A container as the runtime is asked to make it.

Enters: the pod, one container, its image, environment and addresses; the pod's paths.
Leaves: ContainerConfig; ConfigProblem and VolumeProblem for what does not fit together.
Holds: touches no disk but for subPath binds, the hosts file and the termination log, all in the pod's own directory.
Next: agent.execute.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from edgekube.agent import names
from edgekube.agent.devices.model import NOTHING, Given
from edgekube.agent.env import expand
from edgekube.agent.machine import Machine
from edgekube.agent.names import PodPaths, container_hash
from edgekube.agent.podspec import grace_period_seconds
from edgekube.agent.resize import resources_text
from edgekube.agent.resources import container_resources
from edgekube.agent.security import container_security
from edgekube.agent.volumes.container_mounts import volume_devices, volume_mounts
from edgekube.agent.volumes.source import Mounted
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.containerd.model import ContainerConfig, IdMapping, Image, Mount


def _termination_log(paths: PodPaths, container: Object, attempt: int) -> Mount | None:
    path = container.get("terminationMessagePath") or "/dev/termination-log"
    host = paths.termination_log(container["name"], attempt)
    host.parent.mkdir(parents=True, exist_ok=True)
    host.touch()
    host.chmod(0o666)
    return Mount(path, str(host))


def container_config(
    pod: Object,
    container: Object,
    *,
    attempt: int,
    image: Image,
    environment: Mapping[str, str],
    paths: PodPaths,
    volumes: Mapping[str, Mounted],
    machine: Machine,
    seccomp_dir: Path,
    users: IdMapping | None = None,
    given: Given = NOTHING,
    target_id: str = "",
) -> ContainerConfig:
    """``environment`` is complete. The hosts file must have been written. ``target_id``: the container whose processes this
    ephemeral one shares (targetContainerName)."""
    security = container_security(pod, container, image, seccomp_dir, users)
    if target_id:
        security = replace(security, namespaces=replace(security.namespaces, pid="TARGET", target_id=target_id))
    groups = sorted({volume.gid for volume in volumes.values() if volume.gid is not None})
    security = replace(security, supplemental_groups=(*security.supplemental_groups, *groups))
    mounts = [*given.mounts, *volume_mounts(container, volumes, paths, environment)]
    taken = {mount.container_path for mount in mounts}
    if "/etc/hosts" not in taken and paths.hosts_file.exists():
        mounts.append(Mount("/etc/hosts", str(paths.hosts_file)))
    termination = _termination_log(paths, container, attempt)
    if termination and termination.container_path not in taken:
        mounts.append(termination)
    return ContainerConfig(
        name=container["name"],
        attempt=attempt,
        image=image.id,
        command=tuple(expand(word, environment) for word in container.get("command") or []),
        args=tuple(expand(word, environment) for word in container.get("args") or []),
        working_dir=container.get("workingDir") or "",
        env=tuple(environment.items()),
        mounts=tuple(mounts),
        devices=(*given.devices, *volume_devices(container, volumes)),
        labels={
            names.CONTAINER_NAME: container["name"],
            names.POD_NAME: name_of(pod),
            names.POD_NAMESPACE: namespace_of(pod),
            names.POD_UID: uid_of(pod),
        },
        cdi_devices=given.cdi_devices,
        annotations={
            **given.annotations,
            names.CONTAINER_HASH: container_hash(container),
            names.RESOURCES: resources_text(container),
            names.RESTART_COUNT: str(attempt),
            names.TERMINATION_PATH: container.get("terminationMessagePath") or "/dev/termination-log",
            names.TERMINATION_POLICY: container.get("terminationMessagePolicy") or "File",
            names.GRACE_PERIOD: str(grace_period_seconds(pod)),
        },
        log_path=str(Path(container["name"]) / f"{attempt}.log"),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=container_resources(pod, container, machine),
        security=security,
        stop_signal=(container.get("lifecycle") or {}).get("stopSignal") or "",
    )
