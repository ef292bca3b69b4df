"""The rig is built once for all tests of the packet filter; each starts from a table of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.rig import Rig


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    rig = Rig()
    try:
        rig.build()
        yield rig
    finally:
        rig.close()
