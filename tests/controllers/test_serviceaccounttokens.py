"""Secrets that get tokens: what is written into them, and when they go."""

from __future__ import annotations

import base64

from edgekube.api.kinds import SECRET, SERVICEACCOUNT
from edgekube.api.objects import Object
from edgekube.api.times import rfc3339
from edgekube.controllers.serviceaccounttokens import TYPE, controller
from edgekube.pki.legacy_tokens import LegacyAccount
from tests.controllers.world import World


class Signer:
    """Tokens that can be read."""

    def issue(self, account: LegacyAccount) -> str:
        return "/".join(account)

    def believes(self, token: str, account: LegacyAccount) -> bool:
        return token == self.issue(account)


CONTROLLER = controller(Signer(), lambda: "PEM")


def secret(world: World, **annotations: str) -> None:
    named = {"kubernetes.io/service-account.name": "robot", **annotations}
    metadata = {"name": "s", "namespace": "shop", "annotations": named, "creationTimestamp": rfc3339(world.now)}
    world.put(SECRET, {"metadata": metadata, "type": TYPE, "data": {"extra": "eA=="}})


def account(world: World) -> Object:
    return world.put(SERVICEACCOUNT, {"metadata": {"name": "robot", "namespace": "shop"}})


def texts(world: World) -> dict[str, str]:
    found = world.get(SECRET, "shop", "s")
    assert found is not None
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def test_a_secret_gets_what_it_lacks_once() -> None:
    world = World()
    uid = account(world)["metadata"]["uid"]
    secret(world)
    world.step(CONTROLLER, "shop", "s")
    assert texts(world) == {"extra": "x", "token": f"shop/robot/{uid}/s", "ca.crt": "PEM", "namespace": "shop"}
    assert world.step(CONTROLLER, "shop", "s") == []


def test_an_account_that_comes_a_moment_later_is_waited_for() -> None:
    world = World()
    secret(world)
    world.step(CONTROLLER, "shop", "s")
    assert world.later is not None and world.later > 0
    account(world)
    world.step(CONTROLLER, "shop", "s")
    assert "token" in texts(world)


def test_a_secret_goes_with_its_account() -> None:
    world = World()
    account(world)
    secret(world)
    world.step(CONTROLLER, "shop", "s")
    world.gone(SERVICEACCOUNT, "shop", "robot")
    account(world)
    world.step(CONTROLLER, "shop", "s")
    assert world.get(SECRET, "shop", "s") is None
