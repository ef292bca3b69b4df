"""The floor: bare CRI calls on a socket, by the runtime's client and nothing else of edgekube's. Prints JSON.

    cri_floor SOCKET CGROUP_PARENT COUNT     pods: sandbox, create, start, then stop and remove; ten alone, then COUNT at once
    cri_floor SOCKET exec SECONDS            a command in each container that runs, once a second

Milliseconds are of the fifth of ten, or of the last of COUNT.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.model import ContainerConfig, DnsConfig, SandboxConfig

IMAGE: Final = "docker.io/library/busybox:1.36"
#: Ends at once when it is told to, although it is PID 1.
POLITE: Final = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
#: A command that leaves a byte, so that it can be counted.
COUNTED: Final = ("sh", "-c", "echo >>/count")


async def pod(runtime: CriRuntime, cgroup_parent: str, logs: str) -> tuple[str, str]:
    uid = str(uuid.uuid4())
    sandbox = SandboxConfig(
        name=f"floor-{uid[:8]}", uid=uid, namespace="floor", attempt=0, hostname="floor", log_directory=logs,
        dns=DnsConfig(), cgroup_parent=f"{cgroup_parent}/floor{uid}",
    )  # fmt: skip
    sandbox_id = await runtime.run_sandbox(sandbox)
    config = ContainerConfig(name="c", attempt=0, image=IMAGE, command=POLITE, log_path="c.log")
    container_id = await runtime.create_container(sandbox_id, config, sandbox)
    await runtime.start_container(container_id)
    return sandbox_id, container_id


async def remove(runtime: CriRuntime, made: tuple[str, str]) -> None:
    await runtime.stop_container(made[1], 1)
    await runtime.stop_sandbox(made[0])
    await runtime.remove_sandbox(made[0])


async def timed(work: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await work
    return round((time.perf_counter() - began) * 1000, 1)


async def together(works: Sequence[Callable[[], Awaitable[Any]]]) -> None:
    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(work)


async def pods(runtime: CriRuntime, cgroup_parent: str, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as logs:
        made: list[tuple[str, str]] = []

        async def one() -> None:
            made.append(await pod(runtime, cgroup_parent, logs))

        async def gone() -> None:
            await remove(runtime, made.pop())

        starts, ends = [], []
        for _ in range(10):
            starts.append(await timed(one()))
            ends.append(await timed(gone()))
        return {
            "start_p50_ms": sorted(starts)[5],
            "end_p50_ms": sorted(ends)[5],
            "at_once": count,
            "last_started_ms": await timed(together([one] * count)),
            "last_gone_ms": await timed(together([gone] * count)),
        }


async def execs(runtime: CriRuntime, seconds: float) -> dict[str, Any]:
    running = [container.id for container in await runtime.list_containers() if container.state == "RUNNING"]
    ends = trio.current_time() + seconds

    async def ask(container_id: str, first_at: float) -> None:
        at = first_at
        while at < ends:
            await trio.sleep_until(at)
            await runtime.exec_sync(container_id, COUNTED, 10)
            at += 1

    began, used = trio.current_time(), time.process_time()
    async with trio.open_nursery() as nursery:
        for number, container_id in enumerate(running):
            nursery.start_soon(ask, container_id, began + number / len(running))
    return {"containers": len(running), "client_cpu_seconds": round(time.process_time() - used, 3)}


async def main() -> None:
    socket, what, count = sys.argv[1], sys.argv[2], sys.argv[3]
    async with connect(socket) as runtime:
        found = await (execs(runtime, float(count)) if what == "exec" else pods(runtime, what, int(count)))
    print(json.dumps(found))


if __name__ == "__main__":
    trio.run(main)
