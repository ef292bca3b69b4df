"""An object that was there when the request was authorized, and is gone when it is written: making it needs the right to."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.registry.apply import apply
from edgekube.registry.context import APPLY, Context
from edgekube.registry.update import update
from tests.registry.cluster import config_map, open_registry


def row(group: str, plural: str) -> Kind:
    kind = KINDS.by_resource(group, "v1", plural)
    assert kind is not None
    return kind


def lease() -> Object:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a", "namespace": "default"}}


@pytest.mark.parametrize("may", [True, False])
async def test_who_may_only_change_makes_nothing(tmp_path: Path, may: bool) -> None:
    asked: list[str] = []

    def context(operation: str) -> Context:
        def check() -> None:
            asked.append(operation)
            if not may:
                raise errors.forbidden("", "configmaps", "a", "no right to create")

        return Context(UserInfo("alice"), operation=operation, field_manager="alice", check_create=check)

    async with open_registry(tmp_path / "state.db") as registry:
        leases, maps = row("coordination.k8s.io", "leases"), row("", "configmaps")
        outcomes = []
        for kind in (maps, leases):
            try:
                if kind is maps:
                    await apply(registry, maps, "default", "a", config_map("a"), context(APPLY))
                else:
                    await update(registry, leases, "default", "a", lease(), context("Update"))
                outcomes.append("")
            except StatusError as error:
                outcomes.append(error.reason)
        assert asked == [APPLY, "Update"]
        assert outcomes == (["", ""] if may else ["Forbidden", "Forbidden"])
        assert [await registry.find(kind, "default", "a") is not None for kind in (maps, leases)] == [may, may]
