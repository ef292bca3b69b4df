"""What a delete may ask for, and what it is told when it asks wrongly."""

from __future__ import annotations

import pytest

from edgekube.api.delete_options import delete_options_of
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({}, DeleteOptions()),
        ({"dryRun": ["All", "All"], "gracePeriodSeconds": 0}, DeleteOptions(grace_period_seconds=0, dry_run=True)),
        ({"orphanDependents": True}, DeleteOptions(propagation_policy="Orphan")),
        ({"orphanDependents": False}, DeleteOptions(propagation_policy="Background")),
        ({"preconditions": {"uid": "u", "resourceVersion": "3"}}, DeleteOptions(precondition_uid="u", precondition_revision="3")),
        ({"ignoreStoreReadErrorWithClusterBreakingPotential": True}, DeleteOptions()),
    ],
)
def test_options_are_read(body: Object, options: DeleteOptions) -> None:
    assert delete_options_of(body) == options


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(StatusError) as error:
        delete_options_of({"orphanDependents": True, "propagationPolicy": "Later", "dryRun": ["All", "Some"]})
    assert error.value.reason == "Invalid"
    assert [(cause.field, cause.message) for cause in error.value.causes] == [
        ("propagationPolicy", 'Invalid value: "Later": orphanDependents and deletionPropagation cannot be both set'),
        ("propagationPolicy", 'Unsupported value: "Later": supported values: "Foreground", "Background", "Orphan", "nil"'),
        ("dryRun", 'Unsupported value: ["All","Some"]: supported values: "All"'),
    ]


@pytest.mark.parametrize(
    "body", [{"gracePeriodSeconds": "1"}, {"preconditions": 3}, {"propagationPolicy": []}, {"dryRun": "All"}]
)
def test_a_wrong_type_is_a_bad_request(body: Object) -> None:
    with pytest.raises(StatusError) as error:
        delete_options_of(body)
    assert error.value.reason == "BadRequest"
