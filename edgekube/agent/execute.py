"""Carry out one step of a pod's plan.

Enters: a step and the pod it belongs to.
Leaves: effects in containerd and on disk, events; PodProblem or RuntimeFailure when it did not work.
Holds: no choices: every step may be done again. A create is always followed to its end, so that no container is left unknown.
Next: containerd, volumes.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import orjson
import trio

from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.container_config import container_config
from edgekube.agent.context import NodeContext
from edgekube.agent.env import make_environment
from edgekube.agent.hosts import hosts_file
from edgekube.agent.lifecycle import HookFailed, run_hook
from edgekube.agent.names import PodPaths
from edgekube.agent.podspec import container_named, containers_of, field_path, init_containers_of, spec_of
from edgekube.agent.problems import ConfigProblem, CreateProblem, HookProblem, RunProblem, VolumeProblem
from edgekube.agent.references import Key, references_of
from edgekube.agent.resources import container_resources, pod_resources, qos_class
from edgekube.agent.sandbox import hostname_of, sandbox_config
from edgekube.agent.state import PodObserved
from edgekube.agent.status import pod_ips
from edgekube.agent.steps import KillContainer, RemoveContainer, ResizeContainer, RunSandbox, StartContainer
from edgekube.agent.volumes.setup import remove_pod_directory, tear_down
from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, POD, SECRET, Kind
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.containerd.model import ContainerConfig, RuntimeFailure, SandboxConfig

log = logging.getLogger("edgekube.agent")

_RUNTIMECLASS: Final = cast(Kind, KINDS.by_resource("node.k8s.io", "v1", "runtimeclasses"))
#: Left to a container whose preStop hook has used up the grace period (as upstream).
GRACE_AFTER_HOOK_SECONDS = 2


class Executor:
    def __init__(self, node: NodeContext) -> None:
        self._node = node

    def _sandbox_config(self, pod: Object, paths: PodPaths, attempt: int) -> SandboxConfig:
        cgroup = self._node.cgroups.path_of(qos_class(pod), uid_of(pod))
        return sandbox_config(pod, self._node.settings, str(paths.logs), cgroup, attempt)

    async def prepare(self, pod: Object, addresses: tuple[str, ...]) -> float | None:
        """Returns when volumes want to be looked at again."""
        node, paths = self._node, self._node.paths(pod)

        def folders() -> None:
            paths.root.mkdir(mode=0o755, parents=True, exist_ok=True)
            paths.logs.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_checkpoint(paths.checkpoint, orjson.dumps(pod))
            try:
                node.cgroups.make(node.cgroups.path_of(qos_class(pod), uid_of(pod)), pod_resources(pod))
            except OSError as error:
                log.warning("pod cgroup cannot be set pod=%s/%s error=%s", namespace_of(pod), name_of(pod), error)

        await trio.to_thread.run_sync(folders)
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
        await trio.to_thread.run_sync(functools.partial(paths.logs.mkdir, mode=0o755, parents=True, exist_ok=True))
        config = self._sandbox_config(pod, paths, step.attempt)
        if name := spec_of(pod).get("runtimeClassName"):
            # Never a weaker runtime than was asked for: without the class, or the handler, the pod waits.
            config = replace(config, runtime_handler=await self._handler(name))
        try:
            return await self._node.runtime.run_sandbox(config)
        except RuntimeFailure as failure:
            self._node.event(pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {failure.message}")
            raise

    async def _handler(self, runtime_class: str) -> str:
        return str((await self._node.verbs.get(_RUNTIMECLASS, "", runtime_class)).get("handler") or "")

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._node.runtime.stop_sandbox(sandbox_id)

    async def remove_sandbox(self, pod: Object, sandbox_id: str, *, changed: bool) -> None:
        if changed:
            self._node.event(pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        await self._node.runtime.stop_sandbox(sandbox_id)
        await self._node.runtime.remove_sandbox(sandbox_id)

    async def _objects(self, pod: Object, *, kinds_of_pulls: bool) -> dict[Key, Object | None]:
        """What the pod names; of pull secrets alone when asked for those."""
        pulls = {item.get("name") for item in spec_of(pod).get("imagePullSecrets") or []}
        found: dict[Key, Object | None] = {}
        for key in references_of(pod):
            kind, namespace, name = key
            if kinds_of_pulls and not (kind is SECRET and name in pulls):
                continue
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

        objects = await self._objects(pod, kinds_of_pulls=True)
        pull_secrets = [secret for secret in objects.values() if secret is not None]
        policy = container.get("imagePullPolicy") or ""
        image = await node.images.ensure(uid_of(pod), container.get("image") or "", policy, pull_secrets, tell)

        addresses = pod_ips(pod, observed, node.host_ips)
        try:
            objects = await self._objects(pod, kinds_of_pulls=False)
            links = spec_of(pod).get("enableServiceLinks") is not False
            services = node.services.environment(namespace_of(pod), links)
            environment = make_environment(pod, container, objects, services, node.around(addresses))
            make_config = functools.partial(
                container_config,
                pod,
                container,
                attempt=step.attempt,
                image=image,
                environment=environment,
                paths=paths,
                memory_capacity_bytes=node.memory_capacity_bytes,
                target_id=_target_id(container, observed),
            )

            def with_files() -> ContainerConfig:
                self._write_hosts(pod, paths, addresses)
                (paths.logs / step.name).mkdir(parents=True, exist_ok=True)
                return make_config()

            config = await trio.to_thread.run_sync(with_files)
        except ConfigProblem as problem:
            tell("Warning", "Failed", f"Error: {problem.message}")
            raise
        if step.attempt:
            # A resize may have asked for this restart.
            await trio.to_thread.run_sync(self._set_pod_cgroup, pod)
        sandbox = self._sandbox_config(pod, paths, observed.sandbox.sandbox.attempt if observed.sandbox else 0)
        with trio.CancelScope(shield=True):
            try:
                container_id = await node.runtime.create_container(step.sandbox_id, config, sandbox)
            except RuntimeFailure as failure:
                node.images.look_again()
                tell("Warning", "Failed", f"Error: {failure.message}")
                raise CreateProblem(failure.message) from None
            tell("Normal", "Created", f"Created container: {step.name}")
            try:
                await node.runtime.start_container(container_id)
            except RuntimeFailure as failure:
                tell("Warning", "Failed", f"Error: {failure.message}")
                raise RunProblem(failure.message) from None
            tell("Normal", "Started", f"Started container {step.name}")
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._post_start(pod, container, container_id, addresses, hook)
        return container_id

    async def _post_start(
        self, pod: Object, container: Object, container_id: str, addresses: tuple[str, ...], hook: Object
    ) -> None:
        name = container["name"]
        try:
            await run_hook(self._node.runtime, hook, container, container_id, addresses[0] if addresses else "")
        except HookFailed as failed:
            self._node.event(pod, "Warning", "FailedPostStartHook", f"PostStartHook failed: {failed}", field_path(pod, name))
            self._node.event(pod, "Normal", "Killing", "FailedPostStartHook", field_path(pod, name))
            await self._node.runtime.stop_container(container_id, GRACE_AFTER_HOOK_SECONDS)
            raise HookProblem(str(failed)) from None

    def _write_hosts(self, pod: Object, paths: PodPaths, addresses: tuple[str, ...]) -> None:
        host = Path("/etc/hosts").read_text() if spec_of(pod).get("hostNetwork") else ""
        text = hosts_file(pod, addresses, hostname_of(pod), self._node.settings, host)
        if not paths.hosts_file.exists() or paths.hosts_file.read_text() != text:
            paths.root.mkdir(parents=True, exist_ok=True)
            paths.hosts_file.write_text(text)
            paths.hosts_file.chmod(0o644)

    async def kill_container(self, pod: Object, observed: PodObserved, step: KillContainer) -> None:
        node = self._node
        node.event(pod, "Normal", "Killing", step.message, field_path(pod, step.name))
        began = trio.current_time()
        container = container_named(pod, step.name)
        hook = ((container or {}).get("lifecycle") or {}).get("preStop")
        if container is not None and hook and observed_running(observed, step.container_id):
            addresses = pod_ips(pod, observed, node.host_ips)
            with trio.move_on_after(step.grace_seconds) as scope:
                try:
                    await run_hook(node.runtime, hook, container, step.container_id, addresses[0] if addresses else "")
                except HookFailed as failed:
                    node.event(pod, "Warning", "FailedPreStopHook", f"PreStopHook failed: {failed}", field_path(pod, step.name))
            if scope.cancelled_caught:
                log.info("preStop hook outlived the grace period pod=%s container=%s", name_of(pod), step.name)
        grace_seconds = round(step.grace_seconds - (trio.current_time() - began))
        await node.runtime.stop_container(
            step.container_id, max(grace_seconds, min(step.grace_seconds, GRACE_AFTER_HOOK_SECONDS))
        )

    def _set_pod_cgroup(self, pod: Object) -> OSError | None:
        try:
            self._node.cgroups.make(self._node.cgroups.path_of(qos_class(pod), uid_of(pod)), pod_resources(pod))
        except OSError as error:
            return error
        return None

    async def resize_container(self, pod: Object, step: ResizeContainer) -> Object:
        """Returns the resources that it has now."""
        node, container = self._node, container_named(pod, step.name)
        if container is None:
            raise ConfigProblem(f"container {step.name} is not in the pod")
        # A pod never has less than its containers: the kernel takes a larger value before theirs, a smaller one after it.
        await trio.to_thread.run_sync(self._set_pod_cgroup, pod)
        await node.runtime.update_resources(step.container_id, container_resources(pod, container, node.memory_capacity_bytes))
        if error := await trio.to_thread.run_sync(self._set_pod_cgroup, pod):
            log.warning("pod cgroup cannot be set pod=%s/%s error=%s", namespace_of(pod), name_of(pod), error)
        node.event(pod, "Normal", "ResizeCompleted", f"Container {step.name} resized", field_path(pod, step.name))
        resources: Object = container.get("resources") or {}
        return resources

    async def remove_container(self, pod: Object, step: RemoveContainer) -> None:
        await self._node.runtime.remove_container(step.container_id)
        if not step.keep_log:
            log_file = self._node.paths(pod).log(step.name, step.attempt)
            for old in log_file.parent.glob(f"{log_file.name}*"):
                old.unlink(missing_ok=True)

    async def release(self, pod: Object) -> None:
        """The pod came to its end: volumes and cgroup go, logs and containers stay for ``kubectl logs``."""
        paths = self._node.paths(pod)

        def work() -> None:
            tear_down(paths)
            self._remove_cgroup(pod)

        await trio.to_thread.run_sync(work)

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
