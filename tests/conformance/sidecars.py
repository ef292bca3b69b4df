"""The programs around a CSI driver, for the tests of storage that deploy one (csi-hostpath, csi-mock).

Enters: a version of Kubernetes, a directory to build in.
Leaves: images by the names in the suite's own manifests; the arguments of nodes that such a driver finds; a cluster that knows
snapshots.
Holds: provisioner, attacher, resizer and snapshotter are upstream's own, a release later than the suite names, linked with that
Kubernetes' modules; what no module has (the registrar, the probe, the hostpath driver and its proxy) is stood in for by
tests/conformance/drivers. It takes some five minutes more.
Next: tests.conformance.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edgekube.containerd import demo_image, oci
from edgekube.containerd.oci import Assembled, Entry
from tests.conformance.building import module_directory, requirements
from tests.lab.clusters import MultiCluster
from tests.lab.images import BUSYBOX

_OURS: Final = Path(__file__).parent / "drivers"
_STAND_IN: Final = "driver"
_MODULES: Final = {
    "github.com/kubernetes-csi/external-attacher/v4": ("v4.13.0", "csi-attacher"),
    "github.com/kubernetes-csi/external-provisioner/v6": ("v6.4.0", "csi-provisioner"),
    "github.com/kubernetes-csi/external-resizer/v2": ("v2.3.0", "csi-resizer"),
    "github.com/kubernetes-csi/external-snapshotter/v8": ("v8.6.0", "csi-snapshotter"),
}
_CONTROLLER: Final = "snapshot-controller"
_CLIENT: Final = "github.com/kubernetes-csi/external-snapshotter/client/v8"
#: The image's name -> the program in it.
_PROGRAMS: Final = {name: name for _, name in _MODULES.values()} | dict.fromkeys(
    ("csi-node-driver-registrar", "livenessprobe", "hostpathplugin"), _STAND_IN
)
_IMAGE = re.compile(r"image: *(registry\.k8s\.io/sig-storage/([\w-]+):[\w.-]+)")
_BUSYBOX = re.compile(r"image: *(registry\.k8s\.io/e2e-test-images/busybox:[\w.-]+)")
#: The nodes share /var/lib: each has the kubelet's directory where nothing is shared.
KUBELET_DIR: Final = "/run/kubelet"
NODE: Final = ("--kubelet-dir", KUBELET_DIR)
#: Where the suite's manifest has the driver keep its volumes.
_DATA: Final = Path("/var/lib/csi-hostpath-data")


def references(manifests: str) -> dict[str, str]:
    """The images that manifests ask for and we can make -> the program in each. Pure."""
    return {reference: _PROGRAMS[name] for reference, name in _IMAGE.findall(manifests) if name in _PROGRAMS}


def build(directory: Path, version: str) -> Path:
    """Where they are."""
    where = directory / "sidecars"
    source = module_directory(version)
    needed = {module: tag for module, (tag, _) in _MODULES.items()}
    shutil.copytree(_OURS, where / _STAND_IN, dirs_exist_ok=True)
    (where / "go.mod").write_text(requirements((source / "go.mod").read_text(), version, needed))
    (where / "go.sum").write_text((source / "go.sum").read_text())
    (where / "bin").mkdir(exist_ok=True)
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    packages = {program: f"{module}/cmd/{program}" for module, (_, program) in _MODULES.items()} | {_STAND_IN: f"./{_STAND_IN}"}
    packages[_CONTROLLER] = packages["csi-snapshotter"].replace("csi-snapshotter", _CONTROLLER)
    for program, package in packages.items():
        # Ours is built again when it has changed.
        if program == _STAND_IN or not (where / "bin" / program).exists():
            command = ["go", "build", "-ldflags=-s -w", "-o", f"bin/{program}", package]
            subprocess.run(command, check=True, cwd=where, env=environment)
    return where / "bin"


def images(directory: Path, version: str, busybox: Assembled) -> dict[str, Assembled]:
    """By reference. ``busybox``: what the suite has in place of that; drivers are deployed with one of an earlier version."""
    programs = build(directory, version)
    manifests = module_directory(version) / "test/e2e/testing-manifests/storage-csi"
    texts = "\n".join(path.read_text() for path in sorted(manifests.rglob("*.yaml")))
    tools = oci.layer(demo_image.toolbox_entries(BUSYBOX))
    made = dict.fromkeys(_BUSYBOX.findall(texts), busybox)
    for reference, program in references(texts).items():
        name = reference.rpartition("/")[2].partition(":")[0]
        layer = oci.layer([Entry(name, (programs / program).read_bytes(), 0o755)])
        made[reference] = oci.assemble([tools, layer], oci.Run([f"/{name}"]))
    return made


def pulled(images: Mapping[str, Assembled]) -> dict[str, Assembled]:
    """Those that their manifests pull though they are there."""
    return {reference: image for reference, image in images.items() if "/csi-snapshotter:" in reference}


def know_snapshots(cluster: MultiCluster, directory: Path) -> None:
    """Their kinds, and the controller that belongs to them, as a process of the first node."""
    where = directory / "sidecars"
    asked = ["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", _CLIENT]
    client = subprocess.run(asked, check=True, capture_output=True, cwd=where, text=True).stdout.strip()
    server = cluster.server
    for path in sorted(Path(client).glob("config/crd/*.storage.k8s.io_*.yaml")):
        server.kubectl("create", "-f", "-", stdin=path.read_text())
    command = [str(where / "bin" / _CONTROLLER), f"--kubeconfig={server.kubeconfig}"]
    server.node.start(command, server.node.disk / "snapshots.log")


@contextmanager
def nothing_left() -> Iterator[None]:
    """The driver's volumes, on the disk that all nodes share, and the devices that show them."""
    was_there = _DATA.exists()
    try:
        yield
    finally:
        if not was_there and _DATA.exists():
            for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
                if backing.read_text().startswith(str(_DATA)):
                    subprocess.run(["losetup", "--detach", f"/dev/{backing.parts[3]}"], check=False)
            shutil.rmtree(_DATA)
