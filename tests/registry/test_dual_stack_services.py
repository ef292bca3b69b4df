"""Services on a cluster with both address families: defaults, addresses of both ranges, and the ways up and down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, SERVICE
from edgekube.registry.local import LocalVerbs
from tests.registry.cluster import ADMIN, open_registry, service

RANGES = "10.43.0.0/16,fd00:43::/108"


@asynccontextmanager
async def cluster(tmp_path: Path, ranges: str = RANGES) -> AsyncIterator[LocalVerbs]:
    async with open_registry(tmp_path / "state.db", service_cidr=ranges) as registry:
        yield LocalVerbs(registry, ADMIN)


def families(made: dict[str, Any]) -> tuple[str, list[str]]:
    return made["spec"]["ipFamilyPolicy"], made["spec"]["ipFamilies"]


async def refusals(verbs: LocalVerbs, **spec: object) -> list[tuple[str, str]]:
    with pytest.raises(StatusError) as error:
        await verbs.create(SERVICE, "default", service("wrong", **spec))
    return [(cause.field, cause.message) for cause in error.value.causes]


@pytest.mark.parametrize(
    ("spec", "policy", "expected"),
    [
        ({}, "SingleStack", ["IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        ({"ipFamilyPolicy": "RequireDualStack"}, "RequireDualStack", ["IPv4", "IPv6"]),
        ({"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
        ({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}, "PreferDualStack", ["IPv6", "IPv4"]),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}, "RequireDualStack", ["IPv6", "IPv4"]),
        ({"clusterIP": "fd00:43::77"}, "SingleStack", ["IPv6"]),
        ({"clusterIP": "None"}, "SingleStack", ["IPv4"]),
        ({"clusterIP": "None", "selector": {}}, "RequireDualStack", ["IPv4", "IPv6"]),
        ({"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
    ],
)
async def test_families_by_policy(tmp_path: Path, spec: dict[str, Any], policy: str, expected: list[str]) -> None:
    async with cluster(tmp_path) as verbs:
        made = await verbs.create(SERVICE, "default", service("web", **spec))
        assert families(made) == (policy, expected)
        addresses = made["spec"]["clusterIPs"]
        assert made["spec"]["clusterIP"] == addresses[0]
        if addresses != ["None"]:
            assert ["IPv6" if ":" in each else "IPv4" for each in addresses] == expected


async def test_requested_addresses_of_both_families(tmp_path: Path) -> None:
    async with cluster(tmp_path) as verbs:
        both = ["fd00:43::99", "10.43.9.9"]
        made = await verbs.create(
            SERVICE, "default", service("web", clusterIP=both[0], clusterIPs=both, ipFamilyPolicy="PreferDualStack")
        )
        assert (made["spec"]["clusterIPs"], made["spec"]["ipFamilies"]) == (both, ["IPv6", "IPv4"])
        assert (await refusals(verbs, clusterIP="fd00:43::99"))[0][1].endswith("provided IP is already allocated")
        assert "the provided network does not match the current range" in (await refusals(verbs, clusterIP="fd00:44::1"))[0][1]
        await verbs.delete(SERVICE, "default", "web")
        again = await verbs.create(SERVICE, "default", service("two", clusterIP="fd00:43::99"))
        assert again["spec"]["clusterIP"] == "fd00:43::99"


async def test_what_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as verbs:
        two = {"ipFamilies": ["IPv4", "IPv6"]}
        why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"
        assert await refusals(verbs, **two) == [("spec.ipFamilyPolicy", f'Invalid value: "SingleStack": {why}')]
        wrong = await refusals(verbs, clusterIP="10.43.0.9", ipFamilies=["IPv6"])
        assert wrong[0][0] == "spec.clusterIPs[0]" and "expected an IPv6 value" in wrong[0][1]


async def test_a_cluster_of_one_family_says_so(tmp_path: Path) -> None:
    async with cluster(tmp_path, "10.43.0.0/16") as verbs:
        assert await refusals(verbs, ipFamilyPolicy="RequireDualStack") == [
            ("spec.ipFamilyPolicy", 'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services')
        ]
        assert await refusals(verbs, ipFamilies=["IPv6"]) == [
            ("spec.ipFamilies[0]", 'Invalid value: "IPv6": not configured on this cluster')
        ]
        assert (await refusals(verbs, clusterIP="fd00:43::9"))[0][0] == "spec.clusterIPs[0]"
        made = await verbs.create(SERVICE, "default", service("web", ipFamilyPolicy="PreferDualStack"))
        assert families(made) == ("PreferDualStack", ["IPv4"])


async def test_up_to_two_families_and_down_again(tmp_path: Path) -> None:
    async with cluster(tmp_path) as verbs:
        first = await verbs.create(SERVICE, "default", service("web"))
        up = await verbs.patch(SERVICE, "default", "web", {"spec": {"ipFamilyPolicy": "PreferDualStack"}})
        assert up["spec"]["clusterIPs"][0] == first["spec"]["clusterIP"] and up["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
        second = up["spec"]["clusterIPs"][1]
        assert (await refusals(verbs, clusterIP=second))[0][1].endswith("provided IP is already allocated")
        with pytest.raises(StatusError) as error:
            await verbs.patch(SERVICE, "default", "web", {"spec": {"clusterIPs": [first["spec"]["clusterIP"]]}})
        assert "must be 'SingleStack' to release the secondary cluster IP" in error.value.message
        down = await verbs.patch(SERVICE, "default", "web", {"spec": {"ipFamilyPolicy": "SingleStack"}})
        assert (down["spec"]["clusterIPs"], down["spec"]["ipFamilies"]) == ([first["spec"]["clusterIP"]], ["IPv4"])
        taken = await verbs.create(SERVICE, "default", service("two", clusterIP=second))
        assert taken["spec"]["clusterIP"] == second, "what was given up is free"


async def test_a_chosen_second_address_on_the_way_up(tmp_path: Path) -> None:
    async with cluster(tmp_path) as verbs:
        first = await verbs.create(SERVICE, "default", service("web"))
        both = [first["spec"]["clusterIP"], "fd00:43::55"]
        change = {"spec": {"ipFamilyPolicy": "RequireDualStack", "clusterIPs": both}}
        assert (await verbs.patch(SERVICE, "default", "web", change))["spec"]["clusterIPs"] == both


async def test_an_old_client_that_knows_one_address_keeps_both(tmp_path: Path) -> None:
    async with cluster(tmp_path) as verbs:
        made = await verbs.create(SERVICE, "default", service("web", ipFamilyPolicy="RequireDualStack"))
        old_fashioned = {**made, "spec": {k: v for k, v in made["spec"].items() if k not in ("clusterIPs", "ipFamilies")}}
        assert (await verbs.update(SERVICE, old_fashioned))["spec"]["clusterIPs"] == made["spec"]["clusterIPs"]


async def test_a_cluster_that_gets_its_second_family_changes_no_service_by_itself(tmp_path: Path) -> None:
    async with cluster(tmp_path, "10.43.0.0/16") as verbs:
        before = await verbs.create(SERVICE, "default", service("web", ipFamilyPolicy="PreferDualStack"))
    async with cluster(tmp_path) as verbs:
        touched = await verbs.patch(SERVICE, "default", "web", {"metadata": {"labels": {"a": "b"}}})
        assert touched["spec"]["clusterIPs"] == before["spec"]["clusterIPs"]
        kind = KINDS.by_resource("networking.k8s.io", "v1", "servicecidrs")
        assert kind is not None
        assert (await verbs.get(kind, "", "kubernetes"))["spec"]["cidrs"] == ["10.43.0.0/16", "fd00:43::/108"]
        asked = await verbs.patch(SERVICE, "default", "web", {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
        assert len(asked["spec"]["clusterIPs"]) == 2
