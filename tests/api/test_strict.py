import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api import schemas, strict
from edgekube.api.errors import StatusError
from edgekube.api.kinds import (
    BUILT_IN,
    CONFIGMAP,
    CUSTOMRESOURCEDEFINITION,
    DEPLOYMENT,
    KINDS,
    LEASE,
    POD,
    SECRET,
    SERVICE,
    Kind,
)
from edgekube.api.objects import Object
from tests.api.samples import full_pod


def _kind(api_version: str, name: str) -> Kind:
    kind = KINDS.by_kind(api_version, name)
    assert kind is not None
    return kind


AUTOSCALER = _kind("autoscaling/v2", "HorizontalPodAutoscaler")
BUDGET = _kind("policy/v1", "PodDisruptionBudget")
WEBHOOKS = _kind("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")


def refused(kind: Kind, obj: Object) -> str:
    with pytest.raises(StatusError) as caught:
        strict.check(kind, obj)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    return caught.value.message


def test_a_pod_as_the_cluster_holds_it_is_left_as_it_is() -> None:
    pod = full_pod()
    assert strict.check(POD, pod) == strict.FITTING
    assert pod == full_pod()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"replicas": "3"}, "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": 1.5}, "cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": 2**31}, "unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": True}, "cannot unmarshal bool into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"paused": "yes"}, "cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool"),
        ({"selector": []}, "cannot unmarshal array into Go struct field DeploymentSpec.spec.selector of type v1.LabelSelector"),
        (
            {"template": {"spec": {"containers": {"name": "x"}}}},
            "cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            {"template": {"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}}},
            "cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        ({"strategy": {"rollingUpdate": {"maxSurge": True}}}, "json: cannot unmarshal bool into Go struct field "
         "RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32"),
    ],
)  # fmt: skip
def test_wrong_types_are_refused_in_upstreams_words(spec: Object, why: str) -> None:
    message = refused(DEPLOYMENT, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec})
    assert message.startswith('Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal ')
    assert message.endswith(why)


def test_text_that_does_not_parse_is_refused_in_the_parsers_words() -> None:
    def pod(resources: Object) -> Object:
        return {"spec": {"containers": [{"name": "x", "resources": resources}]}}

    assert refused(POD, pod({"limits": {"cpu": "lots"}})) == (
        'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )
    assert "quantities must match" in refused(POD, pod({"limits": {"cpu": True}}))
    assert refused(SECRET, {"data": {"a": "YWJj%"}}) == (
        'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 4'
    )
    assert "parsing time" in refused(POD, {"metadata": {"creationTimestamp": "now"}})
    assert refused(CONFIGMAP, {"data": {"a": 1}}).endswith(
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
    )


@pytest.mark.parametrize(
    ("kind", "obj", "why"),
    [
        (POD, {"spec": {"restartPolicy": 5}}, "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"),
        (POD, {"spec": {"volumes": [{"configMap": {"items": [{"key": 5}]}}]}},
         "number into Go struct field KeyToPath.spec.volumes.VolumeSource.configMap.items.key of type string"),
        (POD, {"spec": {"volumes": [{"configMap": {"name": 5}}]}},
         "number into Go struct field ConfigMapVolumeSource.spec.volumes.VolumeSource.configMap.LocalObjectReference.name of "
         "type string"),
        (POD, {"spec": {"containers": [{"startupProbe": {"grpc": {"port": 1.5}}}]}},
         "number 1.5 into Go struct field GRPCAction.spec.containers.startupProbe.ProbeHandler.grpc.port of type int32"),
        (POD, {"spec": {"containers": [{"securityContext": {"capabilities": {"add": [5]}}}]}},
         "number into Go struct field Capabilities.spec.containers.securityContext.capabilities.add of type v1.Capability"),
        (POD, {"spec": {"containers": [{"securityContext": {"capabilities": {"add": {}}}}]}},
         "object into Go struct field Capabilities.spec.containers.securityContext.capabilities.add of type []v1.Capability"),
        (POD, {"spec": {"containers": [{"resources": {"limits": "x"}}]}},
         "string into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList"),
        (POD, {"spec": {"volumes": "x"}}, "string into Go struct field PodSpec.spec.volumes of type []v1.Volume"),
        (AUTOSCALER, {"spec": {"metrics": [{"resource": {"name": 5}}]}},
         "number into Go struct field ResourceMetricSource.spec.metrics.resource.name of type v1.ResourceName"),
        (WEBHOOKS, {"webhooks": [{"rules": [{"apiGroups": {}}]}]},
         "object into Go struct field RuleWithOperations.webhooks.rules.Rule.apiGroups of type []string"),
        (WEBHOOKS, {"webhooks": [{"rules": [{"operations": [5]}]}]},
         "number into Go struct field RuleWithOperations.webhooks.rules.operations of type v1.OperationType"),
        (BUDGET, {"status": {"disruptedPods": {"web": 5}}},
         "number into Go struct field PodDisruptionBudgetStatus.status.disruptedPods of type string"),
    ],
)  # fmt: skip
def test_fields_and_types_are_called_as_in_go(kind: Kind, obj: Object, why: str) -> None:
    assert refused(kind, obj) == (
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: cannot unmarshal {why}'
    )


def _definition(**schema: object) -> Object:
    return {"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}}


_AT_SCHEMA = "JSONSchemaProps.spec.versions.schema.openAPIV3Schema"


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (_definition(properties={"a": {"items": {"properties": {"k": {"type": 5}}}}}),
         f"json: cannot unmarshal number into Go struct field {_AT_SCHEMA}.properties.items.properties.type of type string"),
        (_definition(properties={"a": {"items": {"properties": {"k": "x"}}}}),
         f"json: cannot unmarshal string into Go struct field {_AT_SCHEMA}.properties.items.properties of type "
         "v1.JSONSchemaProps"),
        (_definition(items=[{"required": {}}]),
         f"json: cannot unmarshal object into Go struct field {_AT_SCHEMA}.items.required of type []string"),
        (_definition(dependencies={"a": [5]}),
         f"json: cannot unmarshal number into Go struct field {_AT_SCHEMA}.dependencies of type string"),
        (_definition(additionalProperties="x"), "boolean or JSON schema expected"),
        (_definition(**{"x-kubernetes-validations": {}}),
         f"json: cannot unmarshal object into Go struct field {_AT_SCHEMA}.x-kubernetes-validations of type v1.ValidationRules"),
        ({"spec": {"versions": [{"subresources": {"status": "x"}}]}},
         "json: cannot unmarshal string into Go struct field CustomResourceSubresources.spec.versions.subresources.status of "
         "type v1.CustomResourceSubresourceStatus"),
    ],
)  # fmt: skip
def test_schemas_in_definitions_are_read_to_the_bottom(obj: Object, why: str) -> None:
    what = "CustomResourceDefinition"
    assert refused(CUSTOMRESOURCEDEFINITION, obj) == f'{what} in version "v1" cannot be handled as a {what}: {why}'


def test_schemas_that_may_be_something_else_take_what_go_takes() -> None:
    definition = _definition(
        items="x", additionalProperties=True, dependencies={"a": ["b"]}, properties={"a": {"items": {"b": 1}}}
    )
    definition["spec"]["versions"][0]["subresources"] = {"status": {"more": 1}}
    shape = strict.check(CUSTOMRESOURCEDEFINITION, definition)
    assert shape.unknown == ("spec.versions[0].subresources.status.more",), "below items nobody counts"
    assert definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {
        "additionalProperties": True,
        "dependencies": {"a": ["b"]},
        "properties": {"a": {"items": {}}},
    }


def test_unknown_fields_are_named_and_gone() -> None:
    deployment: Object = {
        "spec": {
            "replicsa": 3,
            "Replicas": 2,
            "template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "imag": "c", "ports": [{"x": {"y": 1}}]}]}},
        },
        "more": {},
    }
    shape = strict.check(DEPLOYMENT, deployment)
    assert shape.messages() == [
        'unknown field "spec.replicsa"',
        'unknown field "spec.Replicas"',
        'unknown field "spec.template.spec.containers[1].imag"',
        'unknown field "spec.template.spec.containers[1].ports[0].x"',
        'unknown field "more"',
    ]
    assert deployment == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 0}]}]}}},
    }
    error = strict.strict_error(DEPLOYMENT, shape.messages()[:1])
    assert error.code == 400
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replicsa"'
    )


def test_what_go_leaves_out_goes_and_what_it_always_writes_comes() -> None:
    mount: Object = {"readOnly": False, "subPath": "", "mountPropagation": ""}
    pod: Object = {"spec": {"containers": [{"name": "a", "volumeMounts": [mount], "env": [], "tty": False}], "tolerations": []}}
    strict.check(POD, pod)
    assert pod["spec"] == {"containers": [{"name": "a", "volumeMounts": [mount]}]}
    assert mount == {"name": "", "mountPath": "", "mountPropagation": ""}, "a pointer to an empty string is there"


def test_a_pointer_keeps_its_zero_and_a_struct_its_emptiness() -> None:
    spec: Object = {"replicas": 0, "selector": {"matchLabels": {}}, "template": {}, "paused": False, "minReadySeconds": 0}
    strict.check(DEPLOYMENT, {"spec": spec})
    assert spec == {"replicas": 0, "selector": {}, "template": {}}


def test_no_policies_at_all_are_not_those_of_the_defaults() -> None:
    kind = KINDS.by_kind("autoscaling/v2", "HorizontalPodAutoscaler")
    assert kind is not None
    spec: Object = {"maxReplicas": 3, "behavior": {"scaleUp": {"policies": []}}, "metrics": []}
    strict.check(kind, {"spec": spec})
    assert spec["behavior"] == {"scaleUp": {"policies": []}} and "metrics" not in spec


def test_nulls_go_where_go_has_no_value_and_become_zero_where_it_must() -> None:
    pod: Object = {
        "metadata": {"creationTimestamp": None, "labels": {"a": None}},
        "spec": {"containers": [{"name": "a", "args": ["x", None], "resources": None}, None], "nodeSelector": None},
        "status": {},
    }
    strict.check(POD, pod)
    assert pod["metadata"] == {"labels": {"a": ""}}
    assert pod["spec"] == {"containers": [{"name": "a", "args": ["x", ""]}, {"name": ""}]}


def test_values_become_canonical() -> None:
    pod: Object = {
        "metadata": {"creationTimestamp": "2026-01-02T04:04:05.9+01:00"},
        "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi", "x.io/y": 1}}}]},
    }
    strict.check(POD, pod)
    assert pod["metadata"]["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi", "x.io/y": "1"}
    lease: Object = {"spec": {"renewTime": "2026-01-02T04:04:05.000000+01:00"}}
    strict.check(LEASE, lease)
    assert lease["spec"]["renewTime"] == "2026-01-02T03:04:05.000000Z"
    secret: Object = {"data": {"a": "YWJj\nZGVm\n"}}
    strict.check(SECRET, secret)
    assert secret["data"]["a"] == "YWJjZGVm"
    service: Object = {"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]}}
    strict.check(SERVICE, service)
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http", 8081]


def test_open_schemas_are_left_alone() -> None:
    crd = KINDS.by_kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert crd is not None
    schema = {
        "type": "object",
        "properties": {"spec": {"default": {"a": None}, "enum": [None, 1], "x-kubernetes-int-or-string": True}},
    }
    obj: Object = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": copy.deepcopy(schema)}}]}}
    assert strict.check(crd, obj) == strict.FITTING
    assert obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == schema
    revision = KINDS.by_kind("apps/v1", "ControllerRevision")
    assert revision is not None
    held: Object = {"data": {"anything": [None, {"a": 1}]}, "revision": 1}
    assert strict.check(revision, held).unknown == () and held["data"] == {"anything": [None, {"a": 1}]}


def test_an_object_must_be_of_the_kind_that_was_asked_for() -> None:
    assert refused(POD, {"apiVersion": "v2", "kind": "Pod"}) == (
        "the API version in the data (v2) does not match the expected API version (v1)"
    )
    assert refused(POD, {"apiVersion": "v1", "kind": "Service"}).startswith(
        'Service in version "v1" cannot be handled as a Pod: '
    )
    empty: Object = {}
    strict.check(POD, empty)
    assert empty == {"apiVersion": "v1", "kind": "Pod"}


def test_of_a_custom_object_only_the_metadata_is_checked() -> None:
    gadget = Kind("example.com", "v1", "Gadget", "gadgets", custom=True)
    obj: Object = {"metadata": {"name": "a", "lables": {}}, "spec": {"any": [1, None]}}
    assert strict.check(gadget, obj).unknown == ("metadata.lables",)
    assert obj["spec"] == {"any": [1, None]} and obj["metadata"] == {"name": "a"}
    assert "cannot unmarshal number" in refused(gadget, {"metadata": {"labels": {"a": 1}}})


def test_what_is_no_resource_is_checked_by_its_definition() -> None:
    options: Object = {"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "extra": 1}
    shape = strict.check_named(schemas.DELETE_OPTIONS, "DeleteOptions", "v1", options)
    assert shape.unknown == ("extra",)
    with pytest.raises(StatusError, match=r"DeleteOptions\.gracePeriodSeconds of type int64"):
        strict.check_named(schemas.DELETE_OPTIONS, "DeleteOptions", "v1", {"gracePeriodSeconds": "now"})


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "5", "1Gi"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "a", "spec", "items"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_comes_is_refused_or_fits_and_then_fits_for_good(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(BUILT_IN))
    fields = sorted((schemas.definition_of(kind).properties or {}).keys() - {"apiVersion", "kind"})
    obj: Object = data.draw(st.dictionaries(st.sampled_from(fields), _JSON, max_size=3))
    try:
        strict.check(kind, obj)
    except StatusError as error:
        assert error.code == 400
    else:
        again = copy.deepcopy(obj)
        assert strict.check(kind, again) == strict.FITTING
        assert again == obj


def test_only_so_many_unknown_fields_are_named() -> None:
    obj = {f"f{i}": 1 for i in range(1000)}
    shape = strict.check(CONFIGMAP, obj)
    assert len(shape.unknown) == len(shape.messages()) == limits.STRICT_MESSAGES_MAX
    assert set(obj) == {"apiVersion", "kind"}, "those that are not named are dropped as well"
