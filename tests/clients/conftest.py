"""One server for all clients of a process of the test run, a namespace of its own for each test."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

import pytest

from tests.clients.server import Server, running_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("clients")) as server:
        yield server


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A name for a namespace that the client under test makes itself."""
    return re.sub(r"[^a-z0-9]+", "-", str(request.node.name).removeprefix("test_").lower()).strip("-")[:50].strip("-")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server):
        report.sections.append(("end of the server's log", server.log[-4000:]))
    return report
