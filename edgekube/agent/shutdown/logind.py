"""Hold up the machine's shutdown until its pods have ended, through systemd-logind.

Enters: PrepareForShutdown of logind; the node's pods and rules.
Leaves: an inhibitor lock of mode delay while nothing happens; then pods ended as Failed with reason Terminated, group by group,
and the lock given back. Meanwhile the node is not Ready and takes no pods.
Holds: where there is no system bus or no logind, nothing is done and nothing waits; a bus that goes away is connected to again.
logind's own bound (5 s by default) is raised in /run, so that nothing is left on the disk. Any user of the machine may send
a signal on the system's bus: it is logind's if the bus says that the sender has logind's name.
Source: systemd, "Inhibitor Locks"; Kubernetes documentation, "Node Shutdowns".
Next: agent.worker ends the pods.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from edgekube.agent.node_state import NodeState
from edgekube.agent.shutdown import dbus
from edgekube.agent.shutdown.groups import DROP_IN, MESSAGE, REASON, grace_of, groups_of, total_seconds
from edgekube.agent.worker import PodWorker
from edgekube.limits import LOGIND_RETRY_SECONDS, SHUTDOWN_STATUS_SECONDS
from edgekube.node_rules import NodeRules

log = logging.getLogger("edgekube.agent")

SYSTEM_BUS: Final = "/run/dbus/system_bus_socket"
_BUS: Final = "org.freedesktop.DBus"
_LOGIN: Final = "org.freedesktop.login1"
_PATH: Final = "/org/freedesktop/login1"
_MANAGER: Final = "org.freedesktop.login1.Manager"
_SIGNAL: Final = f"type='signal',interface='{_MANAGER}',member='PrepareForShutdown',path='{_PATH}'"


class ShutdownWatch:
    def __init__(
        self,
        state: NodeState,
        rules: NodeRules,
        workers: Callable[[], Iterable[PodWorker]],
        *,
        bus: str = SYSTEM_BUS,
        drop_in: Path = DROP_IN,
    ) -> None:
        self._state = state
        self._rules = rules
        self._workers = workers
        self._bus = bus
        self._drop_in = drop_in
        self._lock: int | None = None
        #: The bus's own name of logind, which stands in its messages.
        self._speaker = ""
        #: Set while the lock is held: tests wait for it.
        self.held = trio.Event()

    async def run(self) -> None:
        """For ever, or until it is known that there is nothing to do."""
        if total_seconds(self._rules) <= 0:
            return
        if not Path(self._bus).exists():
            log.info("graceful shutdown=off reason=no-system-bus path=%s", self._bus)
            return
        while not await self._watched():  # noqa: ASYNC110 (it is another program that must come back)
            await trio.sleep(LOGIND_RETRY_SECONDS)

    async def _watched(self) -> bool:
        """Until the bus goes away. True when there is nothing that could be watched."""
        failures: list[Exception] = []
        try:
            await self._watch()
        except* (OSError, dbus.BusError) as group:
            failures = leaves_of(group)
        finally:
            self._release()
        absent = any(isinstance(failure, dbus.BusError) and "ServiceUnknown" in str(failure) for failure in failures)
        if absent:
            log.info("graceful shutdown=off reason=no-logind")
        else:
            log.warning("graceful shutdown=waiting error=%s", failures[0] if failures else "the bus ended")
        return absent

    async def _watch(self) -> None:
        self._speaker = ""  # a bus that was started anew gives its names to others
        async with dbus.connect(self._bus) as bus, trio.open_nursery() as nursery:
            send, signals = trio.open_memory_channel[bool](8)
            others_send, others = trio.open_memory_channel[tuple[str, bool]](1)
            nursery.start_soon(self._read, bus, send, others_send)
            await bus.call(_BUS, "/org/freedesktop/DBus", _BUS, "Hello")
            await bus.call(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", _SIGNAL)
            await self._raise_bound(bus)  # which starts logind where it is not
            await self._inhibit(bus)
            self._speaker = await self._owner(bus)
            nursery.start_soon(self._hear_others, bus, others, send)
            async for going in signals:
                if going:
                    await self._shut_down()
                else:
                    log.info("shutdown was called off")
                    self._state.shut_down(False)
                    await self._inhibit(bus)

    async def _owner(self, bus: dbus.Bus) -> str:
        reply = await bus.call(_BUS, "/org/freedesktop/DBus", _BUS, "GetNameOwner", _LOGIN)
        return dbus.read_string(reply.body)

    async def _read(
        self, bus: dbus.Bus, send: trio.MemorySendChannel[bool], others: trio.MemorySendChannel[tuple[str, bool]]
    ) -> None:
        while True:
            message = await bus.receive()
            message.close()
            if message.kind == dbus.SIGNAL and message.member == "PrepareForShutdown" and message.signature == "b":
                going = dbus.read_boolean(message.body)
                with suppress(trio.WouldBlock):  # more than anybody means
                    if message.sender == self._speaker:
                        send.send_nowait(going)
                    else:
                        others.send_nowait((message.sender, going))

    async def _hear_others(
        self, bus: dbus.Bus, others: trio.MemoryReceiveChannel[tuple[str, bool]], send: trio.MemorySendChannel[bool]
    ) -> None:
        """Anybody on the bus may say so. Is it logind, started anew?"""
        told = False
        async for sender, going in others:
            self._speaker = await self._owner(bus)
            if sender == self._speaker:
                await send.send(going)
            elif not told:
                log.warning("a signal in logind's name was not logind's sender=%s", sender)
                told = True

    async def _inhibit(self, bus: dbus.Bus) -> None:
        self._release()
        why = "Pods come to their end before the machine does"
        reply = await bus.call(_LOGIN, _PATH, _MANAGER, "Inhibit", "shutdown", "edgekube", why, "delay")
        if not reply.descriptors:
            raise dbus.BusError("logind gave no lock")
        self._lock = reply.descriptors.pop(0)
        reply.close()
        self.held.set()
        log.info("graceful shutdown=on seconds=%d", total_seconds(self._rules))

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            self.held = trio.Event()

    async def _raise_bound(self, bus: dbus.Bus) -> None:
        wanted = total_seconds(self._rules)
        if await self._bound(bus) >= wanted:
            return
        text = f"[Login]\nInhibitDelayMaxSec={wanted:.0f}\n"
        try:
            await trio.to_thread.run_sync(self._write_bound, text)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("logind's bound stays error=%s", error)
            return
        if await self._bound(bus) < wanted:
            log.warning("logind waits less long than pods may take: set InhibitDelayMaxSec=%d in logind.conf", wanted)

    async def _bound(self, bus: dbus.Bus) -> float:
        reply = await bus.call(_LOGIN, _PATH, "org.freedesktop.DBus.Properties", "Get", _MANAGER, "InhibitDelayMaxUSec")
        return dbus.read_variant_number(reply.body) / 1e6

    def _write_bound(self, text: str) -> None:
        self._drop_in.parent.mkdir(parents=True, exist_ok=True)
        self._drop_in.write_text(text)
        subprocess.run(["systemctl", "kill", "-s", "HUP", "systemd-logind.service"], check=True, capture_output=True, timeout=30)

    async def _shut_down(self) -> None:
        log.warning("the machine shuts down: pods end first")
        self._state.shut_down(True)
        try:
            with trio.move_on_after(total_seconds(self._rules)):
                await end_pods(self._workers, self._rules)
        finally:
            self._release()
        log.warning("pods have ended, the machine may go down")


def leaves_of(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    return [leaf for item in group.exceptions for leaf in (leaves_of(item) if isinstance(item, BaseExceptionGroup) else [item])]


async def end_pods(workers: Callable[[], Iterable[PodWorker]], rules: NodeRules) -> None:
    """Group by group, each for no longer than its time."""
    here = {worker.uid: worker for worker in workers() if worker.holds_resources()}
    ended: list[PodWorker] = []
    for group in groups_of((worker.pod() for worker in here.values()), rules):
        log.info("ending pods priority=%d count=%d seconds=%d", group.priority, len(group.pods), group.grace_seconds)
        members = [(pod, here[pod["metadata"]["uid"]]) for pod in group.pods]
        for pod, worker in members:
            condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": MESSAGE}
            worker.end(REASON, MESSAGE, condition=condition, grace_seconds=grace_of(pod, group))
        with trio.move_on_after(group.grace_seconds) as patience:
            for _, worker in members:
                await worker.ended.wait()
        if patience.cancelled_caught:
            log.warning("pods outlive the time of their group priority=%d", group.priority)
        ended += [worker for _, worker in members]
    with trio.move_on_after(SHUTDOWN_STATUS_SECONDS):
        # The API shall hear how they ended before the network goes; what it heard comes back to the worker.
        while not all((worker.pod().get("status") or {}).get("phase") in ("Failed", "Succeeded") for worker in ended):  # noqa: ASYNC110
            await trio.sleep(0.05)
