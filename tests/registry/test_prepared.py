"""What the registry itself makes of what is sent, before it is judged."""

from __future__ import annotations

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, Kind
from edgekube.api.objects import Object
from edgekube.registry.local import LocalVerbs


def kind(api_version: str, name: str) -> Kind:
    found = KINDS.by_kind(api_version, name)
    assert found is not None
    return found


async def refused(verbs: LocalVerbs, api_version: str, name: str, obj: Object) -> list[tuple[str, str]]:
    with pytest.raises(StatusError) as error:
        await verbs.create(kind(api_version, name), "default", {"apiVersion": api_version, "kind": name, **obj})
    assert (error.value.reason, error.value.code) == ("Invalid", 422)
    return [(cause.field, cause.message) for cause in error.value.causes]


async def test_a_limit_range_without_a_name_gets_one(verbs: LocalVerbs) -> None:
    ranges = kind("v1", "LimitRange")
    made = await verbs.create(ranges, "default", {"spec": {"limits": []}})
    assert len(made["metadata"]["name"]) == 36
    assert await verbs.get(ranges, "default", made["metadata"]["name"]) == made


@pytest.mark.parametrize(
    ("spec", "stored"),
    [
        ({"podCIDR": "10.1.0.0/24"}, ("10.1.0.0/24", ["10.1.0.0/24"])),
        ({"podCIDRs": ["10.1.0.0/24"]}, ("10.1.0.0/24", ["10.1.0.0/24"])),
        ({"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.2.0.0/24"]}, ("10.1.0.0/24", ["10.1.0.0/24"])),
        ({"podCIDRs": ["10.1.0.0/24", "fd00::/64"]}, ("10.1.0.0/24", ["10.1.0.0/24", "fd00::/64"])),
    ],
)
async def test_both_ways_to_name_a_pod_range_agree(verbs: LocalVerbs, spec: Object, stored: tuple[str, list[str]]) -> None:
    made = await verbs.create(kind("v1", "Node"), "", {"metadata": {"name": "pi"}, "spec": spec})
    assert (made["spec"]["podCIDR"], made["spec"]["podCIDRs"]) == stored


async def test_a_wrong_pod_range_is_refused_by_either_name(verbs: LocalVerbs) -> None:
    words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    for spec in ({"podCIDR": "a"}, {"podCIDRs": ["a"]}):
        with pytest.raises(StatusError) as error:
            await verbs.create(kind("v1", "Node"), "", {"metadata": {"name": "pi"}, "spec": spec})
        assert [(cause.field, cause.message) for cause in error.value.causes] == [
            ("spec.podCIDRs[0]", f'Invalid value: "a": {words}')
        ]


async def test_events_are_judged_by_the_group_they_are_sent_to(verbs: LocalVerbs) -> None:
    about = {"kind": "Pod", "name": "web", "namespace": "default"}
    made = await verbs.create(kind("v1", "Event"), "default", {"metadata": {"name": "a_b"}, "involvedObject": about})
    assert made["metadata"]["name"] == "a_b"
    assert await refused(verbs, "events.k8s.io/v1", "Event", {"metadata": {"name": "b"}, "regarding": about}) == [
        ("eventTime", "Required value"),
        ("type", 'Invalid value: "": has invalid value: '),
    ]
    new = {"eventTime": "2026-01-01T00:00:00.000000Z", "action": "Act", "reason": "Why", "reportingInstance": "x"}
    assert (
        "reportingController",
        "Required value",
    ) in await refused(
        verbs, "events.k8s.io/v1", "Event", {"metadata": {"name": "c"}, "regarding": about, "type": "Normal", **new}
    )


async def test_what_older_versions_said_of_an_endpoints_place_is_dropped(verbs: LocalVerbs) -> None:
    slices = kind("discovery.k8s.io/v1", "EndpointSlice")
    endpoint = {"addresses": ["10.42.0.5"], "deprecatedTopology": {"kubernetes.io/hostname": "pi"}}
    sent = {"metadata": {"name": "web"}, "addressType": "IPv4", "endpoints": [endpoint], "ports": []}
    made = await verbs.create(slices, "default", sent)
    assert "deprecatedTopology" not in made["endpoints"][0] and "nodeName" not in made["endpoints"][0]


async def test_a_source_of_a_claim_that_names_nothing_is_dropped(verbs: LocalVerbs) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "dataSource": {}}
    made = await verbs.create(kind("v1", "PersistentVolumeClaim"), "default", {"metadata": {"name": "data"}, "spec": spec})
    assert "dataSource" not in made["spec"]


async def test_a_job_says_by_its_labels_whose_pods_are_its_own(verbs: LocalVerbs) -> None:
    """It has its template's labels where it has none, and those that the server adds there, too."""
    template = {
        "metadata": {"labels": {"app": "once"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]},
    }
    made = await verbs.create(kind("batch/v1", "Job"), "default", {"metadata": {"name": "once"}, "spec": {"template": template}})
    uid = made["metadata"]["uid"]
    assert (
        made["metadata"]["labels"]
        == made["spec"]["template"]["metadata"]["labels"]
        == {
            "app": "once",
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": "once",
            "controller-uid": uid,
            "job-name": "once",
        }
    )


async def test_a_label_that_is_the_servers_to_give_is_not_overwritten_but_refused(verbs: LocalVerbs) -> None:
    labels = {"job-name": "other"}
    template = {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}
    found = await refused(verbs, "batch/v1", "Job", {"metadata": {"name": "once"}, "spec": {"template": template}})
    assert {field for field, _ in found} == {"spec.template.metadata.labels[job-name]"}
    assert found[0][1].endswith("must be 'once'")


async def test_a_pod_template_without_a_template_is_judged_by_its_defaults(verbs: LocalVerbs) -> None:
    assert await refused(verbs, "v1", "PodTemplate", {"metadata": {"name": "empty"}}) == [
        ("template.spec.containers", "Required value")
    ]


@pytest.mark.parametrize("revision", ["x", "0", "-1", ""])
async def test_a_revision_that_is_none_is_forgotten(verbs: LocalVerbs, revision: str) -> None:
    sent = {"metadata": {"name": "a", "resourceVersion": revision}}
    made = await verbs.create(kind("v1", "ConfigMap"), "default", sent)
    assert made["metadata"]["resourceVersion"] != revision
    with pytest.raises(StatusError) as error:
        await verbs.create(
            kind("v1", "ConfigMap"),
            "default",
            {"metadata": {"name": "b", "resourceVersion": made["metadata"]["resourceVersion"]}},
        )
    assert (error.value.code, error.value.message) == (500, "resourceVersion should not be set on objects to be created")


async def test_fields_of_gates_that_are_off_are_dropped(verbs: LocalVerbs) -> None:
    leases, nodes = kind("coordination.k8s.io/v1", "Lease"), kind("v1", "Node")
    sent = {"holderIdentity": "a", "strategy": "OldestEmulationVersion", "preferredHolder": "b"}
    made = await verbs.create(leases, "default", {"metadata": {"name": "a"}, "spec": sent})
    assert made["spec"] == {"holderIdentity": "a"}
    node = await verbs.create(nodes, "", {"metadata": {"name": "pi"}, "spec": {"configSource": {}}})
    assert "configSource" not in node.get("spec", {})


async def test_a_headless_service_is_replaced_without_an_address(verbs: LocalVerbs) -> None:
    """Who leaves out the address means the one that it has."""
    services = kind("v1", "Service")
    spec = {"clusterIP": "None", "ports": [{"port": 80}]}
    made = await verbs.create(services, "default", {"metadata": {"name": "h"}, "spec": spec})
    del made["spec"]["clusterIP"]
    stored = await verbs.update(services, made)
    assert (stored["spec"]["clusterIP"], stored["spec"]["clusterIPs"]) == ("None", ["None"])


@pytest.mark.parametrize("key", ["clusterTrustBundle", "podCertificate"])
async def test_sources_of_gates_that_are_off_are_dropped(verbs: LocalVerbs, key: str) -> None:
    source = {"clusterTrustBundle": {"name": "b", "path": "ca"}, "podCertificate": {"signerName": "a.example/b", "keyType": "x"}}[
        key
    ]
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "a", "image": "b"}],
            "volumes": [{"name": "v", "projected": {"sources": [{key: source}]}}],
        },
    }
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    made = await verbs.create(kind("apps/v1", "Deployment"), "default", {"metadata": {"name": "web"}, "spec": spec})
    assert made["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"] == [{}]


async def test_a_node_port_of_a_service_without_them_is_forbidden_and_not_taken(verbs: LocalVerbs) -> None:
    ports = [{"port": 80, "nodePort": 30080}]
    assert await refused(verbs, "v1", "Service", {"metadata": {"name": "a"}, "spec": {"ports": ports}}) == [
        ("spec.ports[0].nodePort", "Forbidden: may not be used when `type` is 'ClusterIP'")
    ]
    sent = {"metadata": {"name": "a"}, "spec": {"ports": ports, "type": "NodePort"}}
    made = await verbs.create(kind("v1", "Service"), "default", sent)
    assert made["spec"]["ports"][0]["nodePort"] == 30080


async def test_an_empty_family_policy_is_not_the_default(verbs: LocalVerbs) -> None:
    spec = {"ports": [{"port": 80}], "ipFamilyPolicy": ""}
    (found,) = await refused(verbs, "v1", "Service", {"metadata": {"name": "a"}, "spec": spec})
    assert found[0] == "spec.ipFamilyPolicy" and found[1].startswith('Unsupported value: ""')
