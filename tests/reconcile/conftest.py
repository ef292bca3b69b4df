"""A real API for the loops: registry on SQLite, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.api.kinds import NAMESPACE, NODE, POD, Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH, UserInfo
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.store.sqlite import open_store

USER = UserInfo("system:edgekube", groups=("system:masters",))


class Api:
    """The verbs, and a few sentences to say with them."""

    def __init__(self, verbs: LocalVerbs) -> None:
        self.verbs = verbs

    async def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        return (await self.verbs.list(kind, namespace)).objects()

    async def node(self, name: str, cpu: str = "4", pods: int = 110) -> Object:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}}
        await self.verbs.create(NODE, "", node)
        amounts = {"cpu": cpu, "memory": "8Gi", "pods": str(pods)}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
        patch = {"status": {"allocatable": amounts, "capacity": amounts, "conditions": [ready]}}
        return await self.verbs.patch(NODE, "", name, patch, subresource="status")

    async def run_pod(self, pod: Object) -> None:
        """What a node would report."""
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        patch = {"status": {"phase": "Running", "conditions": [condition]}}
        metadata = pod["metadata"]
        await self.verbs.patch(
            POD, metadata["namespace"], metadata["name"], patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"
        )

    async def until(self, true: Callable[[], Any], seconds: float = 120) -> Any:
        """Ask again whenever something is written, until the answer is truthy."""
        with trio.fail_after(seconds):
            while True:
                answer = await true()
                if answer:
                    return answer
                await trio.sleep(0.005)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with open_store(tmp_path / "state.db") as store:
        registry = Registry(store)
        await registry.load()
        verbs = LocalVerbs(registry, USER)
        for name in ("default", "kube-system"):
            await verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield Api(verbs)
