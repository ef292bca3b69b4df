"""What the status of a namespace says while it goes."""

from __future__ import annotations

from edgekube.api import times
from edgekube.api.calls import Patch
from edgekube.api.kinds import DEPLOYMENT, POD
from edgekube.api.objects import Object
from edgekube.controllers.namespace import Content, plan_status, unexpected


def told(content: Content, before: Object | None = None) -> dict[str, tuple[str, str, str]]:
    namespace = {"metadata": {"name": "shop", "uid": "u"}, "status": before or {}}
    (call,) = plan_status(namespace, content, 0.0)
    assert isinstance(call, Patch) and isinstance(call.patch, dict)
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in call.patch["status"]["conditions"]}


def test_all_is_well() -> None:
    assert told(Content()) == {
        "NamespaceDeletionDiscoveryFailure": ("False", "ResourcesDiscovered", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False", "ParsedGroupVersions", "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": ("False", "ContentRemoved", "All content successfully removed"),
        "NamespaceFinalizersRemaining": ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    }  # fmt: skip


def test_what_remains_although_nothing_asks_it_to() -> None:
    namespace = {"metadata": {"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    now = times.parse("2026-01-01T00:00:30Z")
    assert unexpected(POD, namespace, 2, False, 31, now) == "", "they have their time"
    assert unexpected(POD, namespace, 2, True, 0, now) == ""
    assert unexpected(POD, namespace, 0, False, 0, now) == ""
    assert unexpected(POD, namespace, 2, False, 30, now) == (
        "unexpected items still remain in namespace: shop for gvr: /v1, Resource=pods"
    )
    assert unexpected(DEPLOYMENT, namespace, 1, False, 0, now).endswith("for gvr: apps/v1, Resource=deployments")


def test_what_holds_it() -> None:
    content = Content(failures=["z broke", "a broke"])
    content.add("pods", 2, {"example.com/b": 1, "example.com/a": 2})
    content.add("flunders.wardle.example.com", 1, {"example.com/a": 1})
    content.undiscovered = {
        "metrics.k8s.io/v1beta1": "stale GroupVersion discovery: metrics.k8s.io/v1beta1",
        "a.io/v1": "stale GroupVersion discovery: a.io/v1",
    }
    found = told(content)
    assert found["NamespaceDeletionDiscoveryFailure"] == (
        "True",
        "DiscoveryFailed",
        "Discovery failed for some groups, 2 failing: unable to retrieve the complete list of server APIs: "
        "a.io/v1: stale GroupVersion discovery: a.io/v1, "
        "metrics.k8s.io/v1beta1: stale GroupVersion discovery: metrics.k8s.io/v1beta1",
    )
    assert found["NamespaceDeletionContentFailure"] == (
        "True", "ContentDeletionFailed", "Failed to delete all resource types, 2 remaining: a broke, z broke",
    )  # fmt: skip
    assert found["NamespaceContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: flunders.wardle.example.com has 1 resource instances, pods. has 2 resource instances",
    )
    assert found["NamespaceFinalizersRemaining"] == (
        "True",
        "SomeFinalizersRemain",
        "Some content in the namespace has finalizers remaining: "
        "example.com/a in 3 resource instances, example.com/b in 1 resource instances",
    )
