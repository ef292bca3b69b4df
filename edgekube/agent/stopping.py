"""End one container: its preStop hook, its signal, and SIGKILL when the time is over.

Enters: a step of the plan, the container's pod and addresses.
Leaves: the container's end; events; RuntimeFailure when containerd could not.
Holds: a hook is waited for within the grace period, and goes on for as long as the container does: nobody but the container's end
ends it. However little time there was, the container has STOP_SECONDS_MIN between its signal and SIGKILL (as upstream).
Next: agent.lifecycle, containerd.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from edgekube.agent.context import NodeContext
from edgekube.agent.lifecycle import HookFailed, run_hook
from edgekube.agent.podspec import container_named, field_path
from edgekube.agent.steps import KillContainer, PreStop
from edgekube.api.objects import Object, name_of
from edgekube.containerd.model import RuntimeFailure

log = logging.getLogger("edgekube.agent")

STOP_SECONDS_MIN: Final = 2


async def end_container(
    node: NodeContext, pod: Object, step: KillContainer, addresses: tuple[str, ...], *, running: bool
) -> None:
    began = trio.current_time()
    lifecycle = (container_named(pod, step.name) or {}).get("lifecycle") or {}
    hook_over = trio.Event()
    failure: RuntimeFailure | None = None
    async with trio.open_nursery() as nursery:
        if not step.hook_done:
            _announce(node, pod, step)
        if lifecycle.get("preStop") and running and not step.hook_done and step.grace_seconds > 0:
            nursery.start_soon(_run, node, pod, step, addresses, hook_over)
            with trio.move_on_after(step.grace_seconds):
                await hook_over.wait()
            if not hook_over.is_set():
                log.info("preStop hook outlives the grace period pod=%s container=%s", name_of(pod), step.name)
        else:
            hook_over.set()
        left_seconds = step.grace_seconds - int(trio.current_time() - began)
        signal = lifecycle.get("stopSignal") or ""
        node.observer.ends(step.container_id)
        try:
            await node.runtime.stop_container(step.container_id, max(STOP_SECONDS_MIN, left_seconds), signal)
        except RuntimeFailure as error:
            failure = error
        if not hook_over.is_set():
            hook_failed(node, pod, step)
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def pre_stop(node: NodeContext, pod: Object, step: PreStop, addresses: tuple[str, ...]) -> None:
    """Until it is through. The caller cancels it when its container has ended."""
    _announce(node, pod, step)
    await _run(node, pod, step, addresses, trio.Event())


def hook_failed(node: NodeContext, pod: Object, step: KillContainer | PreStop) -> None:
    """What a hook printed may be secret, and events are read by many."""
    node.event(pod, "Warning", "FailedPreStopHook", "PreStopHook failed", field_path(pod, step.name))


def _announce(node: NodeContext, pod: Object, step: KillContainer | PreStop) -> None:
    node.event(pod, "Normal", "Killing", step.message, field_path(pod, step.name))


async def _run(
    node: NodeContext, pod: Object, step: KillContainer | PreStop, addresses: tuple[str, ...], over: trio.Event
) -> None:
    container = container_named(pod, step.name) or {}
    hook = (container.get("lifecycle") or {}).get("preStop") or {}
    try:
        await run_hook(node.runtime, hook, container, step.container_id, addresses[0] if addresses else "")
    except HookFailed as failed:
        log.info("preStop hook failed pod=%s container=%s error=%s", name_of(pod), step.name, failed)
        hook_failed(node, pod, step)
    over.set()
