"""Run Kubernetes' own suite against a cluster of the lab.

    python -m tests.conformance --focus '\\[sig-api-machinery\\].*\\[Conformance\\]'

Enters: which tests (regular expressions of the suite's own), a version of Kubernetes.
Leaves: the suite's report on the terminal and, as JUnit, in the directory; its exit code.
Holds: it is no part of the test run: it needs Go, its modules, root and time.
Next: tests.conformance.building, tests.conformance.images; tests.lab.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from edgekube.containerd import oci
from tests.conformance import sidecars as around_drivers
from tests.conformance.building import VERSION, build, module_directory
from tests.conformance.images import make, names, pulled
from tests.conformance.node_suite import node_flags
from tests.conformance.registries import mirrored
from tests.lab.clusters import many_nodes
from tests.lab.subnet import HOME, TWO_STACKS

_RANGES = ("--cluster-cidr=10.42.0.0/16,fd42::/48", "--service-cidr=10.43.0.0/16,fd43::/112")


@click.command()
@click.option("--focus", default=r"\[Conformance\]", show_default=True, help="Run tests whose names match.")
@click.option("--skip", default=r"\[Serial\]|\[Slow\]", show_default=True, help="But not these.")
@click.option("--nodes", type=click.IntRange(1, 10), default=2, show_default=True, help="Nodes of the cluster.")
@click.option("--version", "wanted", default=VERSION, show_default=True, help="Of Kubernetes.")
@click.option("--procs", type=click.IntRange(1, 16), default=1, show_default=True, help="Tests at a time; most of them wait.")
@click.option("--storage-driver", type=click.Path(exists=True, path_type=Path), help="Test this storage too (External Storage).")
@click.option("--sidecars", is_flag=True, help="With images of what runs beside a CSI driver (csi-hostpath, csi-mock).")
@click.option("--server-argument", "server_arguments", multiple=True, help="For `edgekube server`, as --load-balancer-pool=….")
@click.option("--two-stacks", is_flag=True, help="IPv4 and IPv6 for nodes, pods and Services.")
@click.option("--outside", is_flag=True, help="Ask from another machine of the LAN, not on the server.")
@click.option("--node-suite", is_flag=True, help="The suite of one node's agent (e2e_node) instead.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where it is built and reports; kept, and used again.")
def conformance(
    focus: str,
    skip: str,
    nodes: int,
    wanted: str,
    procs: int,
    storage_driver: Path | None,
    sidecars: bool,
    server_arguments: tuple[str, ...],
    two_stacks: bool,
    outside: bool,
    node_suite: bool,
    directory: Path | None,
) -> None:
    """Kubernetes' own end-to-end tests."""
    where = (directory or Path(tempfile.gettempdir()) / "edgekube-conformance").resolve()
    program = "e2e_node.test" if node_suite else "e2e.test"
    build(where, wanted, program)
    source = module_directory(wanted)
    manifest = (source / "test/utils/image/manifest.go").read_text()
    archive = where / "images.tar"
    images = make(where, manifest, source / "test/images/agnhost/porter")
    if sidecars:
        images |= around_drivers.images(where, wanted, images[names(manifest)["BusyBox"]])
    oci.write_archive(archive, images)
    node = around_drivers.NODE if sidecars else ()
    arguments = (*server_arguments, *node, *(_RANGES if two_stacks else ()))
    temporary = tempfile.TemporaryDirectory(prefix="edgekube-conformance-", ignore_cleanup_errors=True)
    with (
        temporary as disk,
        around_drivers.nothing_left(),
        many_nodes(
            Path(disk), nodes, subnet=TWO_STACKS if two_stacks else HOME, server_arguments=arguments, agent_arguments=node
        ) as cluster,
    ):
        for each in cluster.programs:
            arriving = each.node.data_dir / "agent/images/.arriving"
            shutil.copy(archive, arriving)
            arriving.rename(arriving.with_name("suite.tar"))
        kubeconfig, enter = cluster.server.kubeconfig, cluster.server.node.inside([])
        if outside:
            there = kubeconfig.read_text()
            kubeconfig, enter = Path(disk) / "kubeconfig.yaml", ["nsenter", f"--net=/run/netns/{cluster.lan.namespace}"]
            kubeconfig.write_text(re.sub("https://127.0.0.1:[0-9]+", cluster.url, there))
        suite = [
            str(where / "ginkgo"), f"--procs={procs}", f"--focus={focus}", f"--skip={skip}", "-v",
            f"--output-dir={where}", "--junit-report=junit.xml", "--timeout=3h", str(where / program), "--",
        ]  # fmt: skip
        flags = [
            f"--kubeconfig={kubeconfig}", "--provider=skeleton", f"--num-nodes={nodes}", "--dump-logs-on-failure=false",
            f"--kubectl-path={(where / 'kubectl').resolve()}",
        ]  # fmt: skip
        if sidecars:
            around_drivers.know_snapshots(cluster, where)
            flags.append(f"--kubelet-root-dir={around_drivers.KUBELET_DIR}")
        if storage_driver is not None:
            flags.append(f"--storage.testdriver={storage_driver.resolve()}")
        suite += node_flags(cluster, where) if node_suite else flags
        environment = ["env", f"KUBECONFIG={kubeconfig}", f"HOME={disk}"]
        from_registry = pulled(images, manifest) | around_drivers.pulled(images)
        with mirrored([each.node for each in cluster.programs], from_registry):
            done = subprocess.run([*enter, *environment, *suite], check=False)
    sys.exit(done.returncode)


conformance()
