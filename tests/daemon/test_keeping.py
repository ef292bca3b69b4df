"""What a host lacks must not take the cluster down: the API stays, the rest is tried again."""

import logging
import socket
from pathlib import Path
from typing import cast

import pytest
import trio

from edgekube import limits
from edgekube.api.verbs import Verbs
from edgekube.daemon.identity import prepare_identity
from edgekube.daemon.node import keep_node
from edgekube.daemon.node_dns import keep_dns
from edgekube.network.dns.forwarder import Forwarder
from edgekube.network.dns.server import Resolver
from edgekube.network.dns.upstreams import Choice
from edgekube.network.dns.zone import Zone
from edgekube.network.node_addresses import NodeAddresses
from edgekube.settings import Settings
from tests.network.cluster import Cluster


class Counter(logging.Handler):
    """Wakes whoever waits for a line to be said so many times."""

    def __init__(self, text: str, times: int) -> None:
        super().__init__()
        self._text = text
        self._left = times
        self.happened = trio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self._left -= self._text in record.getMessage()
        if self._left <= 0:
            self.happened.set()


async def test_without_a_runtime_the_node_is_tried_again(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "NODE_RETRY_SECONDS", 0.02)
    counter = Counter("this machine cannot run pods", 3)
    logging.getLogger("edgekube").addHandler(counter)
    settings = Settings(
        "pi-7",
        data_dir=tmp_path / "data",
        run_dir=tmp_path / ("long" * 30),  # no socket can have this path, so no containerd can be had
        admin_kubeconfig=tmp_path / "kubeconfig.yaml",
    )
    identity = prepare_identity(settings, "192.0.2.7")
    # No call of the API is made before there is a runtime.
    await nursery.start(keep_node, settings, cast(Verbs, None), identity, lambda: 0.0, NodeAddresses())
    with trio.fail_after(60):
        await counter.happened.wait()
    logging.getLogger("edgekube").removeHandler(counter)
    assert "choose a shorter --run-dir" in caplog.text


async def test_a_taken_dns_port_is_said_and_tried_again(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "DNS_RETRY_SECONDS", 0.02)
    resolver = Resolver(Zone(Cluster().view, "cluster.local", []), Forwarder(Choice(lambda: ())))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        await nursery.start(keep_dns, resolver, "127.0.0.1", port)
        assert f"cluster DNS cannot answer on 127.0.0.1:{port}" in caplog.text
    with trio.fail_after(60):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                break
            except OSError:
                await trio.sleep(0.01)
    await stream.aclose()
