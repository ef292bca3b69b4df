"""The graph follows what is stored, and forgets with the next list what went while nobody told."""

from __future__ import annotations

from pathlib import Path

import orjson
import trio

from edgekube.admission.node_graph import NodeGraph
from edgekube.api.kinds import KINDS, POD, SECRET
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions, WatchEvent
from edgekube.registry.local import LocalVerbs
from edgekube.server.node_graph import follow_node_graph, followed_by
from tests.registry.cluster import ADMIN, default_account, open_registry, pod


def named(name: str, secret: str, node: str, revision: int = 1) -> Object:
    spec = {"nodeName": node, "volumes": [{"secret": {"secretName": secret}}]}
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(revision)}, "spec": spec}


def test_what_is_not_in_a_new_list_is_gone() -> None:
    graph = NodeGraph()
    sink = followed_by(graph)[POD]
    sink.begin()
    sink.add([orjson.dumps(named("a", "one", "pi-1")), orjson.dumps(named("b", "two", "pi-1"))])
    sink.finish(7)
    assert sink.resume_from() == 7
    sink.apply(WatchEvent("MODIFIED", orjson.dumps(named("b", "three", "pi-1", 8))))
    assert [graph.reaches("pi-1", "secrets", "shop", name) for name in ("one", "two", "three")] == [True, False, True]
    sink.begin()
    sink.add([orjson.dumps(named("b", "three", "pi-1", 8))])
    assert graph.reaches("pi-1", "secrets", "shop", "one"), "what stands stays until the list is whole"
    sink.finish(20)
    assert [graph.reaches("pi-1", "secrets", "shop", name) for name in ("one", "three")] == [False, True]
    sink.apply(WatchEvent("DELETED", orjson.dumps(named("b", "three", "pi-1", 21))))
    assert graph == NodeGraph()
    assert sink.resume_from() == 21


async def test_pods_volumes_and_attachments_are_followed(tmp_path: Path) -> None:
    volume_kind, attachment_kind = KINDS.by_kind("v1", "PersistentVolume"), KINDS.by_kind("storage.k8s.io/v1", "VolumeAttachment")
    assert volume_kind is not None and attachment_kind is not None
    async with open_registry(tmp_path / "state.db") as registry, trio.open_nursery() as nursery:
        verbs, graph = LocalVerbs(registry, ADMIN), NodeGraph()
        await default_account(registry)
        await verbs.create(SECRET, "default", {"metadata": {"name": "s"}})
        claim = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        await verbs.create(POD, "default", pod("early", nodeName="pi-1", volumes=claim))
        await nursery.start(lambda task_status: follow_node_graph(verbs, graph, task_status=task_status))
        assert graph.reaches("pi-1", "persistentvolumeclaims", "default", "data"), "known from the start"
        volume: Object = {
            "metadata": {"name": "disk"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/data"},
                "claimRef": {"namespace": "default", "name": "data"},
            },
        }
        await verbs.create(volume_kind, "", volume)
        attachment: Object = {
            "metadata": {"name": "va"},
            "spec": {"attacher": "csi.example.com", "nodeName": "pi-2", "source": {"persistentVolumeName": "disk"}},
        }
        await verbs.create(attachment_kind, "", attachment)
        with trio.fail_after(60):
            while not (
                graph.reaches("pi-1", "persistentvolumes", "", "disk") and graph.reaches("pi-2", "volumeattachments", "", "va")
            ):
                await trio.lowlevel.checkpoint()
            assert not graph.reaches("pi-2", "persistentvolumes", "", "disk")
            await verbs.delete(POD, "default", "early", DeleteOptions(grace_period_seconds=0))
            while graph.reaches("pi-1", "persistentvolumes", "", "disk"):
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
