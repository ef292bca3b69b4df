"""Defaults whose reasons are not visible in a golden file."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.defaults import apply_defaults
from edgekube.api.defaults.podspec import pull_policy
from edgekube.api.kinds import POD, SERVICE


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "Always"),
        ("Nginx", "IfNotPresent"),
        ("Registry/nginx", "Always"),
        ("", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def _pod(**spec: Any) -> dict[str, Any]:
    pod: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}
    apply_defaults(POD, pod)
    filled: dict[str, Any] = pod["spec"]
    return filled


def test_an_explicit_zero_stays_where_zero_means_something() -> None:
    spec = _pod(terminationGracePeriodSeconds=0, enableServiceLinks=False)
    assert (spec["terminationGracePeriodSeconds"], spec["enableServiceLinks"]) == (0, False)


def test_a_zero_is_unset_where_zero_means_nothing() -> None:
    probe = {"tcpSocket": {"port": 1}, "timeoutSeconds": 0, "periodSeconds": 5}
    spec = _pod(containers=[{"name": "c", "image": "i:1", "livenessProbe": probe}])
    assert (spec["containers"][0]["livenessProbe"]["timeoutSeconds"], probe["periodSeconds"]) == (1, 5)


def test_the_old_name_of_the_service_account_still_works() -> None:
    assert _pod(serviceAccount="bot")["serviceAccountName"] == "bot"


def test_pod_level_requests_follow_containers_then_limits() -> None:
    containers = [{"name": n, "image": "i:1", "resources": {"requests": {"cpu": "100m"}}} for n in ("a", "b")]
    init = [{"name": "first", "image": "i:1", "resources": {"requests": {"cpu": "500m"}}}]
    spec = _pod(containers=containers, initContainers=init, resources={"limits": {"cpu": "1", "memory": "64Mi"}})
    assert spec["resources"]["requests"] == {"cpu": "500m", "memory": "64Mi"}


def test_affinity_settings_go_when_there_is_no_affinity() -> None:
    service: dict[str, Any] = {"metadata": {"name": "s"}, "spec": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}}
    apply_defaults(SERVICE, service)
    assert "sessionAffinityConfig" not in service["spec"]
