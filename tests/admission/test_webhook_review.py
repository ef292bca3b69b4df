"""AdmissionReview: whatever a webhook answers is a verdict or said to be none; never a fault of ours."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.admission.request import CREATE, AdmissionRequest
from edgekube.admission.webhook_review import InvalidAnswer, operations_of, refusal, review, verdict_of, version_for
from edgekube.admission.webhooks import Hook, Reinvocation, hooks_of
from edgekube.api.errors import CODES
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
RESPONSE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("uid", "allowed", "patch", "patchType", "status", "warnings", "auditAnnotations"), ANYTHING)
)
STATUS = st.fixed_dictionaries({}, optional=dict.fromkeys(("message", "reason", "code"), ANYTHING) | {
    "details": ANYTHING | st.fixed_dictionaries({}, optional=dict.fromkeys(("causes", "retryAfterSeconds", "name"), ANYTHING))
})  # fmt: skip


@given(ANYTHING | st.fixed_dictionaries({"response": ANYTHING | RESPONSE}), st.booleans(), st.sampled_from(["v1", "v1beta1"]))
def test_every_answer_is_a_verdict_or_none(answer: object, mutating: bool, version: str) -> None:
    try:
        verdict = verdict_of(orjson.dumps(answer), uid="1", version=version, mutating=mutating)
    except InvalidAnswer:
        return
    assert isinstance(verdict.allowed, bool) and all(isinstance(text, str) for text in verdict.warnings)


@given(STATUS)
def test_every_refusal_is_an_error_that_can_be_sent(status: Object) -> None:
    error = refusal("a.example.com", status)
    assert 400 <= error.code < 600
    assert error.message.startswith('admission webhook "a.example.com" denied the request')
    assert orjson.dumps(error.status())


@given(st.binary(max_size=40))
def test_what_is_no_patch_is_said(patch: bytes) -> None:
    try:
        assert isinstance(operations_of(patch), list)
    except InvalidAnswer:
        pass


def test_a_refusal_keeps_what_the_webhook_said_of_it() -> None:
    assert (refusal("a", {"reason": "Forbidden"}).message, refusal("a", {}).code) == (
        'admission webhook "a" denied the request: Forbidden', 400,
    )  # fmt: skip
    assert refusal("a", {"code": CODES["Invalid"], "message": "x"}).code == 422


def test_the_first_version_that_both_know_is_spoken() -> None:
    assert version_for(["v7", "v1beta1", "v1"]) == "v1beta1"
    with pytest.raises(InvalidAnswer, match="webhook does not accept known AdmissionReview versions"):
        version_for(["v7"])


def test_a_review_leaves_out_what_is_empty() -> None:
    request = AdmissionRequest(
        CREATE, CONFIGMAP, "default", "", UserInfo("alice", extra={"scopes": ("a",)}), {"kind": "ConfigMap"}
    )
    asked = orjson.loads(review(request, CONFIGMAP, request.object, None, uid="1", version="v1", dry_run=False))["request"]
    assert asked["userInfo"] == {"username": "alice", "extra": {"scopes": ["a"]}}
    assert "name" not in asked and "subResource" not in asked and asked["oldObject"] is None


def hook(name: str, **more: object) -> Object:
    return {"name": name, "clientConfig": {}, "rules": [], "reinvocationPolicy": "IfNeeded", **more}


def test_webhooks_of_the_same_name_are_told_apart() -> None:
    found = hooks_of([{"metadata": {"name": "c"}, "webhooks": [hook("a"), hook("a"), hook("b")]}])
    assert [one.uid for one in found] == ["c/a/0", "c/a/1", "c/b/0"]


def second_run(again: Reinvocation, hooks: tuple[Hook, ...], now: bytes) -> list[str]:
    again.second_run(now)
    return [one.name for one in hooks if again.asks_again(one)]


def test_who_came_before_a_change_is_asked_again() -> None:
    one, two, three = hooks = hooks_of([
        {"metadata": {"name": "c"}, "webhooks": [hook("one"), hook("two", reinvocationPolicy="Never"), hook("three")]}
    ])  # fmt: skip
    again = Reinvocation()
    again.asked(one)
    again.asked(two)
    again.changed()  # by the third
    again.asked(three)
    again.left = b"x"
    assert second_run(again, hooks, b"x") == ["one"]
    assert second_run(again, hooks, b"y") == ["one", "three"]  # a plugin of ours changed it besides
