"""The verbs inside the process pass the suite that every implementation passes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from tests.client.verbs_conformance import VerbsConformance
from tests.registry.cluster import ADMIN, default_account


class TestLocalVerbs(VerbsConformance):
    @pytest.fixture
    async def verbs(self, registry: Registry) -> AsyncIterator[LocalVerbs]:
        await default_account(registry)
        yield LocalVerbs(registry, ADMIN)
