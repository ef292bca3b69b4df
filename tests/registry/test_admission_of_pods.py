"""Limit ranges and the pod security standards, as they meet whoever writes."""

from __future__ import annotations

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.kinds import DEPLOYMENT, KINDS, NAMESPACE, NODE, POD, SERVICEACCOUNT, Kind
from edgekube.api.objects import Object
from edgekube.registry.context import Context
from edgekube.registry.create import create
from edgekube.registry.local import LocalVerbs
from edgekube.registry.patch import patch
from edgekube.registry.state import Registry
from tests.registry.cluster import ADMIN, default_account, deployment, pod

ENFORCE = "pod-security.kubernetes.io/enforce"
MERGE = "application/merge-patch+json"


def row(plural: str) -> Kind:
    found = KINDS.by_resource("", "v1", plural)
    assert found is not None
    return found


async def test_a_pod_gets_the_defaults_of_its_namespace(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    limits = [{"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]
    await verbs.create(row("limitranges"), "default", {"metadata": {"name": "l"}, "spec": {"limits": limits}})
    made = await verbs.create(POD, "default", pod("a"))
    assert made["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}
    assert made["status"]["qosClass"] == "Burstable"
    told = "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
    assert made["metadata"]["annotations"] == {"kubernetes.io/limit-ranger": told}
    large = [{"name": "main", "image": "demo", "resources": {"limits": {"cpu": "2"}}}]
    with pytest.raises(StatusError) as refused:
        await verbs.create(POD, "default", pod("b", containers=large))
    assert refused.value.code == 403
    assert refused.value.message == 'pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
    await verbs.delete(row("limitranges"), "default", "l")
    assert "resources" in (await verbs.create(POD, "default", pod("b", containers=large)))["spec"]["containers"][0]


async def namespace(verbs: LocalVerbs, registry: Registry, name: str, **labels: str) -> None:
    wanted = {f"pod-security.kubernetes.io/{mode.replace('_', '-')}": level for mode, level in labels.items()}
    await verbs.create(NAMESPACE, "", {"metadata": {"name": name, "labels": wanted}})
    await default_account(registry, name)


async def test_a_namespace_holds_its_pods_to_a_standard(registry: Registry, verbs: LocalVerbs) -> None:
    await namespace(verbs, registry, "shop", enforce="baseline", audit="restricted", warn_version="v1.30")
    with pytest.raises(StatusError) as refused:
        await verbs.create(POD, "shop", pod("p", hostNetwork=True))
    assert refused.value.message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )
    assert (refused.value.code, refused.value.kind, refused.value.name) == (403, "pods", "p")
    context = Context(ADMIN)
    await create(registry, POD, "shop", pod("p"), context)
    assert context.warnings == []
    assert context.annotations["pod-security.kubernetes.io/enforce-policy"] == "baseline:latest"
    assert context.annotations["pod-security.kubernetes.io/audit-violations"].startswith(
        'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set'
    )


async def test_who_writes_a_deployment_is_warned(registry: Registry, verbs: LocalVerbs) -> None:
    await namespace(verbs, registry, "shop", enforce="baseline")
    wrong = deployment("web")
    wrong["spec"]["template"]["spec"]["hostPID"] = True
    context = Context(ADMIN)
    await create(registry, DEPLOYMENT, "shop", wrong, context)
    assert context.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)']


async def test_labels_must_be_readable(verbs: LocalVerbs) -> None:
    with pytest.raises(StatusError) as refused:
        await verbs.create(NAMESPACE, "", {"metadata": {"name": "x", "labels": {ENFORCE: "strict"}}})
    assert refused.value.message == (
        'Namespace "x" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted"
    )


async def labelled(registry: Registry, name: str, level: str) -> list[str]:
    context = Context(ADMIN)
    body = b'{"metadata":{"labels":{"%s":"%s"}}}' % (ENFORCE.encode(), level.encode())
    await patch(registry, NAMESPACE, "", name, body, MERGE, context)
    return context.warnings


async def test_a_stricter_label_tells_of_the_pods_that_run(registry: Registry, verbs: LocalVerbs) -> None:
    await namespace(verbs, registry, "shop")
    for name in ("web-1", "web-2", "db"):
        await verbs.create(POD, "shop", pod(name, hostNetwork=name != "db"))
    assert await labelled(registry, "shop", "baseline") == [
        'existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:latest"',
        "web-1 (and 1 other pod): host namespaces",
    ]
    assert await labelled(registry, "shop", "privileged") == []
    made = await verbs.create(POD, "shop", pod("web-3", hostNetwork=True))
    assert await labelled(registry, "shop", "restricted") != []
    made["metadata"]["labels"] = {"a": "b"}
    await verbs.update(POD, made)  # what runs may be labelled still
    image: Object = {"spec": {"containers": [{"name": "main", "image": "demo:2"}]}}
    with pytest.raises(StatusError, match="violates PodSecurity"):
        await verbs.patch(POD, "shop", "web-3", image, patch_type="application/strategic-merge-patch+json")


async def test_a_restart_remembers_the_standards(registry: Registry, verbs: LocalVerbs) -> None:
    await namespace(verbs, registry, "shop", enforce="restricted")
    await registry.load()
    with pytest.raises(StatusError, match="restricted:latest"):
        await verbs.create(POD, "shop", pod("p"))
    await verbs.delete(NAMESPACE, "", "shop")


# --- what else is asked of a pod, and of what it uses


async def test_a_pod_is_told_where_it_is(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    labels = {"topology.kubernetes.io/zone": "hall", "topology.kubernetes.io/region": "north", "other": "label"}
    await verbs.create(NODE, "", {"metadata": {"name": "n1", "labels": labels}})
    await verbs.create(POD, "default", pod("a"))
    binding = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}}
    await verbs.create(POD, "default", binding, subresource="binding", name="a")
    bound = await verbs.get(POD, "default", "a")
    assert bound["metadata"]["labels"] == {key: value for key, value in labels.items() if key != "other"}
    placed = await verbs.create(POD, "default", pod("b", nodeName="n1"))
    assert placed["metadata"]["labels"]["topology.kubernetes.io/zone"] == "hall"


@pytest.mark.parametrize(
    ("metadata", "says"),
    [({"uid": "other"}, "UID in precondition: other"), ({"resourceVersion": "1"}, "ResourceVersion in precondition: 1")],
)
async def test_a_binding_is_for_the_pod_that_it_was_made_for(
    registry: Registry, verbs: LocalVerbs, metadata: Object, says: str
) -> None:
    await default_account(registry)
    await verbs.create(POD, "default", pod("a"))
    binding = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "a", **metadata}, "target": {"name": "n1"}}
    with pytest.raises(StatusError, match=says) as error:
        await verbs.create(POD, "default", binding, subresource="binding", name="a")
    assert error.value.reason == "Conflict"
    assert "nodeName" not in (await verbs.get(POD, "default", "a"))["spec"]


async def test_a_claim_grows_only_where_its_class_says_so(registry: Registry, verbs: LocalVerbs) -> None:
    classes = KINDS.by_resource("storage.k8s.io", "v1", "storageclasses")
    assert classes is not None
    for name, grows in (("stiff", False), ("soft", True)):
        storage_class = {"metadata": {"name": name}, "provisioner": "example.com/disk", "allowVolumeExpansion": grows}
        await verbs.create(classes, "", storage_class)
        claim = {
            "metadata": {"name": name},
            "spec": {
                "storageClassName": name,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        await verbs.create(row("persistentvolumeclaims"), "default", claim)
    larger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    for name in ("stiff", "soft"):
        await verbs.patch(row("persistentvolumeclaims"), "default", name, {"status": {"phase": "Bound"}}, subresource="status")
        await verbs.patch(row("persistentvolumeclaims"), "default", name, {"spec": {"volumeName": f"v-{name}"}})
    with pytest.raises(StatusError, match="the storageclass that provisions the pvc must support resize"):
        await verbs.patch(row("persistentvolumeclaims"), "default", "stiff", larger)
    await verbs.patch(row("persistentvolumeclaims"), "default", "soft", larger)


async def test_an_account_may_say_which_secrets_its_pods_use(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    account: Object = {"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}
    await verbs.patch(SERVICEACCOUNT, "default", "default", {**account, "secrets": [{"name": "known"}]})

    def using(name: str) -> Object:
        source = {"valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}
        return pod(name, containers=[{"name": "c", "image": "demo", "env": [{"name": "E", **source}]}])

    await verbs.create(POD, "default", using("known"))
    with pytest.raises(StatusError) as refused:
        await verbs.create(POD, "default", using("other"))
    assert refused.value.message == (
        'pods "other" is forbidden: container c with envVar E referencing secret.secretName="other" is not allowed because '
        "service account default does not reference that secret"
    )
    mirror = using("known")
    mirror["metadata"] = {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}}
    with pytest.raises(StatusError, match="a mirror pod may not reference secrets"):
        await verbs.create(POD, "default", mirror)


async def test_tolerations_may_be_replaced_for_the_defaults_come_back(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    made = await verbs.create(POD, "default", pod("a", terminationGracePeriodSeconds=-1))
    assert made["spec"]["terminationGracePeriodSeconds"] == 1
    made["spec"]["tolerations"] = [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]
    made["spec"]["terminationGracePeriodSeconds"] = -1
    after = await verbs.update(POD, made)
    keys = [each["key"] for each in after["spec"]["tolerations"]]
    assert keys == ["k", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    assert after["spec"]["terminationGracePeriodSeconds"] == 1
    assert after["metadata"]["generation"] == made["metadata"]["generation"] + 1


async def test_a_resize_changes_resources_and_nothing_else(registry: Registry, verbs: LocalVerbs) -> None:
    await default_account(registry)
    small = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    await verbs.create(POD, "default", pod("a", containers=[{"name": "main", "image": "demo", "resources": small}]))

    async def resize(**change: object) -> Object:
        return await verbs.patch(
            POD, "default", "a", {"spec": change}, patch_type="application/strategic-merge-patch+json", subresource="resize"
        )

    large = {"requests": {"cpu": "200m"}, "limits": {"cpu": "1"}}
    after = await resize(containers=[{"name": "main", "image": "other", "resources": large}])
    [container] = after["spec"]["containers"]
    assert (container["image"], container["resources"]) == ("demo", large)
    assert after["metadata"]["generation"] == 2
    whole = await resize(resources={"limits": {"cpu": "2"}})
    assert whole["spec"]["resources"]["limits"] == {"cpu": "2"}
    for change, message in (
        (
            {"containers": [{"name": "main", "resources": {"limits": {"cpu": None}}}]},
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (
            {"containers": [{"name": "more", "image": "demo"}]},
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
    ):
        with pytest.raises(StatusError) as refused:
            await resize(**change)
        assert message in refused.value.message
