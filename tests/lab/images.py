"""Images for tests, made of Debian's busybox-static: no registry, no network.

Enters: /bin/busybox (package busybox-static).
Leaves: OCI archives for ``Runtime.import_archive`` or <data>/agent/images.
"""

from __future__ import annotations

from pathlib import Path

from edgekube.containerd import demo_image, oci
from edgekube.containerd.oci import Assembled
from edgekube.containerd.reference import normalize

BUSYBOX = Path("/bin/busybox")


def make_busybox_archive(path: Path, reference: str = "docker.io/library/busybox:1.36") -> None:
    """An image with a shell and busybox's applets."""
    oci.write_archive(path, {normalize(reference): demo_image.toolbox(BUSYBOX)})


def marked_busybox(note: str) -> Assembled:
    """Busybox as an image of its own: names of one and the same image are all shown for it."""
    layers = [oci.layer(demo_image.toolbox_entries(BUSYBOX)), oci.layer([oci.Entry("note", note.encode())])]
    return oci.assemble(layers, oci.Run(command=["sh"]))


def make_demo_archive(path: Path) -> None:
    """edgekube.local/demo:1, a web server on port 8080 that shows its pod's name and environment."""
    demo_image.write_demo_archive(BUSYBOX, path)
