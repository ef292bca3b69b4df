"""The agent against real containerd and the real registry: pods live and die."""

from __future__ import annotations

import pytest

from tests.agent.conftest import Node, container

pytestmark = pytest.mark.root


async def test_a_pod_runs_and_goes(node: Node) -> None:
    await node.create("web")
    pod = await node.until_running("web")

    assert pod["status"]["podIP"].startswith("10.199.0.")
    assert pod["status"]["hostIP"] == "127.0.0.1"
    assert pod["status"]["qosClass"] == "BestEffort"
    [status] = pod["status"]["containerStatuses"]
    assert status["ready"] and status["started"] and status["restartCount"] == 0
    assert await node.run_in(pod, "hostname") == "web\n"

    await node.delete("web")
    assert await node.runtime.list_containers() == []
    assert not (node.place.settings.agent_dir / "pods" / pod["metadata"]["uid"]).exists()
    reasons = [reason for reason, _ in await node.events("web")]
    assert reasons[:3] == ["Pulled", "Created", "Started"]
    assert "Killing" in reasons


async def test_a_pod_that_ends_well_has_succeeded(node: Node) -> None:
    await node.create("job", [container("main", "echo done > /dev/termination-log")], restartPolicy="Never")
    pod = await node.until("job", lambda pod: pod["status"]["phase"] == "Succeeded")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "done\n")
