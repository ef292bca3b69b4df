"""The server's machine has its role from the control plane, and keeps it."""

from __future__ import annotations

from pathlib import Path

import trio

from edgekube.api.kinds import NODE
from edgekube.api.objects import labels_of
from edgekube.api.verbs import ListOptions
from edgekube.reconcile.machine_role import LABEL, keep_machine_role
from edgekube.registry.local import LocalVerbs
from tests.registry.cluster import ADMIN, open_registry


async def until_labelled(verbs: LocalVerbs, name: str) -> None:
    with trio.fail_after(60):
        first = await verbs.list(NODE, "", ListOptions(field_selector=f"metadata.name={name}"))
        if any(LABEL in labels_of(node) for node in first.objects()):
            return
        selection = ListOptions(field_selector=f"metadata.name={name}", revision=first.revision)
        async with verbs.watch(NODE, "", selection) as events:
            async for event in events:
                if event.type != "BOOKMARK" and LABEL in labels_of(event.object()):
                    return


async def test_the_label_comes_with_the_node_and_comes_back(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db") as registry, trio.open_nursery() as nursery:
        verbs = LocalVerbs(registry, ADMIN)
        nursery.start_soon(keep_machine_role, verbs, "pi-1")
        await verbs.create(NODE, "", {"metadata": {"name": "pi-2"}})
        await verbs.create(NODE, "", {"metadata": {"name": "pi-1"}})
        await until_labelled(verbs, "pi-1")
        await verbs.patch(NODE, "", "pi-1", {"metadata": {"labels": {LABEL: None}}})
        await until_labelled(verbs, "pi-1")
        await verbs.delete(NODE, "", "pi-1")
        await verbs.create(NODE, "", {"metadata": {"name": "pi-1"}})
        await until_labelled(verbs, "pi-1")
        assert LABEL not in labels_of(await verbs.get(NODE, "", "pi-2"))
        nursery.cancel_scope.cancel()
