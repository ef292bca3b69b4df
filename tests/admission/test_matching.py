"""Which requests rules and selectors speak of, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekube.admission.matching import Constraints, Rule, is_exempt
from edgekube.api.kinds import BUILT_IN, CONFIGMAP, DEPLOYMENT, NAMESPACE, NODE, POD, Kind
from edgekube.api.objects import Object

HPA_V1 = next(row for row in BUILT_IN if row.kind == "HorizontalPodAutoscaler" and row.version == "v1")
HPA_V2 = next(row for row in BUILT_IN if row.kind == "HorizontalPodAutoscaler" and row.version == "v2")


@dataclass
class Asked:
    kind: Kind = DEPLOYMENT
    operation: str = "CREATE"
    subresource: str = ""
    namespace: str = "shop"
    name: str = "web"
    object: Object | None = None
    old_object: Object | None = None


def rule(**changed: object) -> Object:
    said: Object = {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "resources": ["deployments"],
    }
    return {**said, **changed}


def others(kind: Kind) -> Sequence[Kind]:
    return [row for row in BUILT_IN if row.resource == kind.resource and row != kind]


def nobody(kind: Kind) -> Sequence[Kind]:
    return []


@pytest.mark.parametrize(
    ("changed", "asked", "covered"),
    [
        ({}, Asked(), True),
        ({}, Asked(operation="DELETE"), False),
        ({"operations": ["*"]}, Asked(operation="CONNECT"), True),
        ({"apiGroups": ["*"]}, Asked(), True),
        ({"apiGroups": [""]}, Asked(), False),
        ({"apiVersions": ["v1beta1"]}, Asked(), False),
        ({"resources": ["*"]}, Asked(), True),
        ({"resources": ["*"]}, Asked(subresource="scale"), False),
        ({"resources": ["*/*"]}, Asked(subresource="scale"), True),
        ({"resources": ["*/*"]}, Asked(), True),
        ({"resources": ["*/scale"]}, Asked(subresource="scale"), True),
        ({"resources": ["deployments/*"]}, Asked(), True),
        ({"resources": ["deployments/scale"]}, Asked(), False),
        ({"scope": "Cluster"}, Asked(), False),
        ({"scope": "Namespaced"}, Asked(), True),
        ({"scope": "Elsewhere"}, Asked(), False),
        ({"resourceNames": ["web", "api"]}, Asked(), True),
        ({"resourceNames": ["api"]}, Asked(), False),
        ({"resourceNames": ["api"]}, Asked(name=""), False),
    ],
)
def test_a_rule(changed: Object, asked: Asked, covered: bool) -> None:
    assert Rule.of(rule(**changed)).covers(asked, asked.kind) is covered


@pytest.mark.parametrize(("scope", "covered"), [("Cluster", True), ("Namespaced", False), ("*", True)])
def test_a_namespace_is_of_the_cluster(scope: str, covered: bool) -> None:
    asked = Asked(NAMESPACE, namespace="shop", name="shop")
    said = rule(apiGroups=[""], resources=["namespaces"], scope=scope)
    assert Rule.of(said).covers(asked, asked.kind) is covered


def test_another_version_of_the_same_object() -> None:
    asked = Asked(HPA_V2, "UPDATE", name="web")
    said = rule(apiGroups=["autoscaling"], resources=["horizontalpodautoscalers"])
    equivalent = Constraints.of_match_resources({"resourceRules": [said], "matchPolicy": "Equivalent"})
    exact = Constraints.of_match_resources({"resourceRules": [said], "matchPolicy": "Exact"})
    assert equivalent.kind_for(asked, others) == HPA_V1
    assert equivalent.kind_for(asked, nobody) is None
    assert exact.kind_for(asked, others) is None


def test_the_version_asked_for_goes_before_another() -> None:
    said = rule(apiGroups=["autoscaling"], apiVersions=["*"], resources=["horizontalpodautoscalers"])
    constraints = Constraints.of_match_resources({"resourceRules": [said]})
    assert constraints.kind_for(Asked(HPA_V2), others) == HPA_V2


def test_what_is_excluded_is_out_whatever_else_is_said() -> None:
    constraints = Constraints.of_match_resources(
        {"resourceRules": [rule(resources=["*"])], "excludeResourceRules": [rule(resourceNames=["system"])]}
    )
    assert constraints.kind_for(Asked(name="web"), nobody) == DEPLOYMENT
    assert constraints.kind_for(Asked(name="system"), nobody) is None


def test_without_rules_a_binding_means_all_and_a_webhook_nothing() -> None:
    assert Constraints.of_match_resources({}).kind_for(Asked(CONFIGMAP), nobody) == CONFIGMAP
    assert Constraints.of_webhook({}).kind_for(Asked(CONFIGMAP), nobody) is None
    assert Constraints.of_webhook({"rules": [rule()]}).kind_for(Asked(), nobody) == DEPLOYMENT


def labelled(**labels: str) -> Object:
    return {"metadata": {"labels": labels}}


@pytest.mark.parametrize(
    ("new", "old", "selected"),
    [
        (labelled(tier="web"), None, True),
        (labelled(), labelled(tier="web"), True),
        (None, labelled(tier="web"), True),
        (labelled(tier="db"), labelled(), False),
        (None, None, False),
    ],
)
def test_labels_before_or_after(new: Object | None, old: Object | None, selected: bool) -> None:
    constraints = Constraints.of_match_resources({"objectSelector": {"matchLabels": {"tier": "web"}}})
    assert constraints.selects_object(Asked(object=new, old_object=old)) is selected
    assert Constraints.of_match_resources({}).selects_object(Asked(object=new, old_object=old))


BY_STAGE = Constraints.of_match_resources({"namespaceSelector": {"matchLabels": {"stage": "test"}}})


def test_the_namespace_of_what_is_asked() -> None:
    asked = Asked()
    assert BY_STAGE.asks_namespace(asked)
    assert BY_STAGE.selects_namespace(asked, {"stage": "test"})
    assert not BY_STAGE.selects_namespace(asked, {})


def test_what_is_in_no_namespace_is_selected_always() -> None:
    asked = Asked(NODE, namespace="", name="pi")
    assert not BY_STAGE.asks_namespace(asked)
    assert BY_STAGE.selects_namespace(asked, {})


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_a_namespace_counts_as_what_it_becomes(operation: str) -> None:
    asked = Asked(NAMESPACE, operation, namespace="shop", name="shop", object=labelled(stage="test"))
    assert not BY_STAGE.asks_namespace(asked)
    assert BY_STAGE.selects_namespace(asked, {})


@pytest.mark.parametrize(("operation", "subresource"), [("DELETE", ""), ("UPDATE", "status")])
def test_a_namespace_counts_as_what_it_is(operation: str, subresource: str) -> None:
    asked = Asked(NAMESPACE, operation, subresource, "shop", "shop", labelled(stage="test"))
    assert BY_STAGE.asks_namespace(asked)
    assert not BY_STAGE.selects_namespace(asked, {})


def test_nobody_judges_the_judges() -> None:
    exempt = {row.kind for row in BUILT_IN if is_exempt(row)}
    assert exempt == {
        "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
    }  # fmt: skip


_WORDS = st.lists(st.sampled_from(["*", "apps", "v1", "", "deployments", "deployments/scale", "*/scale", "CREATE"]), max_size=3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_WORDS, _WORDS, _WORDS, _WORDS, st.sampled_from(["", "scale"]))
def test_what_is_said_twice_is_said_once(
    operations: list[str], groups: list[str], versions: list[str], resources: list[str], subresource: str
) -> None:
    """The order of rules and repetition change nothing, and an exclusion of the same leaves nothing."""
    said = rule(operations=operations, apiGroups=groups, apiVersions=versions, resources=resources)
    asked = Asked(subresource=subresource)
    once = Constraints.of_match_resources({"resourceRules": [said, rule(operations=[])]}).kind_for(asked, others)
    turned = Constraints.of_match_resources({"resourceRules": [rule(operations=[]), said, said]}).kind_for(asked, others)
    assert once == turned
    both = Constraints.of_match_resources({"resourceRules": [said], "excludeResourceRules": [said]})
    assert both.kind_for(asked, others) is None
    assert Rule.of(said).covers(Asked(POD, subresource=subresource), POD) is False or "*" in groups or "" in groups
