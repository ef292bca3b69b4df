"""Admission decisions on pods, claims and ingresses: pure, so tested without a registry."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.admission import default_classes, priority, runtime_class, service_account, tolerations
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}


def test_the_token_is_mounted_where_nothing_is() -> None:
    mounted = {"name": "c", "volumeMounts": [{"name": "own", "mountPath": service_account.MOUNT_PATH}]}
    both = pod(containers=[mounted, {"name": "d"}], initContainers=[{"name": "i"}])
    service_account.admit(both, {}, "abcde")
    assert [v["name"] for v in both["spec"]["volumes"]] == ["kube-api-access-abcde"]
    assert [m["name"] for m in both["spec"]["containers"][0]["volumeMounts"]] == ["own"]
    assert [m["name"] for m in both["spec"]["containers"][1]["volumeMounts"]] == ["kube-api-access-abcde"]
    assert [m["name"] for m in both["spec"]["initContainers"][0]["volumeMounts"]] == ["kube-api-access-abcde"]
    alone = pod(containers=[mounted])
    service_account.admit(alone, {}, "abcde")
    assert "volumes" not in alone["spec"]


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounts"),
    [(None, None, True), (None, False, False), (True, False, True), (False, True, False), (False, None, False)],
)
def test_the_pod_has_the_last_word_on_its_token(of_pod: bool | None, of_account: bool | None, mounts: bool) -> None:
    asked = pod() if of_pod is None else pod(automountServiceAccountToken=of_pod)
    account = {} if of_account is None else {"automountServiceAccountToken": of_account}
    service_account.admit(asked, account, "abcde")
    assert ("volumes" in asked["spec"]) is mounts


def test_pull_secrets_of_the_account() -> None:
    account = {"imagePullSecrets": [{"name": "registry"}]}
    without, own = pod(), pod(imagePullSecrets=[{"name": "mine"}])
    service_account.admit(without, account, "abcde")
    service_account.admit(own, account, "abcde")
    assert without["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert own["spec"]["imagePullSecrets"] == [{"name": "mine"}]


def test_both_names_of_the_account_agree() -> None:
    old = pod(serviceAccount="bob")
    assert service_account.name_account(old) == "bob"
    assert old["spec"]["serviceAccountName"] == "bob"


def test_tolerations_are_added_where_none_covers() -> None:
    own = pod(tolerations=[{"key": tolerations.NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}])
    tolerations.admit_pod(own)
    assert [(t["key"], t["tolerationSeconds"]) for t in own["spec"]["tolerations"]] == [
        (tolerations.NOT_READY, 5),
        (tolerations.UNREACHABLE, 300),
    ]
    everything = pod(tolerations=[{"operator": "Exists"}])
    tolerations.admit_pod(everything)
    assert everything["spec"]["tolerations"] == [{"operator": "Exists"}]


CLASSES = [
    {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"},
    {"metadata": {"name": "usual"}, "value": 10, "globalDefault": True},
]


def test_priorities() -> None:
    high, usual, none = pod(priorityClassName="high"), pod(), pod()
    priority.admit(high, CLASSES)
    priority.admit(usual, CLASSES)
    priority.admit(none, [])
    assert (high["spec"]["priority"], high["spec"]["preemptionPolicy"]) == (1000, "Never")
    assert (usual["spec"]["priority"], usual["spec"]["priorityClassName"]) == (10, "usual")
    assert (none["spec"]["priority"], "priorityClassName" in none["spec"]) == (0, False)
    with pytest.raises(StatusError):
        priority.admit(pod(priorityClassName="high", preemptionPolicy="PreemptLowerPriority"), CLASSES)


def test_one_default_priority() -> None:
    priority.may_be_default(CLASSES[1], CLASSES)
    with pytest.raises(StatusError) as error:
        priority.may_be_default({"metadata": {"name": "other"}, "globalDefault": True}, CLASSES)
    assert "PriorityClass usual is already marked as default" in error.value.message


def test_a_runtime_class_brings_overhead_and_place() -> None:
    found = {
        "overhead": {"podFixed": {"cpu": "10m"}},
        "scheduling": {"nodeSelector": {"sandbox": "yes"}, "tolerations": [{"key": "sandbox"}]},
    }
    asked = pod(runtimeClassName="kata", nodeSelector={"disk": "ssd"})
    runtime_class.admit(asked, "kata", found)
    assert asked["spec"]["overhead"] == {"cpu": "10m"}
    assert asked["spec"]["nodeSelector"] == {"disk": "ssd", "sandbox": "yes"}
    assert asked["spec"]["tolerations"] == [{"key": "sandbox"}]
    for wrong in (pod(nodeSelector={"sandbox": "no"}), pod(overhead={"cpu": "1"})):
        with pytest.raises(StatusError):
            runtime_class.admit(wrong, "kata", found)
    with pytest.raises(StatusError):
        runtime_class.admit(pod(overhead={"cpu": "1"}), "", None)


def _class(name: str, created: str, *, default: bool = True) -> Object:
    marks = {
        "storageclass.kubernetes.io/is-default-class": "true",
        "ingressclass.kubernetes.io/is-default-class": "true",
    }
    return {"metadata": {"name": name, "creationTimestamp": created, "annotations": marks if default else {}}}


def test_the_newest_default_class_wins() -> None:
    classes = [_class("old", "2026-01-01T00:00:00Z"), _class("b", "2026-02-01T00:00:00Z"), _class("a", "2026-02-01T00:00:00Z")]
    claim: Object = {"metadata": {"name": "c"}}
    default_classes.admit_claim(claim, classes)
    assert claim["spec"]["storageClassName"] == "a"
    ingress: Object = {"metadata": {"name": "i"}, "spec": {}}
    default_classes.admit_ingress(ingress, classes)
    assert ingress["spec"]["ingressClassName"] == "a"


def test_no_class_is_a_choice() -> None:
    claim: Object = {"metadata": {"name": "c"}, "spec": {"storageClassName": ""}}
    default_classes.admit_claim(claim, [_class("a", "2026-01-01T00:00:00Z")])
    assert claim["spec"]["storageClassName"] == ""
    unmarked: Object = {"metadata": {"name": "c"}, "spec": {}}
    default_classes.admit_claim(unmarked, [_class("a", "2026-01-01T00:00:00Z", default=False)])
    assert unmarked["spec"] == {}
