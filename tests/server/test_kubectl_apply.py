"""Server-side apply as an unmodified kubectl asks for it: conflicts, force, from the client's side, diff, custom kinds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.server.kubectl import Kubectl
from tests.server.secured import secured_api

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:%d
        ports: [{containerPort: 80}]
"""
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {set: one}}\ndata: {colour: red}\n"

Ask = Callable[..., Awaitable[str]]


@pytest.fixture
async def ask(tmp_path: Path, kubectl: Kubectl) -> AsyncIterator[Ask]:
    async with secured_api(tmp_path) as secured:

        async def asked(*arguments: str, stdin: str = "", check: bool = True) -> str:
            return await kubectl(secured, *arguments, stdin=stdin, check=check)

        yield asked


async def test_conflicts_and_force(ask: Ask) -> None:
    one = ("apply", "--server-side", "-f", "-")
    assert await ask(*one, stdin=WEB % (2, 1)) == "deployment.apps/web serverside-applied\n"
    assert await ask(*one, stdin=WEB % (2, 1)) == "deployment.apps/web serverside-applied\n"
    refused = await ask(*one, "--field-manager=other", stdin=WEB % (3, 2), check=False)
    assert 'Apply failed with 2 conflicts: conflicts with "kubectl":' in refused
    assert "- .spec.replicas" in refused
    assert '- .spec.template.spec.containers[name="web"].image' in refused
    assert "--force-conflicts" in refused
    await ask(*one, "--field-manager=other", "--force-conflicts", stdin=WEB % (3, 2))
    shown = json.loads(await ask("get", "deployment", "web", "-o", "json", "--show-managed-fields"))
    assert shown["spec"]["replicas"] == 3
    owners = {entry["manager"]: entry["fieldsV1"]["f:spec"] for entry in shown["metadata"]["managedFields"]}
    assert "f:replicas" in owners["other"] and "f:replicas" not in owners["kubectl"]
    assert "managedFields" not in await ask("get", "deployment", "web", "-o", "yaml")


async def test_from_the_clients_side_and_scaling(ask: Ask) -> None:
    await ask("apply", "-f", "-", stdin=WEB % (2, 1))
    await ask("apply", "--server-side", "-f", "-", stdin=WEB % (4, 2))
    shown = json.loads(await ask("get", "deployment", "web", "-o", "json", "--show-managed-fields"))
    managers = {(entry["manager"], entry["operation"]) for entry in shown["metadata"]["managedFields"]}
    assert ("kubectl", "Apply") in managers
    assert shown["spec"]["replicas"] == 4
    assert "replicas: 4" in await ask("apply", "view-last-applied", "deployment", "web")
    await ask("scale", "deployment", "web", "--replicas=6")
    refused = await ask("apply", "--server-side", "-f", "-", stdin=WEB % (4, 2), check=False)
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused
    await ask("apply", "-f", "-", stdin=WEB % (5, 2))
    assert await ask("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "5"


async def test_diff_and_dry_run(ask: Ask) -> None:
    await ask("apply", "--server-side", "-f", "-", stdin=SETTINGS % "one")
    assert "serverside-applied (server dry run)" in await ask(
        "apply", "--server-side", "--dry-run=server", "-f", "-", stdin=SETTINGS % "three"
    )
    difference = await ask("diff", "--server-side", "-f", "-", stdin=(SETTINGS % "one").replace("red", "blue"), check=False)
    assert "-  colour: red" in difference and "+  colour: blue" in difference
    assert await ask("diff", "--server-side", "-f", "-", stdin=SETTINGS % "one") == ""
    unknown = await ask("apply", "--server-side", "-f", "-", stdin=SETTINGS % "one" + "colour: red\n", check=False)
    assert ".colour: field not declared in schema" in unknown


CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pumps.factory.example}
spec:
  group: factory.example
  scope: Namespaced
  names: {plural: pumps, singular: pump, kind: Pump}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              rate: {type: integer}
              valves:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, open: {type: boolean}}
"""
PUMP = "apiVersion: factory.example/v1\nkind: Pump\nmetadata: {name: p}\nspec:\n  valves:\n  - {name: %s, open: true}\n"


async def test_custom_kinds_merge_by_their_schema(ask: Ask) -> None:
    await ask("apply", "--server-side", "-f", "-", stdin=CRD)
    await ask("wait", "--for=condition=Established", "crd/pumps.factory.example", "--timeout=90s")
    await ask("apply", "--server-side", "-f", "-", stdin=PUMP % "a")
    await ask("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=PUMP % "b")
    shown = json.loads(await ask("get", "pump", "p", "-o", "json", "--show-managed-fields"))
    assert shown["spec"] == {"valves": [{"name": "a", "open": True}, {"name": "b", "open": True}]}
    owners = {entry["manager"]: entry["fieldsV1"] for entry in shown["metadata"]["managedFields"]}
    assert owners["other"] == {"f:spec": {"f:valves": {'k:{"name":"b"}': {".": {}, "f:name": {}, "f:open": {}}}}}
    await ask("apply", "--server-side", "-f", "-", stdin="apiVersion: factory.example/v1\nkind: Pump\nmetadata: {name: p}\n")
    assert await ask("get", "pump", "p", "-o", "jsonpath={.spec.valves[*].name}") == "b"
    unknown = await ask("apply", "--server-side", "-f", "-", stdin=PUMP % "a" + "  colour: red\n", check=False)
    assert ".spec.colour: field not declared in schema" in unknown
