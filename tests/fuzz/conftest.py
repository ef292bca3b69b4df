"""One server for all of a file's questions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.serving import Fuzzed, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with serving(tmp_path_factory.mktemp("fuzzed")) as fuzzed:
        yield fuzzed
        assert fuzzed.is_alive()
