"""One lab node for the whole run, a namespace of its own for each test.

``cluster`` is the node's cluster, ``ns`` a fresh namespace in it with kubectl bound to it. A test that fails shows the end of the
server's log; a server that logged a traceback fails the run, whatever the tests saw.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.namespace import Namespace, fresh_namespace
from tests.lab.booting import one_cluster
from tests.lab.cluster import Cluster

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests prove what a real, unmodified kubectl gets")
    with one_cluster(tmp_path_factory.mktemp("node")) as cluster:
        yield cluster
        log = cluster.log.read_text()
    assert "Traceback" not in log, f"the server met an error it did not expect:\n{log[log.index('Traceback') - 2000 :][:6000]}"


@pytest.fixture
def ns(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of this test's own."""
    with fresh_namespace(cluster, request.node.name) as namespace:
        yield namespace


@pytest.fixture(scope="module")
def shared(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace that the tests of one module share, for what only needs something to look at."""
    with fresh_namespace(cluster, request.node.name.rpartition("/")[2].removesuffix(".py")) as namespace:
        yield namespace


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(cluster, Cluster):
        report.sections.append(("end of the server's log", cluster.log_tail()))
    return report
