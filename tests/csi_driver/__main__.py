"""The test driver as a process: ``python -m tests.csi_driver --name disk.test --state DIR --socket DIR/csi.sock --registry DIR``.

Ends with SIGTERM, which takes its sockets away; kill -9 leaves them, as a driver that died does.
"""

from __future__ import annotations

import signal
from pathlib import Path

import click

from tests.csi_driver.driver import Driver, Serving


@click.command()
@click.option("--name", required=True)
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Where its volumes live.")
@click.option("--socket", type=click.Path(path_type=Path), required=True, help="Where it serves CSI.")
@click.option("--registry", type=click.Path(path_type=Path), help="A node's plugins_registry; none: controller only.")
@click.option("--node-id", default="node-1", show_default=True)
@click.option("--topology", multiple=True, metavar="KEY=VALUE")
@click.option("--volumes-max", type=int, default=0)
def serve(
    name: str, state: Path, socket: Path, registry: Path | None, node_id: str, topology: tuple[str, ...], volumes_max: int
) -> None:
    segments = dict(item.split("=", 1) for item in topology)
    serving = Serving(Driver(name, state, node_id=node_id, topology=segments, volumes_max=volumes_max), socket)
    if registry is not None:
        serving.register(registry)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serving.close()


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
serve()
