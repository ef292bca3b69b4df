"""The sandbox image, made here, so that a node without a registry can run pods.

Enters: a runtime whose CRI answers.
Leaves: edgekube.local/pause:1 in containerd's store.
Holds: the image is pinned (containerd's and any image collector leave it), and written under a lease, so collection does not
race with it.
Next: containerd.supervisor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgekube.containerd import pause
from edgekube.containerd.cri import CriRuntime
from edgekube.containerd.host import RuntimeUnavailable

if TYPE_CHECKING:
    from edgekube.containerd.oci import Assembled

REFERENCE: Final = pause.REFERENCE
#: containerd docs/cri/image-labels (pkg/cri/labels): the CRI reports such an image as pinned, and image collection passes it by.
PINNED_LABEL: Final = {"io.cri-containerd.pinned": "pinned"}


def build(machine: str | None = None) -> Assembled:
    """The image for ``machine`` (``uname -m``). KeyError for one that the program was not written for."""
    from edgekube.containerd import oci

    program = pause.executable(machine or oci.this_machine())
    files = oci.layer([oci.Entry("pause", program, mode=0o755)])
    return oci.assemble([files], oci.Run(entrypoint=["/pause"]), machine)


async def ensure(runtime: CriRuntime) -> None:
    """Write the image unless it is there. Raises RuntimeUnavailable on a machine without a pause program."""
    if await runtime.image_status(REFERENCE) is not None:
        return
    from edgekube.containerd import image_store

    try:
        image = build()
    except KeyError as error:
        known = ", ".join(sorted(pause.ARCHITECTURES))
        raise RuntimeUnavailable(f"no sandbox program for {error.args[0]}: edgekube runs on {known}") from None
    await image_store.store_image(runtime.rpc, REFERENCE, image, PINNED_LABEL)
    await runtime.wait_for_images([REFERENCE])
