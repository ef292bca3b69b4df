"""Devices in containers of real containerd: a plugin's and the board's, without privileges, across a restart of the agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.api.board_devices import parse
from edgekube.api.kinds import NODE
from edgekube.api.objects import Object
from tests.agent.conftest import Node, Place, a_node, container
from tests.agent.devices.plugin import VendorPlugin, given

pytestmark = pytest.mark.root

LAMP, ZERO = "vendor.example/lamp", "edgekube.io/zero"


@asynccontextmanager
async def a_board(place: Place, database: Path) -> AsyncIterator[Node]:
    declared = parse(f"{ZERO}=/dev/zero;share=2;permissions=r;as=/dev/board-zero")
    async with a_node(Place(replace(place.settings, devices=(declared,)), place.base), database) as node:
        await node.start()
        yield node
        await node.stop()


async def until_shown(node: Node, **amounts: str) -> None:
    async def shown() -> bool:
        allocatable = (await node.verbs.get(NODE, "", "edge-1"))["status"]["allocatable"]
        return all(allocatable.get(name) == amount for name, amount in amounts.items())

    await node.eventually(shown)


def asking(script: str, **devices: int) -> Object:
    limits = {name: str(count) for name, count in devices.items()}
    return container("main", script, resources={"limits": limits}, securityContext={"runAsUser": 1000, "runAsGroup": 1000})


async def test_devices_without_privileges(place: Place, tmp_path: Path) -> None:
    async with a_board(place, tmp_path / "state.db") as node:
        sockets = node.place.settings.device_plugins_dir
        plugin = VendorPlugin(sockets)
        plugin.answer = given({"/lamp": str(tmp_path)}, {"/dev/lamp": "/dev/zero"}, {"lamp.example/state": "on"}, LAMPS="a")
        (tmp_path / "note").write_text("hello\n")
        tmp_path.chmod(0o755)
        plugin.start()
        plugin.offer(a=True)
        await trio.to_thread.run_sync(plugin.register)
        await until_shown(node, **{LAMP: "1", ZERO: "2"})

        read = "head -c 4 /dev/lamp | wc -c; head -c 5 $EDGEKUBE_DEVICE_ZERO | wc -c; cat /lamp/note; echo $LAMPS; sleep 1000"
        await node.create("lit", [asking(read, **{LAMP: 1, ZERO: 1})])
        pod = await node.until_running("lit")
        [told] = (await node.pod("lit"))["status"]["containerStatuses"]
        assert {
            item["name"]: [device["health"] for device in item["resources"]] for item in told["allocatedResourcesStatus"]
        } == {
            LAMP: ["Healthy"],
            ZERO: ["Healthy"],
        }
        assert await log_of(node, pod) == ["4", "5", "hello", "a"]
        [made] = [row for row in await node.runtime.list_containers() if row.labels["io.kubernetes.pod.name"] == "lit"]
        assert made.annotations["lamp.example/state"] == "on"
        # The device node is the user's, with the permissions that were declared.
        assert (await node.run_in(pod, "stat", "-c", "%u %g", "/dev/board-zero")) == "1000 1000\n"

        await node.create("dark", [asking("sleep 1000", **{LAMP: 1})])
        refused = await node.until("dark", lambda pod: pod["status"]["phase"] == "Failed")
        assert (refused["status"]["reason"], refused["status"]["message"]) == (
            "UnexpectedAdmissionError",
            "Pod was rejected: Allocate failed due to requested number of devices unavailable for "
            f"{LAMP}. Requested: 1, Available: 0, which is unexpected",
        )

        # As kill -9 does; the plugin registers again when the socket is new.
        await node.stop()
        await node.start()
        await trio.to_thread.run_sync(plugin.stop)
        again = VendorPlugin(sockets)
        again.start()
        again.offer(a=True)
        await trio.to_thread.run_sync(again.register)
        await until_shown(node, **{LAMP: "1"})
        assert [item["restartCount"] for item in (await node.pod("lit"))["status"]["containerStatuses"]] == [0]
        await node.delete("lit")
        await node.create("next", [asking("sleep 1000", **{LAMP: 1})])
        await node.until_running("next")
        assert again.calls == [("Allocate", ("a",))]
        await node.delete("next")
        await trio.to_thread.run_sync(again.stop)


async def log_of(node: Node, pod: Any) -> list[str]:
    """What the container printed, once it sleeps."""
    metadata = pod["metadata"]
    folder = node.place.settings.pod_logs_dir / f"default_{metadata['name']}_{metadata['uid']}"
    lines: list[str] = []

    async def printed() -> bool:
        lines[:] = [line.split(" ", 3)[3] for line in (folder / "main" / "0.log").read_text().splitlines()]
        return len(lines) == 4

    await node.eventually(printed)
    return lines
