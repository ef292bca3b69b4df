"""Whatever has the right shape can be defaulted and judged: nothing raises, and defaulting twice is defaulting once."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.defaults import apply_defaults
from edgekube.api.kinds import BUILT_IN, Kind
from edgekube.api.validation import validate_create, validate_update
from edgekube.api.validation.rules import GROUPS
from edgekube.api.warnings import warnings_for
from tests.api.refusals import kind_of, manifest
from tests.api.shaped import shaped

_KINDS = [kind for kind in BUILT_IN if kind.kind != "ComponentStatus"]


def _named(kind: Kind) -> str:
    return f"{kind.api_version}/{kind.kind}"


@pytest.mark.parametrize("kind", _KINDS, ids=_named)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_shaped_object_is_judged_without_raising(kind: Kind, seed: int) -> None:
    dice = random.Random(seed)
    new, old = shaped(kind, dice), shaped(kind, dice)
    for obj in (new, old):
        apply_defaults(kind, obj)
        again = copy.deepcopy(obj)
        apply_defaults(kind, again)
        assert again == obj
    before = copy.deepcopy((new, old))
    found = validate_create(kind, new) + validate_update(kind, new, old)
    for subresource in (*kind.subresources, ""):
        found += validate_update(kind, new, old, subresource)
    warnings_for(kind, new, old)
    assert (new, old) == before, "judging changes nothing"
    for cause in found:
        assert cause.reason.startswith("FieldValue") and cause.message


@pytest.mark.parametrize("kind", _KINDS, ids=_named)
def test_an_empty_object_is_judged_too(kind: Kind) -> None:
    obj = {"apiVersion": kind.api_version, "kind": kind.kind}
    validate_create(kind, obj)
    apply_defaults(kind, obj)
    causes = validate_create(kind, obj)
    if kind.stored:
        # Of an Event of old the namespace is looked at first, and its metadata when all else is good.
        assert {cause.field for cause in causes} & {"metadata.name", "namespace"}


def test_every_built_in_kind_has_a_row() -> None:
    missing = [_named(kind) for kind in _KINDS if kind.kind not in GROUPS.get(kind.api_version, {})]
    assert missing == []


def test_a_body_full_of_faults_is_refused_with_a_bounded_number_of_causes() -> None:
    ports = [{"name": "", "containerPort": 0, "protocol": "x"}] * 20_000
    codes = {"operator": "In", "values": [0] * 200_000}
    pod = manifest("{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: nginx}]}}")
    pod["spec"]["containers"][0]["ports"] = ports
    assert len(validate_create(kind_of(pod), pod)) == limits.VALIDATION_CAUSES_MAX
    job = manifest("{apiVersion: batch/v1, kind: Job, metadata: {name: once}, spec: {template: {spec: {restartPolicy: Never}}}}")
    job["spec"]["podFailurePolicy"] = {"rules": [{"action": "FailJob", "onExitCodes": codes}]}
    assert len(validate_create(kind_of(job), job)) == limits.VALIDATION_CAUSES_MAX
