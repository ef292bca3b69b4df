"""A Node's volumesAttached names nothing that is attached to it no longer.

Enters: Nodes, VolumeAttachments.
Leaves: a Node's status without the names whose attachment is gone, or going.
Holds: what is attached is added by controllers.volumes.attaching, which also takes it off before it detaches; here goes what is
left when somebody else deleted the attachment, or while nobody looked. Names of others' volumes stay.
Source: pkg/controller/volume/attachdetach (the node status updater).
Next: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api import attachment
from edgekube.api.calls import Call, Patch
from edgekube.api.controller import Change, Controller, Key, Moment, sides
from edgekube.api.kinds import NODE, VOLUMEATTACHMENT
from edgekube.api.objects import Object, is_deleting, name_of, uid_of
from edgekube.api.view import View


def patch_attached(node: Object, listed: list[Object]) -> Patch:
    metadata: Object = {"uid": uid_of(node), "resourceVersion": node["metadata"]["resourceVersion"]}
    return Patch(NODE, "", name_of(node), {"metadata": metadata, "status": {"volumesAttached": listed}}, subresource="status")


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    node = view.get(NODE, "", key.name)
    if node is None:
        return []
    listed: list[Object] = (node.get("status") or {}).get("volumesAttached") or []
    kept = [each for each in listed if _is_there(view, node, str(each.get("name")))]
    return [] if kept == listed else [patch_attached(node, kept)]


def _is_there(view: View, node: Object, name: str) -> bool:
    wanted = attachment.attachment_of(name, name_of(node))
    if not wanted:
        return True
    made = view.get(VOLUMEATTACHMENT, "", wanted)
    return made is not None and not is_deleting(made)


def _node(change: Change, view: View) -> Iterator[Key]:
    """A heartbeat changes nothing here."""
    lists = [(side.get("status") or {}).get("volumesAttached") for side in sides(change)]
    if any(lists) and (len(lists) == 1 or lists[0] != lists[1]):
        yield change.key


def _node_of_attachment(change: Change, view: View) -> Iterator[Key]:
    if change.old is not None and (change.new is None or is_deleting(change.new)):
        yield Key("", attachment.node_of(change.old))


ATTACHED_LISTS_CONTROLLER: Final = Controller(
    name="attached-volumes-controller", watches=((NODE, _node), (VOLUMEATTACHMENT, _node_of_attachment)), plan=plan
)
