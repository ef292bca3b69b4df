"""Params by name and by selector, in a namespace and without, and what does not go together."""

from __future__ import annotations

import pytest

from edgekube.admission.policies.params import ConfigurationFault, found, lookup_of
from edgekube.api.kinds import CONFIGMAP, NODE, Kind
from edgekube.api.objects import Object

CONFIG: Object = {"apiVersion": "v1", "kind": "ConfigMap"}
NAMED: Object = {"name": "limits", "parameterNotFoundAction": "Deny"}


def test_a_policy_without_params() -> None:
    assert lookup_of(None, NAMED, None, "shop") is None
    assert lookup_of(CONFIG, None, CONFIGMAP, "shop") is None


@pytest.mark.parametrize(
    ("reference", "kind", "namespace", "looked_up"),
    [
        (NAMED, CONFIGMAP, "shop", ("shop", "limits")),
        ({**NAMED, "namespace": "rules"}, CONFIGMAP, "shop", ("rules", "limits")),
        ({**NAMED, "namespace": "rules"}, CONFIGMAP, "", ("rules", "limits")),
        (NAMED, NODE, "shop", ("", "limits")),
        ({"selector": {"matchLabels": {"a": "b"}}}, CONFIGMAP, "shop", ("shop", "")),
    ],
)
def test_where_params_are(reference: Object, kind: Kind, namespace: str, looked_up: tuple[str, str]) -> None:
    lookup = lookup_of(CONFIG, reference, kind, namespace)
    assert lookup is not None
    assert (lookup.namespace, lookup.name) == looked_up
    assert (lookup.selector is None) == bool(lookup.name)


@pytest.mark.parametrize(
    ("reference", "kind", "namespace", "why"),
    [
        (NAMED, None, "shop", "failed to find resource referenced by paramKind: '/v1, Kind=ConfigMap'"),
        (
            {**NAMED, "namespace": "x"},
            NODE,
            "shop",
            "paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
        ),
        (NAMED, CONFIGMAP, "", "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"),
        ({**NAMED, "selector": {}}, CONFIGMAP, "shop", "paramRef.name and paramRef.selector are mutually exclusive"),
        ({}, CONFIGMAP, "shop", "one of name or selector must be provided"),
    ],
)
def test_what_does_not_go_together(reference: Object, kind: Kind | None, namespace: str, why: str) -> None:
    with pytest.raises(ConfigurationFault) as refused:
        lookup_of(CONFIG, reference, kind, namespace)
    assert str(refused.value) == why


def test_a_custom_param_kind_that_is_gone() -> None:
    with pytest.raises(ConfigurationFault, match=r"rules\.example\.com/v1, Kind=ReplicaLimit"):
        lookup_of({"apiVersion": "rules.example.com/v1", "kind": "ReplicaLimit"}, NAMED, None, "shop")


def test_no_param() -> None:
    denies = lookup_of(CONFIG, NAMED, CONFIGMAP, "shop")
    allows = lookup_of(CONFIG, {**NAMED, "parameterNotFoundAction": "Allow"}, CONFIGMAP, "shop")
    assert denies is not None and allows is not None
    assert found(allows, []) == []
    assert found(denies, [{"data": {}}]) == [{"data": {}}]
    with pytest.raises(ConfigurationFault, match="no params found for policy binding with `Deny` parameterNotFoundAction"):
        found(denies, [])
