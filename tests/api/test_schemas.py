import pytest

from edgekube.api import schemas
from edgekube.api.kinds import BUILT_IN, DEPLOYMENT, POD, SERVICE, Kind


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: f"{kind.api_version}/{kind.kind}")
def test_every_kind_has_a_definition(kind: Kind) -> None:
    node = schemas.definition_of(kind)
    assert node.type == "object"
    assert node.properties is not None and {"apiVersion", "kind"} <= node.properties.keys()


def test_every_reference_leads_somewhere() -> None:
    def check(node: schemas.Node) -> None:
        if node.ref:
            assert schemas.definition(node.ref)
        for child in [*(node.properties or {}).values(), node.items, node.additional]:
            if child is not None:
                check(child)

    for name in schemas.definition_names():
        check(schemas.definition(name))


def test_a_node_knows_its_type_and_its_keys() -> None:
    spec = schemas.definition("io.k8s.api.core.v1.PodSpec")
    assert spec.properties is not None
    containers = spec.properties["containers"]
    assert (containers.type, containers.list_type, containers.map_keys) == ("array", "map", ("name",))
    assert (containers.merge_key, containers.patch_strategies) == ("name", ("merge",))
    assert spec.required == ("containers",)
    assert spec.properties["volumes"].patch_strategies == ("merge", "retainKeys")
    assert containers.items is not None
    ports = (containers.items.resolved().properties or {})["ports"]
    assert (ports.map_keys, ports.merge_key) == (("containerPort", "protocol"), "containerPort")


def test_scalars_are_what_kubernetes_says_they_are() -> None:
    service = schemas.definition_of(SERVICE).properties or {}
    port = (service["spec"].resolved().properties or {})["ports"].items
    assert port is not None
    properties = port.resolved().properties or {}
    assert (properties["targetPort"].type, properties["targetPort"].format) == ("string", "int-or-string")
    assert (properties["port"].type, properties["port"].format) == ("integer", "int32")
    resources = schemas.definition("io.k8s.api.core.v1.ResourceRequirements").properties or {}
    assert resources["limits"].additional is not None and resources["limits"].additional.format == "quantity"
    metadata = schemas.definition(schemas.OBJECT_META).properties or {}
    assert metadata["creationTimestamp"].format == "date-time"
    lease = schemas.definition("io.k8s.api.coordination.v1.LeaseSpec").properties or {}
    assert lease["renewTime"].format == "micro-time"
    secret = schemas.definition("io.k8s.api.core.v1.Secret").properties or {}
    assert secret["data"].additional is not None and secret["data"].additional.format == "byte"


def test_a_site_keeps_its_own_patch_strategy() -> None:
    spec = (schemas.definition_of(DEPLOYMENT).properties or {})["spec"].resolved().properties or {}
    assert spec["strategy"].ref and spec["strategy"].patch_strategies == ("retainKeys",)


def test_kinds_that_are_no_resource_have_names_too() -> None:
    assert schemas.name_of("autoscaling/v1", "Scale") == "io.k8s.api.autoscaling.v1.Scale"
    assert schemas.name_of("policy/v1", "Eviction") == "io.k8s.api.policy.v1.Eviction"
    assert schemas.name_of("v1", "DeleteOptions") == schemas.DELETE_OPTIONS
    assert schemas.name_of("v1", "Gadget") is None


def test_unknown_names_are_refused() -> None:
    with pytest.raises(LookupError, match="Gadget"):
        schemas.definition("io.k8s.api.core.v1.Gadget")
    with pytest.raises(LookupError, match="has no schema"):
        schemas.definition_of(Kind("example.com", "v1", "Gadget", "gadgets", custom=True))


def test_descriptions_are_there_when_asked_for() -> None:
    pod = schemas.describe("io.k8s.api.core.v1.Pod")
    assert pod[""].startswith("Pod is a collection of containers")
    assert "spec" in pod and schemas.describe("nothing") == {}
    everything = schemas.descriptions()
    assert everything["io.k8s.api.core.v1.Pod"] == pod
    assert everything.keys() == set(schemas.definition_names())
    assert schemas.definition_of(POD).properties is not None
