"""Volumes that are directories of a node: what their makers, in the control plane and on the node, call them.

Enters: claims, nodes, volumes of the provisioner.
Leaves: names, and which node a volume is on.
Holds: pure. A volume says its node by a label, so that a node can follow its own and no others; its finalizer stays until the
node has removed the directory.
Next: controllers.localpath, agent.local_volumes, admission.node_authorizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgekube.api import quantities
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from edgekube.api.storage import PROVISIONED_BY

PROVISIONER: Final = "local-path.edgekube.io"
CLASS_NAME: Final = "local-path"
#: Label of a volume: the node whose directory it is.
NODE_LABEL: Final = "local-path.edgekube.io/node"
#: Finalizer of a volume, which its node takes away.
FINALIZER: Final = "local-path.edgekube.io/directory"
#: Annotations of a Node: below which directory it makes volumes, and how many bytes they may claim together.
DIRECTORY: Final = "local-path.edgekube.io/directory"
CAPACITY: Final = "local-path.edgekube.io/capacity"

#: A file name on Linux has no more bytes than this.
_NAME_BYTES_MAX: Final = 255


def volume_name(claim: Object) -> str:
    """As every provisioner names it."""
    return f"pvc-{uid_of(claim)}"


def directory_name(claim: Object) -> str:
    """What people see on the node: begins with the volume's name, then whose it is."""
    return f"{volume_name(claim)}_{namespace_of(claim)}_{name_of(claim)}"[:_NAME_BYTES_MAX]


def is_local_path(annotations: Mapping[str, str]) -> bool:
    """Whether these are a volume's that we made."""
    return annotations.get(PROVISIONED_BY) == PROVISIONER


def node_of(volume: Object) -> str:
    """The node whose directory the volume is; "" for other volumes."""
    return labels_of(volume).get(NODE_LABEL, "")


def offered_bytes(node: Object) -> int:
    """How much the node's volumes may claim together; 0 when it offers none."""
    try:
        return quantities.to_bytes(annotations_of(node).get(CAPACITY) or "0")
    except ValueError:
        return 0
