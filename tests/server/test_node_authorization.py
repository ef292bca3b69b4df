"""Nodes with real certificates ask for what is theirs and for what is not, over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from edgekube.api.kinds import CONFIGMAP, NAMESPACE, NODE, POD, SECRET
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions
from tests.registry.cluster import config_map, pod
from tests.server.running import Answer
from tests.server.secured import ISSUER, Secured, admin, node, secured_api

SHOP = "/api/v1/namespaces/default"
PI_1, PI_2 = node("pi-1"), node("pi-2")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Secured]:
    """Two nodes; each runs one pod that names one secret and one ConfigMap."""
    async with secured_api(tmp_path) as secured:
        for name in ("pi-1", "pi-2"):
            await secured.verbs.create(NODE, "", {"metadata": {"name": name}})
            await secured.verbs.create(SECRET, "default", {"metadata": {"name": f"of-{name}"}, "stringData": {"key": name}})
            await secured.verbs.create(CONFIGMAP, "default", config_map(f"of-{name}"))
            volumes = [
                {"name": "s", "secret": {"secretName": f"of-{name}"}},
                {"name": "c", "configMap": {"name": f"of-{name}"}},
            ]
            await secured.verbs.create(POD, "default", pod(f"on-{name}", nodeName=name, volumes=volumes))
        yield secured


def refused(answer: Answer) -> str:
    """What the Status says that refuses."""
    assert (answer.status, answer.json["kind"], answer.json["reason"]) == (403, "Status", "Forbidden"), answer.body
    return str(answer.json["message"])


async def settled(api: Secured, path: str) -> Answer:
    """The graph follows the store at its own pace: what is allowed is allowed soon."""
    with trio.fail_after(60):
        while (answer := await api.ask(PI_1, "GET", path)).status == 403:
            await trio.lowlevel.checkpoint()
    return answer


async def test_a_node_reads_what_its_pods_name(api: Secured) -> None:
    assert (await settled(api, f"{SHOP}/secrets/of-pi-1")).json["metadata"]["name"] == "of-pi-1"
    assert (await api.ask(PI_1, "GET", f"{SHOP}/configmaps/of-pi-1")).status == 200
    listed = await api.ask(PI_1, "GET", f"{SHOP}/secrets?fieldSelector=metadata.name%3Dof-pi-1")
    assert [item["metadata"]["name"] for item in listed.json["items"]] == ["of-pi-1"]


async def test_a_node_does_not_go_on_reading_what_its_pod_left_behind(api: Secured) -> None:
    await settled(api, f"{SHOP}/secrets/of-pi-1")
    path = f"{SHOP}/secrets?watch=true&fieldSelector=metadata.name%3Dof-pi-1"
    async with api.client(PI_1) as client:
        with trio.fail_after(60):
            async with client.request("GET", path, {}) as watching:
                assert b"of-pi-1" in await watching.receive_some()
                await api.verbs.delete(POD, "default", "on-pi-1", DeleteOptions(grace_period_seconds=0))
                while (await api.ask(PI_1, "GET", f"{SHOP}/secrets/of-pi-1")).status != 403:
                    await trio.lowlevel.checkpoint()
                await api.verbs.patch(SECRET, "default", "of-pi-1", {"stringData": {"key": "changed"}})
                assert await watching.receive_some() == b""


async def test_a_node_certificate_used_for_another_nodes_secrets(api: Secured) -> None:
    await settled(api, f"{SHOP}/secrets/of-pi-1")
    message = refused(await api.ask(PI_1, "GET", f"{SHOP}/secrets/of-pi-2"))
    assert message == (
        'secrets "of-pi-2" is forbidden: User "system:node:pi-1" cannot get resource "secrets" in API group "" in the namespace '
        "\"default\": no relationship found between node 'pi-1' and this object"
    )
    for path in (
        "configmaps/of-pi-2",
        "secrets",
        "secrets?fieldSelector=metadata.name%3Dof-pi-2",
        "secrets?watch=true&fieldSelector=metadata.name%3Dof-pi-2",
        # Selectors that name the node's own secret without selecting it alone.
        "secrets?fieldSelector=metadata.name!%3Dof-pi-1",
        "secrets?fieldSelector=type%3Dx%5C,metadata.name%3Dof-pi-1",
        "secrets?labelSelector=metadata.name%3Dof-pi-1",
    ):
        refused(await api.ask(PI_1, "GET", f"{SHOP}/{path}"))
    refused(await api.ask(PI_1, "GET", "/api/v1/secrets"))
    refused(await api.ask(PI_1, "GET", "/api/v1/secrets?fieldSelector=metadata.name%3Dof-pi-1"))
    narrowed = await api.ask(PI_1, "GET", f"{SHOP}/secrets/of-pi-1?watch=true&resourceVersion=0&timeoutSeconds=1")
    assert b"of-pi-1" in narrowed.body
    assert b"of-pi-2" not in narrowed.body


async def test_a_secret_is_out_of_reach_once_the_pod_is_gone(api: Secured) -> None:
    await settled(api, f"{SHOP}/secrets/of-pi-1")
    answer = await api.ask(PI_1, "DELETE", f"{SHOP}/pods/on-pi-1", {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})  # fmt: skip  # noqa: E501
    assert answer.status == 200, answer.body
    with trio.fail_after(60):
        while (await api.ask(PI_1, "GET", f"{SHOP}/secrets/of-pi-1")).status == 200:
            await trio.lowlevel.checkpoint()
    refused(await api.ask(PI_1, "GET", f"{SHOP}/pods/on-pi-1"))


async def test_pods_of_its_own_and_no_others(api: Secured) -> None:
    await settled(api, f"{SHOP}/pods/on-pi-1")
    own = await api.ask(PI_1, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dpi-1")
    assert [item["metadata"]["name"] for item in own.json["items"]] == ["on-pi-1"]
    for path in ("/api/v1/pods", "/api/v1/pods?fieldSelector=spec.nodeName%3Dpi-2", f"{SHOP}/pods/on-pi-2",
                 "/api/v1/pods?fieldSelector=spec.nodeName!%3Dpi-1"):  # fmt: skip
        refused(await api.ask(PI_1, "GET", path))
    status: Object = {"status": {"phase": "Running"}}
    patch = {"content_type": "application/merge-patch+json"}
    assert (await api.ask(PI_1, "PATCH", f"{SHOP}/pods/on-pi-1/status", status, **patch)).status == 200
    message = refused(await api.ask(PI_1, "PATCH", f"{SHOP}/pods/on-pi-2/status", status, **patch))
    assert message.endswith('node "pi-1" can only update pod status for pods with spec.nodeName set to itself')
    assert "can only delete pods" in refused(await api.ask(PI_1, "DELETE", f"{SHOP}/pods/on-pi-2"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "on-pi-2"}}
    assert "can only evict pods" in refused(await api.ask(PI_1, "POST", f"{SHOP}/pods/on-pi-2/eviction", eviction))
    assert "can only create mirror pods" in refused(await api.ask(PI_1, "POST", f"{SHOP}/pods", pod("new", nodeName="pi-1")))
    command = {"content_type": "application/merge-patch+json"}
    refused(await api.ask(PI_1, "PATCH", f"{SHOP}/pods/on-pi-1", {"metadata": {"labels": {"a": "b"}}}, **command))
    refused(await api.ask(PI_1, "POST", f"{SHOP}/pods/on-pi-1/exec?command=sh"))


async def test_tokens_for_its_own_pods(api: Secured) -> None:
    await settled(api, f"{SHOP}/secrets/of-pi-1")
    uids = {name: (await api.verbs.get(POD, "default", name))["metadata"]["uid"] for name in ("on-pi-1", "on-pi-2")}

    async def asked(name: str, uid: str) -> Answer:
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [], "boundObjectRef": bound},
        }
        return await api.ask(PI_1, "POST", f"{SHOP}/serviceaccounts/default/token", body)

    given = await asked("on-pi-1", uids["on-pi-1"])
    assert given.status == 201, given.body
    token = given.json["status"]["token"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    seen = await api.ask(PI_1, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert seen.json["status"]["user"]["username"] == "system:serviceaccount:default:default"
    assert "scheduled on a different node" in refused(await asked("on-pi-2", uids["on-pi-2"]))
    assert "does not match the UID in record" in refused(await asked("on-pi-1", uids["on-pi-2"]))
    unbound = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    answer = await api.ask(PI_1, "POST", f"{SHOP}/serviceaccounts/default/token", unbound)
    assert "not bound to a pod" in refused(answer)


async def test_a_token_is_good_for_its_audience_and_no_other(api: Secured) -> None:
    """Who asks with audiences of his own must not be told that a token for the API server, as any pod has one, is for him."""

    async def token(*audiences: str) -> str:
        path = "/api/v1/namespaces/default/serviceaccounts/default/token"
        request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {"audiences": list(audiences)}}
        return str((await api.ask(admin(), "POST", path, request)).json["status"]["token"])

    async def review(text: str, *audiences: str) -> Object:
        spec = {"token": text, "audiences": list(audiences)} if audiences else {"token": text}
        asked = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        found: Object = (await api.ask(admin(), "POST", "/apis/authentication.k8s.io/v1/tokenreviews", asked)).json["status"]
        return found

    ours, theirs = await token(), await token("vault", "billing")
    assert (await review(ours))["audiences"] == [ISSUER]
    assert not (await review(ours, "vault")).get("authenticated")
    assert not (await review(theirs)).get("authenticated")
    status = await review(theirs, "billing", "shop")
    assert status["authenticated"] and status["audiences"] == ["billing"]
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert (await api.ask(None, "GET", "/apis", token=theirs)).status == 401


async def test_a_node_is_itself_and_nobody_else(api: Secured) -> None:
    patch = {"content_type": "application/merge-patch+json"}
    ready: Object = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert (await api.ask(PI_1, "PATCH", "/api/v1/nodes/pi-1/status", ready, **patch)).status == 200
    assert "not allowed to modify node" in refused(await api.ask(PI_1, "PATCH", "/api/v1/nodes/pi-2/status", ready, **patch))
    drawn: Object = {"metadata": {"labels": {"node-restriction.kubernetes.io/vault": ""}}}
    assert "not allowed to modify labels" in refused(await api.ask(PI_1, "PATCH", "/api/v1/nodes/pi-1", drawn, **patch))
    untainted: Object = {"spec": {"taints": None}}
    assert "not allowed to modify taints" in refused(await api.ask(PI_1, "PATCH", "/api/v1/nodes/pi-1", untainted, **patch))
    assert "pi-3" in refused(await api.ask(PI_1, "POST", "/api/v1/nodes", {"metadata": {"name": "pi-3"}}))
    refused(await api.ask(PI_1, "DELETE", "/api/v1/nodes/pi-2"))
    refused(await api.ask(PI_1, "DELETE", "/api/v1/nodes/pi-1"))
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    own: Object = {"metadata": {"name": "pi-1"}, "spec": {"holderIdentity": "pi-1", "leaseDurationSeconds": 40}}
    assert (await api.ask(PI_1, "POST", leases, own)).status == 201
    assert (await api.ask(PI_1, "GET", f"{leases}/pi-1")).status == 200
    other: Object = {"metadata": {"name": "pi-2"}, "spec": {"holderIdentity": "pi-1", "leaseDurationSeconds": 40}}
    assert "same name as the requesting node" in refused(await api.ask(PI_1, "POST", leases, other))
    assert (await api.ask(PI_2, "POST", leases, other)).status == 201
    assert "same name as the requesting node" in refused(await api.ask(PI_1, "PATCH", f"{leases}/pi-2", other, **patch))


@pytest.mark.parametrize("path", [
    "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/apis/apps/v1/deployments", "/api/v1/serviceaccounts",
    "/api/v1/persistentvolumes", "/api/v1/nodes/pi-2/proxy/pods", "/metrics",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
])  # fmt: skip
async def test_what_no_node_needs(api: Secured, path: str) -> None:
    refused(await api.ask(PI_1, "GET", path))


@pytest.mark.parametrize("path", [
    "/api/v1/nodes", "/api/v1/services", "/api/v1/namespaces", "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/networking.k8s.io/v1/networkpolicies", "/apis/node.k8s.io/v1/runtimeclasses", "/version", "/apis",
])  # fmt: skip
async def test_what_every_node_reads(api: Secured, path: str) -> None:
    assert (await api.ask(PI_1, "GET", path)).status == 200


async def test_a_review_says_what_the_same_request_would_meet(api: Secured) -> None:
    await settled(api, f"{SHOP}/secrets/of-pi-1")
    answers = {}
    for name in ("of-pi-1", "of-pi-2"):
        spec = {"resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "default", "name": name}}
        body: Object = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        reviewed = await api.ask(PI_1, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        answers[name] = reviewed.json["status"]
    assert answers == {
        "of-pi-1": {"allowed": True},
        "of-pi-2": {"allowed": False, "reason": "no relationship found between node 'pi-1' and this object"},
    }
    terms = {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["pi-1"]}]}
    listing: Object = {"resourceAttributes": {"verb": "list", "resource": "pods", "fieldSelector": terms}}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": listing}
    reviewed = await api.ask(PI_1, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert reviewed.json["status"]["allowed"]


async def test_the_log_tells_of_trespassers_and_of_nobody_else(api: Secured, caplog: pytest.LogCaptureFixture) -> None:
    await settled(api, f"{SHOP}/secrets/of-pi-1")
    await api.verbs.create(NAMESPACE, "", {"metadata": {"name": "going", "finalizers": ["example.com/stay"]}})
    await api.verbs.delete(NAMESPACE, "", "going")
    caplog.clear()
    event: Object = {"metadata": {"name": "e", "namespace": "going"}, "involvedObject": {"namespace": "going"}}
    late = await api.ask(PI_1, "POST", "/api/v1/namespaces/going/events", event)
    assert (late.status, late.json["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    refused(await api.ask(PI_1, "GET", f"{SHOP}/secrets/of-pi-2"))
    refused(await api.ask(PI_1, "DELETE", f"{SHOP}/pods/on-pi-2"))
    assert (await api.ask(None, "GET", f"{SHOP}/secrets/of-pi-2")).status == 401
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("refused ")]
    assert [line.split()[1:4] for line in told] == [
        ["code=403", "method=GET", f"path='{SHOP}/secrets/of-pi-2'"],
        ["code=403", "method=DELETE", f"path='{SHOP}/pods/on-pi-2'"],
        ["code=401", "method=GET", f"path='{SHOP}/secrets/of-pi-2'"],
    ]
