"""Deletion: grace, finalizers, propagation, namespaces; and what a pod becomes when it is created."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, DAEMONSET, DEPLOYMENT, KINDS, NAMESPACE, NODE, POD, SERVICE, SERVICEACCOUNT, Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions
from edgekube.network.node_addresses import NodeAddresses
from edgekube.registry.bootstrap import bootstrap, keep_kubernetes_service
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from tests.registry.cluster import config_map, default_account, deployment, pod
from tests.server.samples import REQUEST


def row(group: str, version: str, plural: str) -> Kind:
    found = KINDS.by_resource(group, version, plural)
    assert found is not None
    return found


async def gone(verbs: LocalVerbs, kind: Kind, namespace: str, name: str) -> bool:
    try:
        await verbs.get(kind, namespace, name)
    except StatusError as error:
        assert error.reason == "NotFound"
        return True
    return False


async def test_the_last_finalizer_takes_the_object_with_it(verbs: LocalVerbs) -> None:
    await verbs.create(CONFIGMAP, "default", config_map("a", finalizers=["example.com/one", "example.com/two"]))
    await verbs.delete(CONFIGMAP, "default", "a")
    marked = await verbs.get(CONFIGMAP, "default", "a")
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    await verbs.patch(CONFIGMAP, "default", "a", {"metadata": {"finalizers": ["example.com/two"]}})
    with pytest.raises(StatusError) as error:
        more = {"metadata": {"finalizers": ["example.com/two", "example.com/three"]}}
        await verbs.patch(CONFIGMAP, "default", "a", more)
    assert error.value.reason == "Invalid"
    await verbs.patch(CONFIGMAP, "default", "a", {"metadata": {"finalizers": None}})
    assert await gone(verbs, CONFIGMAP, "default", "a")


async def test_a_daemon_sets_templates_are_counted_by_the_server_alone(verbs: LocalVerbs) -> None:
    body = deployment("agent") | {"kind": "DaemonSet"}
    body["spec"] = {key: body["spec"][key] for key in ("selector", "template")}
    counted = "deprecated.daemonset.template.generation"

    async def count() -> str:
        annotations: dict[str, str] = (await verbs.get(DAEMONSET, "default", "agent"))["metadata"]["annotations"]
        return annotations[counted]

    await verbs.create(DAEMONSET, "default", body)
    assert await count() == "1"
    await verbs.patch(DAEMONSET, "default", "agent", {"metadata": {"annotations": {counted: "9", "a": "b"}}})
    await verbs.patch(DAEMONSET, "default", "agent", {"metadata": {"annotations": {counted: None}}})
    await verbs.patch(DAEMONSET, "default", "agent", {"spec": {"minReadySeconds": 1}})
    assert await count() == "1"
    await verbs.patch(DAEMONSET, "default", "agent", {"spec": {"template": {"metadata": {"labels": {"more": "x"}}}}})
    assert await count() == "2"


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None), (None, None)],
)
async def test_propagation(verbs: LocalVerbs, policy: str | None, finalizers: list[str] | None) -> None:
    created = await verbs.create(DEPLOYMENT, "default", deployment("web"))
    await verbs.delete(DEPLOYMENT, "default", "web", DeleteOptions(propagation_policy=policy))
    if finalizers is None:
        assert await gone(verbs, DEPLOYMENT, "default", "web")
        return
    marked = (await verbs.get(DEPLOYMENT, "default", "web"))["metadata"]
    assert marked["finalizers"] == finalizers
    assert marked["generation"] == created["metadata"]["generation"] + 1


async def test_a_pod_without_a_node_goes_at_once(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    await verbs.create(POD, "default", pod("p"))
    await verbs.delete(POD, "default", "p")
    assert await gone(verbs, POD, "default", "p")


async def test_a_finished_pod_goes_at_once(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    await verbs.create(POD, "default", pod("p", nodeName="pi"))
    await verbs.patch(POD, "default", "p", {"status": {"phase": "Succeeded"}}, subresource="status")
    await verbs.delete(POD, "default", "p")
    assert await gone(verbs, POD, "default", "p")


async def test_the_deletion_time_lies_ahead_by_the_grace(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    created = await verbs.create(POD, "default", pod("p", nodeName="pi", terminationGracePeriodSeconds=100))
    registry.clock = lambda: 1_900_000_000.0
    await verbs.delete(POD, "default", "p")
    marked = (await verbs.get(POD, "default", "p"))["metadata"]
    assert marked["deletionTimestamp"] == "2030-03-17T17:48:20Z"
    assert marked["deletionGracePeriodSeconds"] == 100
    assert marked["generation"] == created["metadata"]["generation"] + 1
    await verbs.delete(POD, "default", "p", DeleteOptions(grace_period_seconds=10))
    assert (await verbs.get(POD, "default", "p"))["metadata"]["deletionTimestamp"] == "2030-03-17T17:46:50Z"


async def test_a_namespace_terminates_and_is_finalized(verbs: LocalVerbs) -> None:
    made = await verbs.create(NAMESPACE, "", {"metadata": {"name": "shop"}})
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    await verbs.delete(NAMESPACE, "", "shop")
    ending = await verbs.get(NAMESPACE, "", "shop")
    assert ending["status"]["phase"] == "Terminating"
    with pytest.raises(StatusError) as error:
        await verbs.create(CONFIGMAP, "shop", config_map("a"))
    assert (error.value.reason, error.value.causes[0].reason) == ("Forbidden", "NamespaceTerminating")
    await verbs.update(NAMESPACE, {**ending, "spec": {"finalizers": []}}, subresource="finalize")
    assert await gone(verbs, NAMESPACE, "", "shop")


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_namespaces_that_stay(verbs: LocalVerbs, name: str) -> None:
    with pytest.raises(StatusError) as error:
        await verbs.delete(NAMESPACE, "", name)
    assert error.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_what_admission_gives_a_pod(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    made = await verbs.create(POD, "default", {**pod("p"), "status": {"phase": "Running"}})
    spec = made["spec"]
    assert spec["serviceAccountName"] == "default"
    volume = spec["volumes"][0]
    assert volume["name"].startswith("kube-api-access-")
    assert volume["projected"]["sources"][0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    mount = spec["containers"][0]["volumeMounts"][0]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/var/run/secrets/kubernetes.io/serviceaccount")
    assert {t["key"] for t in spec["tolerations"]} == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


async def test_a_pod_that_wants_no_token(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    assert "volumes" not in (await verbs.create(POD, "default", pod("p", automountServiceAccountToken=False)))["spec"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"serviceAccountName": "bob"}, 'error looking up service account default/bob: serviceaccount "bob" not found'),
        ({"priorityClassName": "vip"}, "no PriorityClass with name vip was found"),
        ({"runtimeClassName": "gvisor"}, 'pod rejected: RuntimeClass "gvisor" not found'),
        ({"priority": 5}, "the integer value of priority (5) must not be provided in pod spec"),
    ],
)
async def test_pods_that_admission_refuses(registry: Registry, verbs: LocalVerbs, spec: dict[str, Any], message: str) -> None:
    await default_account(registry)
    with pytest.raises(StatusError) as error:
        await verbs.create(POD, "default", pod("p", **spec))
    assert error.value.reason == "Forbidden"
    assert message in error.value.message


async def test_system_priorities(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    made = await verbs.create(POD, "default", pod("p", priorityClassName="system-node-critical"))
    assert made["spec"]["priority"] == 2_000_001_000


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "100m"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
async def test_quality_of_service(registry: Registry, verbs: LocalVerbs, resources: Object, quality: str) -> None:
    await default_account(registry)
    made = await verbs.create(POD, "default", pod("p", containers=[{"name": "c", "image": "i", "resources": resources}]))
    assert made["status"]["qosClass"] == quality


async def test_a_new_node_takes_no_pods_yet(verbs: LocalVerbs) -> None:
    made = await verbs.create(NODE, "", {"metadata": {"name": "pi"}, "status": {"capacity": {"cpu": "4"}}})
    assert made["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    assert made["status"]["capacity"] == {"cpu": "4"}


async def test_a_job_selects_its_own_pods(verbs: LocalVerbs) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    made = await verbs.create(row("batch", "v1", "jobs"), "default", {"metadata": {"name": "j"}, "spec": {"template": template}})
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"


async def test_a_request_for_a_certificate_names_its_sender(verbs: LocalVerbs) -> None:
    kind = row("certificates.k8s.io", "v1", "certificatesigningrequests")
    spec = {"request": REQUEST, "signerName": "example.com/x", "usages": ["client auth"], "username": "mallory"}
    made = await verbs.create(kind, "", {"metadata": {"name": "c"}, "spec": spec})
    assert made["spec"]["username"] == "admin"
    condition = {"type": "Approved", "status": "True", "reason": "r", "message": "m"}
    approved = await verbs.update(kind, {**made, "status": {"conditions": [condition]}}, subresource="approval")
    assert approved["status"]["conditions"][0]["type"] == "Approved"


async def test_a_name_whose_object_is_on_its_way_out_is_still_taken(verbs: LocalVerbs) -> None:
    await verbs.create(CONFIGMAP, "default", config_map("c", finalizers=["example.com/stay"]))
    for said in ('configmaps "c" already exists', 'object is being deleted: configmaps "c" already exists'):
        with pytest.raises(StatusError) as error:
            await verbs.create(CONFIGMAP, "default", config_map("c"))
        assert (error.value.message, error.value.reason) == (said, "AlreadyExists")
        await verbs.delete(CONFIGMAP, "default", "c")


async def test_evictions_keep_to_the_budget(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    budgets = row("policy", "v1", "poddisruptionbudgets")
    labelled = pod("p", nodeName="pi")
    labelled["metadata"]["labels"] = {"app": "web"}
    await verbs.create(POD, "default", labelled)
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await verbs.patch(POD, "default", "p", {"status": ready}, subresource="status")
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    await verbs.create(budgets, "default", budget)
    eviction = {"metadata": {"name": "p"}}
    with pytest.raises(StatusError) as error:
        await verbs.create(POD, "default", eviction, subresource="eviction", name="p")
    assert (error.value.code, error.value.causes[0].reason) == (429, "DisruptionBudget")
    status = {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}
    await verbs.patch(budgets, "default", "b", {"status": status}, subresource="status")
    await verbs.create(POD, "default", eviction, subresource="eviction", name="p")
    assert (await verbs.get(POD, "default", "p"))["metadata"]["deletionTimestamp"]
    assert (await verbs.get(budgets, "default", "b"))["status"]["disruptionsAllowed"] == 0


async def test_a_second_start_changes_nothing(registry: Registry) -> None:
    before = registry.store.revision()
    await bootstrap(registry, addresses=["192.0.2.1"], port=6443, service_cidr="10.43.0.0/16")
    assert registry.store.revision() == before


async def test_a_new_address_reaches_the_endpoints(registry: Registry, verbs: LocalVerbs) -> None:
    await bootstrap(registry, addresses=["192.0.2.9"], port=6444, service_cidr="10.43.0.0/16")
    slice_ = await verbs.get(row("discovery.k8s.io", "v1", "endpointslices"), "default", "kubernetes")
    assert slice_["endpoints"][0]["addresses"] == ["192.0.2.9"]
    assert slice_["ports"][0]["port"] == 6444


async def test_an_account_without_an_issuer_gets_no_token(verbs: LocalVerbs) -> None:
    await verbs.create(SERVICEACCOUNT, "default", {"metadata": {"name": "robot"}})
    with pytest.raises(StatusError) as error:
        await verbs.create(SERVICEACCOUNT, "default", {}, subresource="token", name="robot")
    assert error.value.reason == "ServiceUnavailable"


async def test_the_kubernetes_service_comes_back(
    registry: Registry, verbs: LocalVerbs, autojump_clock: trio.testing.MockClock
) -> None:
    slices = row("discovery.k8s.io", "v1", "endpointslices")
    await verbs.delete(SERVICE, "default", "kubernetes")
    await verbs.delete(slices, "default", "kubernetes")
    async with trio.open_nursery() as nursery, verbs.watch(slices, "default") as events:
        addresses = NodeAddresses(fixed=["192.0.2.1"])
        keep = partial(
            keep_kubernetes_service,
            addresses=lambda: addresses.current,
            moved=addresses.wait_for_other_than,
            port=6443,
            service_cidr="10.43.0.0/16",
        )
        nursery.start_soon(keep, registry)
        async for event in events:
            if event.type == "ADDED":
                break
        addresses.become(("192.0.2.9",))
        async for event in events:
            if event.object().get("endpoints") == [{"addresses": ["192.0.2.9"], "conditions": {"ready": True}}]:
                break
        nursery.cancel_scope.cancel()
    assert (await verbs.get(SERVICE, "default", "kubernetes"))["spec"]["clusterIP"] == "10.43.0.1"
