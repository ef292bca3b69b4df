"""internal.edgekube.io/v1 podaddresses over HTTP: made from pods, told to whoever may, named nowhere, never written."""

from __future__ import annotations

import pytest

from edgekube.api.kinds import POD, PODADDRESS
from edgekube.api.verbs import UserInfo
from tests.registry.cluster import pod
from tests.server.running import TOKENS, Api

PATH = "/apis/internal.edgekube.io/v1/podaddresses"


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOKENS, "pi", UserInfo("system:node:pi", groups=("system:nodes",)))


async def test_who_may_reads_them_and_other_people_do_not(api: Api) -> None:
    await api.verbs.create(POD, "default", pod("a", nodeName="pi-2"))
    roles = "rbac.authorization.k8s.io"
    for role in (
        {"kind": "ClusterRole", "metadata": {"name": "network"},
         "rules": [{"apiGroups": ["internal.edgekube.io"], "resources": ["podaddresses"], "verbs": ["get", "list", "watch"]}]},
        {"kind": "ClusterRoleBinding", "metadata": {"name": "network"},
         "roleRef": {"kind": "ClusterRole", "name": "network", "apiGroup": roles},
         "subjects": [{"kind": "Group", "name": "system:nodes", "apiGroup": roles}]},
    ):  # fmt: skip
        api.roles.put(role)
    listed = await api.ask("GET", PATH, user="pi")
    assert (listed.status, listed.json["kind"]) == (200, "PodAddressList")
    assert [(item["metadata"]["name"], item["nodeName"]) for item in listed.json["items"]] == [("a", "pi-2")]
    one = await api.ask("GET", "/apis/internal.edgekube.io/v1/namespaces/default/podaddresses/a", user="pi")
    assert one.json["kind"] == "PodAddress" and "spec" not in one.json
    assert (await api.ask("GET", PATH, user="alice")).status == 403
    assert (await api.ask("GET", PATH, user="")).status == 401


async def test_they_are_made_from_pods_and_by_nobody(api: Api) -> None:
    one = "/apis/internal.edgekube.io/v1/namespaces/default/podaddresses"
    assert (await api.ask("POST", one, {"metadata": {"name": "b"}})).status == 405
    for method in ("PUT", "DELETE"):
        assert (await api.ask(method, f"{one}/a", {"metadata": {"name": "a"}})).status == 405
    patched = await api.ask("PATCH", f"{one}/a", {}, content_type="application/merge-patch+json")
    assert patched.status == 405


async def test_discovery_does_not_name_them(api: Api) -> None:
    for path in ("/apis", "/openapi/v3", "/"):
        assert PODADDRESS.group not in (await api.ask("GET", path)).text
    assert (await api.ask("GET", "/apis/internal.edgekube.io/v1")).status == 404


async def test_a_watcher_hears_of_addresses_and_not_of_every_heartbeat(api: Api) -> None:
    created = await api.verbs.create(POD, "default", pod("a", nodeName="pi-2"))
    revision = created["metadata"]["resourceVersion"]
    async with api.watch(f"{PATH}?watch=true&resourceVersion={revision}") as lines:
        for status in (
            {"conditions": [{"type": "Ready", "status": "False"}]},  # nothing that a peer asks for
            {"podIPs": [{"ip": "10.42.2.7"}], "podIP": "10.42.2.7", "phase": "Running"},
        ):
            await api.verbs.patch(POD, "default", "a", {"status": status}, subresource="status")
        event = await lines.next()
        assert (event["type"], event["object"]["podIPs"]) == ("MODIFIED", ["10.42.2.7"])
        assert set(event["object"]) == {"kind", "apiVersion", "metadata", "nodeName", "phase", "podIPs"}
