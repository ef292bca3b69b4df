"""Carry out one step of a pod's plan.

Enters: a step and the pod it belongs to.
Leaves: effects in containerd and on disk, events; PodProblem or RuntimeFailure when it did not work.
Holds: no choices: every step may be done again. A create is always followed to its end, so that no container is left unknown.
Next: containerd, volumes.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path

import orjson
import trio
from msgspec.structs import replace

from edgekube.agent import log_places
from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.container_config import container_config
from edgekube.agent.context import NodeContext
from edgekube.agent.devices.cdi import check_cdi
from edgekube.agent.devices.model import DeviceProblem
from edgekube.agent.env import make_environment
from edgekube.agent.hosts import bounded_dns_config, hosts_file
from edgekube.agent.images.pulling import Tell
from edgekube.agent.images.secrets import pull_secrets
from edgekube.agent.lifecycle import HookFailed, run_hook
from edgekube.agent.names import PodPaths
from edgekube.agent.podspec import container_named, containers_of, field_path, grace_period_seconds, init_containers_of
from edgekube.agent.problems import ConfigProblem, CreateProblem, HookProblem, RunProblem, VolumeProblem
from edgekube.agent.references import Key, environment_references
from edgekube.agent.resources import pod_resources, qos_class
from edgekube.agent.sandbox import hostname_of, sandbox_config
from edgekube.agent.state import PodObserved
from edgekube.agent.status import pod_ips
from edgekube.agent.steps import KillContainer, PreStop, RemoveContainer, RunSandbox, StartContainer
from edgekube.agent.stopping import end_container, pre_stop
from edgekube.agent.user_namespaces import UsersProblem, wants_own_users
from edgekube.agent.volumes.record import read_record
from edgekube.agent.volumes.setup import remove_pod_directory
from edgekube.agent.volumes.source import Mounted, VolumeSource
from edgekube.api.errors import StatusError
from edgekube.api.kinds import POD, RUNTIMECLASS
from edgekube.api.objects import Object, name_of, namespace_of, spec_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.containerd.model import ContainerConfig, IdMapping, RuntimeFailure, SandboxConfig

log = logging.getLogger("edgekube.agent")


def make_pods_directory(directory: Path) -> None:
    """What pods hold (secrets, tokens, set-user-id programs in an emptyDir) and say is no business of other users of the machine.

    Containers reach it by their mounts. A directory of an earlier version is closed as well.
    """
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    directory.chmod(0o750)


class Executor:
    __slots__ = ("_node",)

    def __init__(self, node: NodeContext) -> None:
        self._node = node

    def _sandbox_config(self, pod: Object, paths: PodPaths, attempt: int, users: IdMapping | None) -> SandboxConfig:
        cgroup = self._node.cgroups.path_of(qos_class(pod), uid_of(pod))
        return sandbox_config(pod, self._node.settings, str(paths.logs), cgroup, attempt, users)

    async def prepare(self, pod: Object, addresses: tuple[str, ...]) -> float | None:
        """Returns when volumes want to be looked at again."""
        node, paths = self._node, self._node.paths(pod)

        def folders() -> Mapping[str, VolumeSource]:
            paths.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            paths.logs.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_checkpoint(paths.checkpoint, orjson.dumps(pod))
            try:
                node.cgroups.make(node.cgroups.path_of(qos_class(pod), uid_of(pod)), pod_resources(pod, self._node.machine))
            except OSError as error:
                log.warning("pod cgroup cannot be set pod=%s/%s error=%s", namespace_of(pod), name_of(pod), error)
            return read_record(paths.root)

        try:
            record = await trio.to_thread.run_sync(folders)
        except OSError as error:
            node.event(pod, "Warning", "Failed", f"error making pod data directories: {error}")
            raise
        node.volumes.remember(paths.uid, record)
        node.rebalance()
        again: float | None = None
        trouble: Exception | None = None
        async with trio.open_nursery() as nursery:
            # While the sandbox is made: by then the answers are there.
            for reference in {container.get("image") for container in (*init_containers_of(pod), *containers_of(pod))}:
                if reference:
                    nursery.start_soon(self._look_for_image, reference)
            try:
                again = await node.volumes.set_up(pod, paths, node.around(addresses))
            except (VolumeProblem, OSError, StatusError) as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return again

    async def _look_for_image(self, reference: str) -> None:
        try:
            await self._node.images.glance(reference)
        except RuntimeFailure:
            pass  # the container's start will ask again, and say so

    async def run_sandbox(self, pod: Object, step: RunSandbox) -> str:
        """Returns the sandbox's id."""
        paths = self._node.paths(pod)
        try:
            # Never a weaker runtime than was asked for: without the class, or the handler, the pod waits.
            handler = await self._handler(pod)
            users = await self._node.users.of(pod, handler)
            config = replace(self._sandbox_config(pod, paths, step.attempt, users), runtime_handler=handler)
            for left_out in bounded_dns_config(pod, self._node.settings)[1]:
                self._node.event(pod, "Warning", "DNSConfigForming", left_out)
            return await self._node.runtime.run_sandbox(config)
        except (ConfigProblem, UsersProblem) as problem:
            message = f"Failed to create pod sandbox: {problem}"
            self._node.event(pod, "Warning", "FailedCreatePodSandBox", message)
            raise RuntimeFailure("INVALID_ARGUMENT", message) from None
        except RuntimeFailure as failure:
            self._node.event(pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {failure.message}")
            raise

    async def _handler(self, pod: Object) -> str:
        name = spec_of(pod).get("runtimeClassName")
        if not name:
            return ""
        return str((await self._node.verbs.get(RUNTIMECLASS, "", name)).get("handler") or "")

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._node.runtime.stop_sandbox(sandbox_id)

    async def remove_sandbox(self, pod: Object, sandbox_id: str, *, changed: bool) -> None:
        if changed:
            self._node.event(pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        await self._node.runtime.stop_sandbox(sandbox_id)
        await self._node.runtime.remove_sandbox(sandbox_id)

    async def _objects(self, pod: Object, container: Object) -> dict[Key, Object | None]:
        """What the container's variables name."""
        found: dict[Key, Object | None] = {}
        for key in environment_references(pod, container):
            kind, namespace, name = key
            try:
                found[key] = await self._node.references.get(kind, namespace, name)
            except TimeoutError as error:
                raise ConfigProblem(str(error)) from None
        return found

    async def start_container(self, pod: Object, observed: PodObserved, step: StartContainer) -> str:
        """Returns the container's id."""
        node, paths = self._node, self._node.paths(pod)
        container = container_named(pod, step.name)
        if container is None:
            raise ConfigProblem(f"container {step.name} is not in the pod")
        path = field_path(pod, step.name)

        def tell(kind: str, reason: str, message: str) -> None:
            node.event(pod, kind, reason, message, path)

        secrets = await pull_secrets(node, pod)
        policy = container.get("imagePullPolicy") or ""
        image = await node.images.ensure(uid_of(pod), container.get("image") or "", policy, secrets, tell)

        addresses = pod_ips(pod, observed, node.host_ips)
        try:
            objects = await self._objects(pod, container)
            links = spec_of(pod).get("enableServiceLinks") is not False
            services = node.services.environment(namespace_of(pod), links)
            where = {name: volume.path for name, volume in node.volumes.mounted(uid_of(pod)).items()}
            environment = make_environment(pod, container, objects, services, node.around(addresses), where)
            users = await node.users.of(pod, await self._handler(pod)) if wants_own_users(pod) else None
            given = await node.devices.give(pod, container)
            await check_cdi(node.runtime, given)
            make_config = functools.partial(
                container_config,
                pod,
                container,
                attempt=step.attempt,
                image=image,
                environment={**given.env, **environment},
                paths=paths,
                volumes=await self._volumes(pod, container, addresses, secrets, tell),
                machine=node.machine,
                seccomp_dir=node.settings.seccomp_dir,
                users=users,
                given=given,
                target_id=_target_id(container, observed),
            )

            def with_files() -> ContainerConfig:
                self._write_hosts(pod, paths, addresses)
                (paths.logs / step.name).mkdir(parents=True, exist_ok=True)
                return make_config()

            config = await trio.to_thread.run_sync(with_files)
            sandbox_attempt = observed.sandbox.sandbox.attempt if observed.sandbox else 0
            sandbox = self._sandbox_config(pod, paths, sandbox_attempt, users)
        except (UsersProblem, DeviceProblem) as problem:
            tell("Warning", "Failed", f"Error: {problem}")
            raise ConfigProblem(str(problem)) from None
        except ConfigProblem as problem:
            tell("Warning", "Failed", f"Error: {problem.message}")
            raise
        if step.attempt:
            # A resize may have asked for this restart.
            await trio.to_thread.run_sync(self._set_pod_cgroup, pod)
        if node.protect is not None:
            await node.protect(pod, addresses)
        with trio.CancelScope(shield=True):
            try:
                container_id = await node.runtime.create_container(step.sandbox_id, config, sandbox)
            except RuntimeFailure as failure:
                node.images.look_again()
                tell("Warning", "Failed", f"Error: {failure.message}")
                raise CreateProblem(failure.message) from None
            tell("Normal", "Created", "Container created")
            try:
                await node.runtime.start_container(container_id)
            except RuntimeFailure as failure:
                tell("Warning", "Failed", f"Error: {failure.message}")
                raise RunProblem(failure.message) from None
            tell("Normal", "Started", "Container started")
            await trio.to_thread.run_sync(log_places.show, paths, step.name, step.attempt, container_id)
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._post_start(pod, container, container_id, addresses, hook)
        return container_id

    async def _volumes(
        self, pod: Object, container: Object, addresses: tuple[str, ...], secrets: list[Object], tell: Tell
    ) -> Mapping[str, Mounted]:
        """Where they are. Images are mounted now; an ephemeral container may be the first to mount something else."""
        node, paths = self._node, self._node.paths(pod)
        wanted = {item["name"] for item in (*(container.get("volumeMounts") or ()), *(container.get("volumeDevices") or ()))}
        for volume in spec_of(pod).get("volumes") or []:
            source = volume.get("image")
            if source is not None and volume["name"] in wanted:
                policy = source.get("pullPolicy") or ""
                image = await node.images.ensure(uid_of(pod), source.get("reference") or "", policy, secrets, tell)
                await node.volumes.mount_image(paths, volume, image)
        if wanted - node.volumes.mounted(uid_of(pod)).keys():
            await node.volumes.set_up(pod, paths, node.around(addresses))
        return node.volumes.mounted(uid_of(pod))

    async def _post_start(
        self, pod: Object, container: Object, container_id: str, addresses: tuple[str, ...], hook: Object
    ) -> None:
        name = container["name"]
        try:
            await run_hook(self._node.runtime, hook, container, container_id, addresses[0] if addresses else "")
        except HookFailed as failed:
            # What a hook printed may be secret, and events are read by many.
            self._node.event(pod, "Warning", "FailedPostStartHook", "PostStartHook failed", field_path(pod, name))
            kill = KillContainer(name, container_id, "FailedPostStartHook", grace_period_seconds(pod))
            await end_container(self._node, pod, kill, addresses, running=True)
            raise HookProblem(str(failed)) from None

    def _write_hosts(self, pod: Object, paths: PodPaths, addresses: tuple[str, ...]) -> None:
        host = Path("/etc/hosts").read_text() if spec_of(pod).get("hostNetwork") else ""
        text = hosts_file(pod, addresses, hostname_of(pod), self._node.settings, host)
        if not paths.hosts_file.exists() or paths.hosts_file.read_text() != text:
            paths.root.mkdir(parents=True, exist_ok=True)
            paths.hosts_file.write_text(text)
            paths.hosts_file.chmod(0o644)

    async def kill_container(self, pod: Object, observed: PodObserved, step: KillContainer) -> None:
        running = observed_running(observed, step.container_id)
        await end_container(self._node, pod, step, pod_ips(pod, observed, self._node.host_ips), running=running)

    async def pre_stop(self, pod: Object, observed: PodObserved, step: PreStop) -> None:
        await pre_stop(self._node, pod, step, pod_ips(pod, observed, self._node.host_ips))

    def _set_pod_cgroup(self, pod: Object) -> OSError | None:
        try:
            self._node.cgroups.make(
                self._node.cgroups.path_of(qos_class(pod), uid_of(pod)), pod_resources(pod, self._node.machine)
            )
        except OSError as error:
            return error
        return None

    async def remove_container(self, pod: Object, step: RemoveContainer) -> None:
        await self._node.runtime.remove_container(step.container_id)
        if not step.keep_log:
            paths = self._node.paths(pod)
            paths.log_link(step.name, step.container_id).unlink(missing_ok=True)
            log_file = paths.log(step.name, step.attempt)
            for old in log_file.parent.glob(f"{log_file.name}*"):
                old.unlink(missing_ok=True)

    async def release(self, pod: Object) -> None:
        """The pod came to its end: volumes and cgroup go, logs and containers stay for ``kubectl logs``."""
        paths = self._node.paths(pod)

        await self._node.volumes.tear_down(paths)
        await trio.to_thread.run_sync(self._remove_cgroup, pod)

    def _remove_cgroup(self, pod: Object) -> None:
        uid = uid_of(pod)
        for qos in ("Guaranteed", "Burstable", "BestEffort"):
            try:
                self._node.cgroups.remove(self._node.cgroups.path_of(qos, uid))
            except OSError as error:
                log.warning("pod cgroup stays uid=%s error=%s", uid, error)

    async def remove_everything(self, pod: Object, observed: PodObserved) -> None:
        """Containers, sandboxes, volumes, logs, cgroup. What the API still has is the caller's."""
        node, paths = self._node, self._node.paths(pod)

        def work() -> None:
            remove_pod_directory(paths)
            self._remove_cgroup(pod)

        for container in observed.containers:
            await node.runtime.remove_container(container.status.id)
        for sandbox in observed.sandboxes:
            await node.runtime.stop_sandbox(sandbox.sandbox.id)
            await node.runtime.remove_sandbox(sandbox.sandbox.id)
        await node.volumes.tear_down(paths)
        await trio.to_thread.run_sync(work)

    async def delete_object(self, pod: Object) -> None:
        """The last word of a graceful deletion; it must be this pod, not a namesake."""
        options = DeleteOptions(grace_period_seconds=0, precondition_uid=uid_of(pod))
        try:
            await self._node.verbs.delete(POD, namespace_of(pod), name_of(pod), options)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise


def _target_id(container: Object, observed: PodObserved) -> str:
    """The running container that an ephemeral one is to look into. Raises ConfigProblem while there is none."""
    name = container.get("targetContainerName")
    if not name:
        return ""
    running = next((item for item in observed.named(name) if item.status.state == "RUNNING"), None)
    if running is None:
        raise ConfigProblem(f"unable to find target container {name}")
    return running.status.id


def observed_running(observed: PodObserved, container_id: str) -> bool:
    return any(item.status.id == container_id and item.status.state == "RUNNING" for item in observed.containers)
