"""Lab nodes that may be broken: one with a cluster for a module's tests, and one with nothing in it."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator

import pytest

from tests.lab.booting import one_cluster, one_node
from tests.lab.cluster import Cluster
from tests.lab.node import Node


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests look at the cluster through it")
    with one_cluster(tmp_path_factory.mktemp("node")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that is on; each test starts what it needs, on a data directory of its own."""
    with one_node(tmp_path_factory.mktemp("bare")) as node:
        yield node


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(cluster, Cluster):
        report.sections.append(("end of the server's log", cluster.log_tail()))
    return report
