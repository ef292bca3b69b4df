"""CriRuntime on a real containerd passes the conformance suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube.containerd.cri import CriRuntime
from tests.containerd.conformance import Pods, RuntimeConformance
from tests.containerd.conftest import Place

pytestmark = pytest.mark.root


@pytest.fixture
def pods(runtime: CriRuntime, place: Place, tmp_path: Path) -> Pods:
    return Pods(runtime, place.cgroup, tmp_path / "logs")


class TestCriRuntime(RuntimeConformance):
    pass
