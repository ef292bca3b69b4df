"""Three lab nodes that may be broken, for a module's tests: ``cluster3``. Each test leaves them healed.

The server is told to wait for a silent node less than usual. A test that fails shows the end of each node's log; a
program that logged a traceback fails the module.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.lab.clusters import MultiCluster, many_nodes

_HERE = Path(__file__).parent
#: Three leases long: what is to be a short partition is one on a busy machine as well.
_GRACE_SECONDS = 30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="module")
def cluster3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultiCluster]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests look at the cluster through it")
    grace = ["--node-monitor-grace-seconds", str(_GRACE_SECONDS)]
    pool = ["--load-balancer-pool", "192.0.2.200-192.0.2.209"]
    with many_nodes(tmp_path_factory.mktemp("nodes"), 3, server_arguments=[*grace, *pool]) as cluster:
        yield cluster
        unexpected = cluster.unexpected()
    assert not unexpected, unexpected


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster3")
    if report.failed and isinstance(cluster, MultiCluster):
        report.sections.append(("end of the nodes' logs", cluster.log_tails()))
    return report
