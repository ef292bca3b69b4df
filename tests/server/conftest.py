"""A whole API server on loopback, spoken to over real HTTP."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.kubectl import Kubectl, run_kubectl
from tests.server.running import Api, running_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(tmp_path) as running:
        yield running


@pytest.fixture
def kubectl() -> Kubectl:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests prove what a real, unmodified kubectl gets")
    return run_kubectl
