"""What of a list or a watch the store itself looks for: a change wakes those whom it concerns and not a thousand others, and a
node's list of its pods does not look through those of all nodes.

Enters: a kind and the fields that are selected.
Leaves: a Topic and a Group, or None where everything of the kind is told.
Holds: no more than the topic's changes and the group's objects can matter; whether they do, the selection still decides.
Next: store.watchers, store.groups.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from edgekube.api import pod_address
from edgekube.api.kinds import POD, PODADDRESS, Kind
from edgekube.api.selectors.fields import FieldSelector
from edgekube.api.verbs import MODIFIED
from edgekube.store.protocol import Change, Group, Topic


class _Spec(msgspec.Struct):
    nodeName: str | None = None  # the wire's name


class _Pod(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


_decode_pod: Final = msgspec.json.Decoder(_Pod).decode


def _by_name(change: Change) -> Collection[str]:
    return (change.key.name,)


def _node_of(pod: bytes) -> str:
    return _decode_pod(pod).spec.nodeName or ""


def _by_node(change: Change) -> Collection[str]:
    """Where the pod is, and where it was: a binding takes it away from those who wait for pods without a node."""
    now = _node_of(change.value)
    before = now if change.previous is None else _node_of(change.previous)
    return (now,) if before == now else (now, before)


def _seen_from_afar(change: Change) -> Collection[str]:
    """Most of what happens to a pod leaves what other nodes know of it as it was."""
    modified = change.type == MODIFIED and change.previous is not None
    return () if modified and pod_address.same(change.previous or b"", change.value) else ("",)


def topic(kind: Kind, fields: FieldSelector) -> Topic | None:
    """What each of a thousand nodes asks for: objects by their names, its own pods, and other pods' addresses."""
    name = fields.exact("metadata.name")
    if name is not None:
        return Topic(_by_name, name)
    node = fields.exact("spec.nodeName") if kind is POD else None
    if node is not None:
        return Topic(_by_node, node)
    return Topic(_seen_from_afar, "") if kind is PODADDRESS else None


def group(kind: Kind, fields: FieldSelector) -> Group | None:
    """What each of a thousand nodes lists when it comes back: its own pods. Those without a node may be very many, and then pages
    along the table cost less."""
    node = fields.exact("spec.nodeName") if kind is POD else None
    return Group(_node_of, node) if node else None
