"""The paths that stand open to strangers: only the table's rows, each within its bound; what they learn of the cluster."""

from __future__ import annotations

from pathlib import Path

import trio

from edgekube import limits
from edgekube.api.cluster_facts import NAME, NAMESPACE, ClusterFacts, facts_from
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.kinds import NAMESPACE as NAMESPACE_KIND
from edgekube.registry.local import LocalVerbs
from edgekube.server.cluster_facts import KeptFacts
from edgekube.server.doors import Door, Doors, answer, body_of
from edgekube.wire.protocol import Request, Responder
from tests.registry.cluster import ADMIN
from tests.server.running import running_api

FACTS = ClusterFacts("", "", "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local", "PEM", ("https://192.0.2.1:6443",))


async def _echo(request: Request, responder: Responder) -> None:
    await answer(request, responder, {"said": await body_of(request)})


async def test_a_stranger_gets_what_the_table_has_and_nothing_else(tmp_path: Path) -> None:
    doors = Doors([Door("echo", frozenset({"POST"}), _echo)])
    async with running_api(tmp_path, doors=lambda registry: doors) as api:
        said = await api.ask("POST", "/edgekube/v1/echo", {"a": 1}, user="")
        assert (said.status, said.json) == (200, {"said": {"a": 1}})
        assert (await api.ask("POST", "/edgekube/v1/echo/deeper", {"a": 1}, user="")).status == 200
        for method, path, status in (
            ("GET", "/edgekube/v1/echo", 405),
            ("GET", "/edgekube/v1/other", 404),
            ("GET", "/edgekube/v1/", 404),
            ("POST", "/edgekube/v1/echoes", 404),
            ("GET", "/edgekube/v2/echo", 401),
            ("GET", "/api/v1/namespaces", 401),
        ):
            refused = await api.ask(method, path, user="")
            assert (refused.status, refused.json["kind"]) == (status, "Status"), path


async def test_a_body_is_an_object_and_bounded(tmp_path: Path) -> None:
    doors = Doors([Door("echo", frozenset({"POST"}), _echo)])
    async with running_api(tmp_path, doors=lambda registry: doors) as api:
        for body, status in ((b"[]", 400), (b"{", 400), (b'{"a":"' + b"x" * limits.DOOR_BODY_BYTES_MAX + b'"}', 413)):
            assert (await api.ask("POST", "/edgekube/v1/echo", body, user="")).status == status


async def test_one_crowded_door_leaves_the_others_open(tmp_path: Path) -> None:
    go_on, inside = trio.Event(), trio.Event()

    async def wait(request: Request, responder: Responder) -> None:
        inside.set()
        await go_on.wait()
        await answer(request, responder, {})

    doors = Doors([Door("slow", frozenset({"GET"}), wait, requests_max=1), Door("echo", frozenset({"POST"}), _echo)])
    async with running_api(tmp_path, doors=lambda registry: doors) as api, trio.open_nursery() as nursery:
        nursery.start_soon(api.ask, "GET", "/edgekube/v1/slow")
        await inside.wait()
        crowded = await api.ask("GET", "/edgekube/v1/slow", user="")
        assert (crowded.status, crowded.headers["retry-after"]) == (429, "1")
        assert (await api.ask("POST", "/edgekube/v1/echo", {}, user="")).status == 200
        go_on.set()
    assert doors._open == {"slow": 0, "echo": 0}


async def test_the_cluster_tells_what_it_is_and_keeps_the_config_map_true(tmp_path: Path) -> None:
    addresses = ["https://192.0.2.1:6443"]

    def facts() -> ClusterFacts:
        return ClusterFacts(**{**{name: getattr(FACTS, name) for name in FACTS.__struct_fields__}, "servers": tuple(addresses)})

    kept: list[KeptFacts] = []

    def doors(registry: object) -> Doors:
        kept.append(KeptFacts(LocalVerbs(registry, ADMIN), facts, lambda: 1_700_000_000.0))  # type: ignore[arg-type]
        return Doors([Door("cluster", frozenset({"GET"}), kept[0].serve)])

    async with running_api(tmp_path, doors=doors) as api:
        await kept[0].prepare()
        told = (await api.ask("GET", "/edgekube/v1/cluster", user="")).json
        uid = (await api.verbs.get(NAMESPACE_KIND, "", "kube-system"))["metadata"]["uid"]
        assert told["clusterId"] == uid and told["name"] == f"edgekube-{uid[:8]}" and told["caBundle"] == "PEM"
        assert told["time"] == "2023-11-14T22:13:20Z"
        config_map = await api.verbs.get(CONFIGMAP, NAMESPACE, NAME)
        assert facts_from(config_map["data"]) == kept[0].current()

        # A person names the cluster and bends something that is not his; the address changes.
        config_map["data"] |= {"cluster-name": "shed", "ca.crt": "mine"}
        await api.verbs.update(CONFIGMAP, config_map)
        addresses[0] = "https://192.0.2.9:6443"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept[0].run)
            kept[0].changed()
            with trio.fail_after(60):
                while (mended := await api.verbs.get(CONFIGMAP, NAMESPACE, NAME))["data"]["ca.crt"] != "PEM":
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert (mended["data"]["cluster-name"], mended["data"]["servers"]) == ("shed", "https://192.0.2.9:6443")
