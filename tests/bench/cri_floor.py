"""Pods by bare CRI calls on the node's own containerd, nothing else: the floor of pod start. argv: socket, cgroup parent, count.

Prints JSON: milliseconds for one pod (p50 of ten) and until the last of ``count`` made at once runs.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid

import trio

from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.model import ContainerConfig, DnsConfig, SandboxConfig

IMAGE = "docker.io/library/busybox:1.36"


async def pod(runtime: CriRuntime, cgroup_parent: str, logs: str) -> str:
    uid = str(uuid.uuid4())
    sandbox = SandboxConfig(
        name=f"floor-{uid[:8]}", uid=uid, namespace="floor", attempt=0, hostname="floor", log_directory=logs,
        dns=DnsConfig(), cgroup_parent=f"{cgroup_parent}/floor{uid}",
    )  # fmt: skip
    sandbox_id = await runtime.run_sandbox(sandbox)
    config = ContainerConfig(name="c", attempt=0, image=IMAGE, command=("sleep", "3600"), log_path="c.log")
    await runtime.start_container(await runtime.create_container(sandbox_id, config, sandbox))
    return sandbox_id


async def main() -> None:
    socket, cgroup_parent, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with tempfile.TemporaryDirectory() as logs:
        async with connect(socket) as runtime:
            made, single = [], []
            for _ in range(10):
                began = time.perf_counter()
                made.append(await pod(runtime, cgroup_parent, logs))
                single.append(time.perf_counter() - began)
            began = time.perf_counter()

            async def one() -> None:
                made.append(await pod(runtime, cgroup_parent, logs))

            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(one)
            last = time.perf_counter() - began
            async with trio.open_nursery() as nursery:
                for sandbox_id in made:
                    nursery.start_soon(remove, runtime, sandbox_id)
    single.sort()
    print(json.dumps({"one_p50_ms": round(single[5] * 1000, 1), "at_once": count, "last_ms": round(last * 1000, 1)}))


async def remove(runtime: CriRuntime, sandbox_id: str) -> None:
    await runtime.stop_sandbox(sandbox_id)
    await runtime.remove_sandbox(sandbox_id)


trio.run(main)
