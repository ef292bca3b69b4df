"""Carry out a resize: the kernel's limits of a pod and of its containers; a pod never has less than its parts.

Enters: the pod as allocated and as it is in force, a ResizePod step.
Leaves: limits in the kernel; ResizeProblem when they cannot be set now.
Holds: memory that is in use is never taken away; done twice it changes nothing.
Next: containerd, agent.cgroups.
"""

from __future__ import annotations

import trio

from edgekube.agent.context import NodeContext
from edgekube.agent.podspec import container_named
from edgekube.agent.problems import ResizeProblem
from edgekube.agent.resize import at_most_of, too_small
from edgekube.agent.resources import container_resources, pod_resources, qos_class
from edgekube.agent.steps import ResizePod
from edgekube.api.objects import Object, uid_of
from edgekube.containerd.model import RuntimeFailure


async def resize_pod(node: NodeContext, pod: Object, before: Object, step: ResizePod) -> None:
    """``before``: the pod with what is in force. ResizeProblem when the new limits cannot be set now."""
    old, new = pod_resources(before, node.machine), pod_resources(pod, node.machine)
    path = node.cgroups.path_of(qos_class(pod), uid_of(pod))
    changes = []
    for name, container_id in step.containers:
        container, was = container_named(pod, name), container_named(before, name)
        if container is not None and was is not None:
            resources = container_resources(pod, container, node.machine)
            changes.append((name, container_id, container_resources(before, was, node.machine), resources))

    def check() -> list[str]:
        found = [too_small(old, new, node.cgroups.usage(path), "pod")]
        for name, container_id, was, wanted in changes:
            found.append(too_small(was, wanted, node.cgroups.usage(f"{path}/{container_id}"), f'container "{name}"'))
        return [each for each in found if each]

    if errors := await trio.to_thread.run_sync(check):
        listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
        raise ResizeProblem(f"cannot decrease memory limits: {listed}")
    try:
        # A pod never has less than its containers, neither before nor after.
        await trio.to_thread.run_sync(node.cgroups.make, path, at_most_of(old, new))
        for _, container_id, _, resources in changes:
            await node.runtime.update_resources(container_id, resources)
        await trio.to_thread.run_sync(node.cgroups.make, path, new)
    except RuntimeFailure as failure:
        raise ResizeProblem(failure.message) from None
    except OSError as error:
        raise ResizeProblem(str(error)) from None
