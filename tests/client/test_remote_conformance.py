"""The verbs over HTTP pass the suite that every implementation passes: through the whole API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgekube.client.remote import RemoteVerbs
from edgekube.client.target import Target
from tests.client.verbs_conformance import VerbsConformance
from tests.server.running import running_api


class TestRemoteVerbs(VerbsConformance):
    @pytest.fixture
    async def verbs(self, tmp_path: Path) -> AsyncIterator[RemoteVerbs]:
        async with running_api(tmp_path) as api:
            target = Target(lambda: ("127.0.0.1", api.port), None, "localhost", lambda: "admin")
            async with RemoteVerbs(target) as remote:
                yield remote
