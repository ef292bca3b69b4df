"""What is shown of the addresses that Services have."""

from __future__ import annotations

from edgekube.api.kinds import IPADDRESS, SERVICE
from edgekube.api.objects import Object, labels_of, name_of
from edgekube.controllers.ipaddresses import IPADDRESS_CONTROLLER
from tests.controllers.world import World


def service(name: str, *addresses: str) -> Object:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"clusterIP": addresses[0], "clusterIPs": list(addresses)}}


def shown(world: World) -> dict[str, str]:
    return {name_of(each): each["spec"]["parentRef"]["name"] for each in world.list(IPADDRESS)}


def test_each_address_of_a_service_is_shown_until_it_goes() -> None:
    world = World()
    world.put(SERVICE, service("web", "10.43.0.9", "fd00:43::9"))
    for address in ("10.43.0.9", "fd00:43::9"):
        world.step(IPADDRESS_CONTROLLER, "shop", f"web {address}")
    assert shown(world) == {"10.43.0.9": "web", "fd00:43::9": "web"}
    six = world.get(IPADDRESS, "", "fd00:43::9")
    assert six is not None
    assert labels_of(six) == {
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        "ipaddress.kubernetes.io/ip-family": "IPv6",
    }
    assert six["spec"]["parentRef"] == {"group": "", "resource": "services", "namespace": "shop", "name": "web"}
    assert world.step(IPADDRESS_CONTROLLER, "shop", "web 10.43.0.9") == []
    world.gone(SERVICE, "shop", "web")
    world.step(IPADDRESS_CONTROLLER, "shop", "web 10.43.0.9")
    assert shown(world) == {"fd00:43::9": "web"}


def test_an_address_that_changed_hands_is_shown_anew() -> None:
    world = World()
    world.put(SERVICE, service("old", "10.43.0.9"))
    world.step(IPADDRESS_CONTROLLER, "shop", "old 10.43.0.9")
    world.gone(SERVICE, "shop", "old")
    world.put(SERVICE, service("new", "10.43.0.9"))
    world.step(IPADDRESS_CONTROLLER, "shop", "new 10.43.0.9")
    assert shown(world) == {"10.43.0.9": "new"}


def test_what_people_made_is_left_alone() -> None:
    world = World()
    parent = {"resource": "services", "namespace": "shop", "name": "gone"}
    world.put(IPADDRESS, {"metadata": {"name": "192.168.2.2"}, "spec": {"parentRef": parent}})
    assert world.step(IPADDRESS_CONTROLLER, "shop", "gone 192.168.2.2") == []


def test_headless_services_show_nothing() -> None:
    world = World()
    world.put(SERVICE, service("web", "None"))
    assert world.step(IPADDRESS_CONTROLLER, "shop", "web 10.43.0.9") == []
