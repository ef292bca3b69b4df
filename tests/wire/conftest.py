from __future__ import annotations

import pytest

from tests.wire.certificates import Authority
from tests.wire.serving import Identity


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def identity(authority: Authority) -> Identity:
    return Identity(authority, authority.issue("server"), authority.issue("admin", organization="system:masters"))
