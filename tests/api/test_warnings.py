"""Warnings: what is taken and still worth a word."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.warnings import warnings_for
from tests.api.refusals import edited, kind_of, manifest

POD = manifest("{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: nginx}]}}")
SERVICE = manifest("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}")
C = "spec.containers[0]"

SAID: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (POD, {}, []),
    (
        POD,
        {"spec.nodeSelector": {"beta.kubernetes.io/os": "linux"}},
        ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'],
    ),
    (
        POD,
        {f"{C}.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        [f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply'],
    ),
    (
        POD,
        {f"{C}.ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}]},
        [f"{C}.ports[1]: duplicate port definition with {C}.ports[0]"],
    ),
    (
        POD,
        {f"{C}.resources.requests": {"memory": "500m"}},
        [f'{C}.resources.requests[memory]: fractional byte value "500m" is invalid, must be an integer'],
    ),
    (
        SERVICE,
        {"spec.externalName": "example.com"},
        ['spec.externalName is ignored when spec.type is not "ExternalName"'],
    ),
]


@pytest.mark.parametrize(("obj", "edits", "words"), SAID, ids=[next(iter(edits), "nothing") for _, edits, _ in SAID])
def test_what_is_said(obj: dict[str, Any], edits: dict[str, Any], words: list[str]) -> None:
    new = edited(obj, edits)
    assert warnings_for(kind_of(new), new) == words


def test_a_template_is_warned_of_by_its_own_path() -> None:
    deployment = manifest(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {nodeSelector:"
        " {beta.kubernetes.io/arch: arm64}, containers: [{name: web, image: nginx}]}}}}"
    )
    assert warnings_for(kind_of(deployment), deployment) == [
        'spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead'
    ]


def test_an_update_does_not_repeat_what_was_said_before() -> None:
    old = edited(POD, {"spec.nodeSelector": {"beta.kubernetes.io/os": "linux"}})
    assert warnings_for(kind_of(old), edited(old, {"metadata.labels": {"a": "b"}}), old) == []
