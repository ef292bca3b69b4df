"""One cluster of three lab nodes for the whole run, a namespace of its own for each test. Do it no lasting harm.

``cluster3`` is the cluster (n1 has the server), ``ns`` a fresh namespace in it with kubectl bound to it. A test that fails shows
the end of each node's log; a program that logged a traceback fails the run, whatever the tests saw.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.namespace import Namespace, fresh_namespace
from tests.lab.clusters import MultiCluster, many_nodes

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session")
def cluster3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultiCluster]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests prove what a real, unmodified kubectl gets")
    pool = ["--load-balancer-pool", "192.0.2.200-192.0.2.209"]
    with many_nodes(tmp_path_factory.mktemp("nodes"), 3, server_arguments=pool) as cluster:
        yield cluster
        unexpected = cluster.unexpected()
    assert not unexpected, unexpected


@pytest.fixture
def ns(cluster3: MultiCluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of this test's own."""
    with fresh_namespace(cluster3.server, request.node.name) as namespace:
        yield namespace


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster3")
    if report.failed and isinstance(cluster, MultiCluster):
        report.sections.append(("end of the nodes' logs", cluster.log_tails()))
    return report
