"""A registry on a real store in a fresh file, bootstrapped as a cluster is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgekube.api.verbs import UserInfo
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from tests.registry.cluster import ADMIN, open_registry


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with open_registry(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def verbs(registry: Registry) -> LocalVerbs:
    return LocalVerbs(registry, ADMIN)


@pytest.fixture
def admin() -> UserInfo:
    return ADMIN
