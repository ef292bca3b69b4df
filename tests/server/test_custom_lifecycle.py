"""Custom kinds from kubectl's side, and their end: owners, namespaces and definitions that go."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from edgekube.reconcile import custom_scales
from edgekube.reconcile.emptying import NamespaceEmptier
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.garbage import GarbageCollector
from edgekube.reconcile.instances import InstanceCleaner
from edgekube.reconcile.recorder import Recorder
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from tests.registry.cluster import ADMIN
from tests.server.custom import DEFINITIONS, custom, definition, path
from tests.server.kubectl import Kubectl
from tests.server.running import Api
from tests.server.secured import secured_api

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.harbour.example.com}
spec:
  group: harbour.example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt], categories: [fleet]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.crew, statusReplicasPath: .status.crew}}
    additionalPrinterColumns:
    - {name: Crew, type: integer, jsonPath: .spec.crew}
    - {name: Sail, type: string, jsonPath: .spec.sail, priority: 1}
    selectableFields: [{jsonPath: .spec.sail}]
    schema:
      openAPIV3Schema:
        type: object
        description: A boat and its crew.
        properties:
          spec:
            type: object
            required: [crew]
            properties:
              crew: {type: integer, minimum: 1, description: How many sail it.}
              sail: {type: string, default: white}
          status: {type: object, properties: {crew: {type: integer}}}
"""
#: Half of what the boat's scale says must stay.
CREW = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: %(kind)s}
spec: {minAvailable: "50%%", selector: {matchLabels: {kind: %(kind)s}}}
---
apiVersion: v1
kind: Pod
metadata:
  name: %(kind)s
  labels: {kind: %(kind)s}
  ownerReferences: [{apiVersion: %(version)s, kind: %(Kind)s, name: %(name)s, uid: %(uid)s, controller: true}]
spec: {automountServiceAccountToken: false, containers: [{name: a, image: b}]}
"""
BOAT = "apiVersion: harbour.example.com/v1\nkind: Boat\nmetadata: {name: %s}\nspec: {crew: %s}\n"


@asynccontextmanager
async def loops(registry: Registry) -> AsyncIterator[None]:
    """The controllers that custom objects meet."""
    verbs, kinds = LocalVerbs(registry, ADMIN), registry.kinds.stored_rows
    async with trio.open_nursery() as nursery:
        collector = GarbageCollector(verbs, kinds, Recorder(verbs))
        await nursery.start(collector.run)
        registry.kinds.changed.append(collector.refresh)
        nursery.start_soon(NamespaceEmptier(verbs, kinds).run)
        await nursery.start(
            Engine(verbs, [custom_scales.controller(verbs, registry.kinds.by_kind)], recorder=Recorder(verbs)).run
        )
        nursery.start_soon(InstanceCleaner(verbs, kinds).run)
        yield
        registry.kinds.changed.remove(collector.refresh)
        nursery.cancel_scope.cancel()


async def until(true: Callable[[], Awaitable[Any]]) -> None:
    with trio.fail_after(60):
        while not await true():  # noqa: ASYNC110 - a question over HTTP: nobody here could set an event
            await trio.sleep(0.01)


async def test_kubectl_takes_a_custom_kind_for_one_of_its_own(tmp_path: Path, kubectl: Kubectl) -> None:
    async with secured_api(tmp_path) as secured, loops(secured.registry):

        async def run(*arguments: str, stdin: str = "", check: bool = True) -> str:
            return await kubectl(secured, *arguments, stdin=stdin, check=check)

        assert "created" in await run("apply", "-f", "-", stdin=DEFINITION)
        waited = await run("wait", "--for=condition=Established", "crd/boats.harbour.example.com", "--timeout=90s")
        assert "condition met" in waited
        assert "created" in await run("apply", "-f", "-", stdin=BOAT % ("ann", 2))
        table = (await run("get", "bt")).splitlines()
        assert (table[0].split(), table[1].split()[:2]) == (["NAME", "CREW"], ["ann", "2"])
        wide = await run("get", "fleet", "-o", "wide")
        assert "white" in wide
        assert "boat.harbour.example.com/ann configured" in await run("apply", "-f", "-", stdin=BOAT % ("ann", 3))
        refused = await run("apply", "-f", "-", stdin=BOAT % ("bad", "none"), check=False)
        assert 'spec.crew: Invalid value: "string": spec.crew in body must be of type integer: "string"' in refused
        unknown = await run("create", "-f", "-", stdin=BOAT % ("odd", "1, keel: deep"), check=False)
        assert 'strict decoding error: unknown field "spec.keel"' in unknown
        assert "scaled" in await run("scale", "boat/ann", "--replicas=7")
        assert (await run("get", "boat", "ann", "-o", "jsonpath={.spec.crew}")) == "7"
        uid = await run("get", "boat", "ann", "-o", "jsonpath={.metadata.uid}")
        await run("create", "serviceaccount", "default", check=False)
        account = await run("get", "serviceaccount", "default", "-o", "jsonpath={.metadata.uid}")
        crews = [("boat", "harbour.example.com/v1", "Boat", "ann", uid), ("other", "v1", "ServiceAccount", "default", account)]
        for kind, version, name_of_kind, name, owner in crews:
            crew = {"kind": kind, "version": version, "Kind": name_of_kind, "name": name, "uid": owner}
            await run("apply", "-f", "-", stdin=CREW % crew)
        numbers = "jsonpath={.status.expectedPods} {.status.desiredHealthy} {.status.conditions[0].message}"

        async def counted() -> bool:
            return (await run("get", "pdb", "boat", "-o", numbers)).split() == ["7", "4"]

        async def refused_by_kind() -> bool:
            told = await run("get", "pdb", "other", "-o", numbers)
            return told == "0 0 serviceaccounts does not implement the scale subresource"

        await until(counted)
        await until(refused_by_kind)
        await run("delete", "pod,pdb", "--all", "--force")
        assert "patched" in await run("patch", "boat", "ann", "--type=merge", "-p", '{"spec":{"sail":"red"}}')
        assert (await run("get", "boats", "--field-selector", "spec.sail=red", "-o", "name")).strip() == (
            "boat.harbour.example.com/ann"
        )
        assert "NotFound" in await run("get", "boat", "none", check=False)
        assert "How many sail it." in await run("explain", "boat.spec.crew")
        assert "labeled" in await run("label", "boat", "ann", "a=b")
        assert "Crew:" in await run("describe", "boat", "ann")
        resources = await run("api-resources", "--api-group=harbour.example.com", "--no-headers")
        assert resources.split() == ["boats", "bt", "harbour.example.com/v1", "true", "Boat"]
        assert "deleted" in await run("delete", "crd", "boats.harbour.example.com", "--timeout=90s")
        assert "the server could not find the requested resource" in await run("get", "boats", check=False)


async def test_a_definition_waits_for_instances_that_hold_out(api: Api) -> None:
    async with loops(api.registry):
        await api.ask("POST", DEFINITIONS, definition())
        body = custom("Widget", "held")
        body["metadata"]["finalizers"] = ["example.com/hold"]
        await api.ask("POST", path("widgets"), body)
        await api.ask("POST", path("widgets"), custom("Widget", "free"))
        name = f"{DEFINITIONS}/widgets.stable.example.com"
        await api.ask("DELETE", name)

        async def waits() -> bool:
            crd = (await api.ask("GET", name)).json
            conditions = {one["type"]: one["reason"] for one in crd["status"]["conditions"]}
            return bool(conditions["Terminating"] == "InstanceDeletionCheck")

        await until(waits)
        items = (await api.ask("GET", path("widgets"))).json["items"]
        assert [item["metadata"]["name"] for item in items] == ["held"]
        merge = "application/merge-patch+json"
        let = await api.ask("PATCH", path("widgets", "held"), {"metadata": {"finalizers": None}}, content_type=merge)
        assert let.status == 200, let.text

        async def gone() -> bool:
            return (await api.ask("GET", name)).status == 404

        await until(gone)
        assert (await api.ask("GET", path("widgets"))).status == 404
        assert (await api.ask("POST", DEFINITIONS, definition())).status == 201
        assert (await api.ask("GET", path("widgets"))).json["items"] == []


async def test_custom_objects_own_and_are_owned(api: Api) -> None:
    async with loops(api.registry):
        await api.ask("POST", DEFINITIONS, definition())
        owner = (await api.ask("POST", path("widgets"), custom("Widget", "owner"))).json
        reference = {"apiVersion": owner["apiVersion"], "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"]}
        dependent = custom("Widget", "dependent")
        config: dict[str, Any] = {"metadata": {"name": "config"}}
        for obj, where in ((dependent, path("widgets")), (config, "/api/v1/namespaces/default/configmaps")):
            obj["metadata"]["ownerReferences"] = [reference]
            made = await api.ask("POST", where, obj)
            assert made.status == 201, made.text
        assert (await api.ask("DELETE", path("widgets", "owner"))).status == 200

        async def collected() -> bool:
            left = (await api.ask("GET", path("widgets"))).json["items"]
            return not left and (await api.ask("GET", "/api/v1/namespaces/default/configmaps/config")).status == 404

        await until(collected)


async def test_a_namespace_takes_its_custom_objects_along(api: Api) -> None:
    async with loops(api.registry):
        await api.ask("POST", DEFINITIONS, definition())
        await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "away"}})
        made = await api.ask("POST", path("widgets", namespace="away"), custom("Widget", "one"))
        assert made.status == 201, made.text
        await api.ask("DELETE", "/api/v1/namespaces/away")

        async def gone() -> bool:
            return (await api.ask("GET", "/api/v1/namespaces/away")).status == 404

        await until(gone)
        assert json.loads((await api.ask("GET", path("widgets", namespace=""))).body)["items"] == []


async def test_bodies_and_answers_are_json_or_yaml(api: Api) -> None:
    await api.ask("POST", DEFINITIONS, definition())
    refused = await api.ask("POST", path("widgets"), b"k8s\x00", content_type="application/vnd.kubernetes.protobuf")
    assert refused.status == 415
    nothing = await api.ask("GET", path("widgets"), accept="application/vnd.kubernetes.protobuf")
    assert nothing.status == 406
    fallback = await api.ask("GET", path("widgets"), accept="application/vnd.kubernetes.protobuf,application/json")
    assert (fallback.status, fallback.json["kind"]) == (200, "WidgetList")


async def test_a_resource_that_is_built_in_stays_so(api: Api) -> None:
    crd = definition("Ingress", group="networking.k8s.io", names={"plural": "ingresses"})
    crd["metadata"] = {"name": "ingresses.networking.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}}
    crd["spec"]["versions"][0]["name"] = "v9"
    assert (await api.ask("POST", DEFINITIONS, crd)).status == 201
    assert (await api.ask("GET", "/apis/networking.k8s.io/v9/ingresses")).status == 404
    async with loops(api.registry):
        await api.ask("DELETE", f"{DEFINITIONS}/ingresses.networking.k8s.io")

        async def gone() -> bool:
            return (await api.ask("GET", f"{DEFINITIONS}/ingresses.networking.k8s.io")).status == 404

        await until(gone)


async def test_a_format_that_nobody_knows_is_warned_of(api: Api) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "string", "format": "colour"}}}
    crd = definition()
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    made = await api.ask("POST", DEFINITIONS, crd)
    assert (made.status, made.headers["warning"]) == (201, '299 - "unrecognized format \\"colour\\""')
