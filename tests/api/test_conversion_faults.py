"""The expected texts are what kube-apiserver answers to strategic merge patches."""

from __future__ import annotations

import pytest

from edgekube.api.conversion_faults import told

_FIELD = "into Go struct field DeploymentSpec.spec.replicas of type"


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        (f"json: cannot unmarshal string {_FIELD} int32", "unrecognized type: int32"),
        (f"json: cannot unmarshal number 2.5 {_FIELD} int32", "cannot convert float64 to int32"),
        (f"json: cannot unmarshal number {_FIELD} string", "cannot convert int64 to string"),
        (f"json: cannot unmarshal bool {_FIELD} string", "unrecognized type: string"),
        (f"json: cannot unmarshal object {_FIELD} string", "unrecognized type: string"),
        (f"json: cannot unmarshal array {_FIELD} v1.DeploymentSpec", "cannot restore struct from: slice"),
        (f"json: cannot unmarshal string {_FIELD} []v1.Container", "cannot restore slice from string"),
        (f"json: cannot unmarshal string {_FIELD} map[string]string", "cannot restore map from string"),
        ("quantities must match the regular expression", "quantities must match the regular expression"),
    ],
)
def test_a_misfit_in_the_converters_words(why: str, expected: str) -> None:
    assert told(why) == expected
