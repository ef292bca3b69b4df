"""A container as the runtime is asked to make it.

Enters: the pod, one container, its image, environment and addresses; the pod's paths.
Leaves: ContainerConfig; ConfigProblem and VolumeProblem for what does not fit together.
Holds: touches no disk but for subPath binds, the hosts file and the termination log, all in the pod's own directory.
Next: agent.execute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgekube.agent import names
from edgekube.agent.env import expand
from edgekube.agent.names import PodPaths, container_hash
from edgekube.agent.podspec import grace_period_seconds, spec_of
from edgekube.agent.problems import ConfigProblem, VolumeProblem
from edgekube.agent.resize import resources_text
from edgekube.agent.resources import container_resources
from edgekube.agent.security import container_security
from edgekube.agent.volumes.setup import volume_path
from edgekube.agent.volumes.subpath import bind_subpath
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.containerd.model import ContainerConfig, Device, Image, Mount

_PROPAGATION: dict[str, Literal["PRIVATE", "HOST_TO_CONTAINER", "BIDIRECTIONAL"]] = {
    "None": "PRIVATE",
    "HostToContainer": "HOST_TO_CONTAINER",
    "Bidirectional": "BIDIRECTIONAL",
}
_UNSET = re.compile(r"\$\(([^()]*)\)")


def _expand_subpath(text: str, environment: Mapping[str, str]) -> str:
    for name in _UNSET.findall(text.replace("$$", "")):
        # An empty one would mount the whole volume.
        if not environment.get(name):
            raise ConfigProblem(f"failed to expand subPathExpr {text!r}: missing value for {name}")
    return expand(text, environment)


def _mounts(pod: Object, container: Object, paths: PodPaths, environment: Mapping[str, str]) -> list[Mount]:
    volumes = {volume["name"]: volume for volume in spec_of(pod).get("volumes") or []}
    made: list[Mount] = []
    for index, wanted in enumerate(container.get("volumeMounts") or []):
        volume = volumes.get(wanted["name"])
        if volume is None:
            raise ConfigProblem(f'volume "{wanted["name"]}" of container {container["name"]} is not defined')
        try:
            source = volume_path(paths, volume)
        except VolumeProblem as problem:
            raise ConfigProblem(problem.message) from None
        subpath = wanted.get("subPath") or ""
        if wanted.get("subPathExpr"):
            subpath = _expand_subpath(wanted["subPathExpr"], environment)
        if subpath:
            target = paths.subpaths / wanted["name"] / container["name"] / str(index)
            try:
                bind_subpath(source, subpath, target)
            except OSError as error:
                raise ConfigProblem(f'failed to prepare subPath for volumeMount "{wanted["name"]}": {error}') from None
            source = target
        path = wanted["mountPath"]
        made.append(
            Mount(
                container_path=path if path.startswith("/") else f"/{path}",
                host_path=str(source),
                readonly=bool(wanted.get("readOnly")),
                propagation=_PROPAGATION[wanted.get("mountPropagation") or "None"],
            )
        )
    return made


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
    memory_capacity_bytes: int,
    devices: tuple[Device, ...] = (),
    target_id: str = "",
) -> ContainerConfig:
    """``environment`` is complete. The hosts file must have been written. ``target_id``: the container whose processes this
    ephemeral one shares (targetContainerName)."""
    security = container_security(pod, container, image)
    if target_id:
        security = replace(security, namespaces=replace(security.namespaces, pid="TARGET", target_id=target_id))
    mounts = _mounts(pod, container, paths, environment)
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
        devices=devices,
        labels={
            names.CONTAINER_NAME: container["name"],
            names.POD_NAME: name_of(pod),
            names.POD_NAMESPACE: namespace_of(pod),
            names.POD_UID: uid_of(pod),
        },
        annotations={
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
        resources=container_resources(pod, container, memory_capacity_bytes),
        security=security,
        stop_signal=(container.get("lifecycle") or {}).get("stopSignal") or "",
    )
