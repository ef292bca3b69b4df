"""The API is away: what a volume held stays, and what was never written is waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from edgekube.agent import references
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.names import PodPaths
from edgekube.agent.problems import VolumesProblem
from edgekube.agent.references import References
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes.setup import VolumeSetup
from edgekube.api.kinds import CONFIGMAP, PERSISTENTVOLUMECLAIM, Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import EVERYTHING, ListOptions, RawList, Verbs, WatchEvent
from edgekube.limits import AWAY_RETRY_SECONDS

POD: Object = {
    "metadata": {"name": "web", "namespace": "default", "uid": "uid-1"},
    "spec": {
        "containers": [{"name": "main", "volumeMounts": [{"name": "settings", "mountPath": "/s"}]}],
        "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
    },
}


class Api:
    """One ConfigMap, as long as the API answers."""

    def __init__(self) -> None:
        self.away = False

    async def list(self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING) -> RawList:
        if self.away:
            await trio.sleep_forever()
        assert kind is CONFIGMAP
        item = b'{"metadata":{"name":"settings","namespace":"default","resourceVersion":"1"},"data":{"colour":"green"}}'
        return RawList([item], "1")

    @asynccontextmanager
    async def watch(
        self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        send, receive = trio.open_memory_channel[WatchEvent](0)
        async with send, receive:
            yield receive


async def test_what_no_pod_names_any_more_is_not_followed() -> None:
    async with trio.open_nursery() as nursery:
        kept = References(cast(Verbs, Api()), nursery, lambda uid: None)
        kept.keep("uid-1", [(CONFIGMAP, "default", "settings")])
        assert (await kept.get(CONFIGMAP, "default", "settings") or {})["data"] == {"colour": "green"}
        kept.keep("uid-1", ())
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        # A step of a pod that went meanwhile may still ask.
        assert (await kept.get(CONFIGMAP, "default", "settings") or {})["data"] == {"colour": "green"}
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def this_node(*, fresh: bool = False) -> Object:
    return {"metadata": {"name": "edge-1", "labels": {"board": "pi"}}}


def begin(api: Api, nursery: trio.Nursery) -> VolumeSetup:
    """As an agent does that starts."""
    verbs = cast(Verbs, api)
    kept = References(verbs, nursery, lambda uid: None)
    unused = cast(Any, None)
    return VolumeSetup(
        verbs, this_node, kept, TokenSource(verbs), unused, unused, unused, "overlayfs", lambda uid: None, lambda: 1000.0
    )


async def test_what_was_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "ANSWER_SECONDS", 0.05)
    paths, api = PodPaths(tmp_path, tmp_path / "logs", "default", "web", "uid-1"), Api()
    async with trio.open_nursery() as nursery:
        api.away = True
        with pytest.raises(VolumesProblem, match="the API does not answer about configmap default/settings"):
            await begin(api, nursery).set_up(POD, paths, Surroundings())
        api.away = False
        monkeypatch.setattr(references, "ANSWER_SECONDS", 60.0)
        assert await begin(api, nursery).set_up(POD, paths, Surroundings()) is None
        api.away = True
        monkeypatch.setattr(references, "ANSWER_SECONDS", 0.05)
        again = begin(api, nursery)
        assert await again.set_up(POD, paths, Surroundings()) == 1000.0 + AWAY_RETRY_SECONDS
        path = Path(again.mounted("uid-1")["settings"].path)
        assert (path / "colour").read_text() == "green"
        nursery.cancel_scope.cancel()


class Claims(Api):
    """A bound claim; its volume is told when somebody lets go of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.told = trio.Event(), trio.Event()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        if kind is PERSISTENTVOLUMECLAIM:
            spec = {"volumeName": "disk", "accessModes": ["ReadWriteOnce"]}
            return {"metadata": {"name": name, "namespace": namespace, "uid": "c"}, "spec": spec, "status": {"phase": "Bound"}}
        self.asked.set()
        await self.told.wait()
        terms = [{"matchExpressions": [{"key": "board", "operator": "In", "values": ["pi"]}]}]
        claim = {"name": "data", "namespace": "default", "uid": "c"}
        affinity = {"required": {"nodeSelectorTerms": terms}}
        return {"metadata": {"name": name}, "spec": {"hostPath": {"path": "/"}, "claimRef": claim, "nodeAffinity": affinity}}


async def test_a_pod_that_ends_while_its_volume_is_looked_at(tmp_path: Path) -> None:
    paths, api = PodPaths(tmp_path, tmp_path / "logs", "default", "web", "uid-1"), Claims()
    paths.root.mkdir(parents=True)
    container = {"name": "main", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    pod: Object = {"metadata": POD["metadata"], "spec": {"containers": [container], "volumes": volumes}}
    async with trio.open_nursery() as nursery:
        setup = begin(api, nursery)
        nursery.start_soon(setup.set_up, pod, paths, Surroundings())
        await api.asked.wait()
        await setup.tear_down(paths)
        api.told.set()
    assert setup.mounted("uid-1") == {}
