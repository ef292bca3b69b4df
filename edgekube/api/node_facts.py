"""What those who place pods by rule ask of each node: its name, labels and taints, instead of the whole object.

Enters: a Node's JSON.
Leaves: NodeFacts.
Holds: read once a change of the node and not once for each look at all of them; pure.
Bound: about 0.3 KB a node besides its labels, which reconcile.view holds anyway.
Next: reconcile.view keeps them, controllers.daemonset reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from edgekube.api.objects import Object


class NodeFacts(NamedTuple):
    name: str
    labels: Mapping[str, str]
    taints: Sequence[Object]


# The wire's names.


class _Metadata(msgspec.Struct):
    name: str
    labels: dict[str, str] | None = None


class _Spec(msgspec.Struct):
    taints: list[dict[str, Any]] | None = None


class _Node(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec | None = None


_decode: Final = msgspec.json.Decoder(_Node).decode


def node_facts(raw: bytes, labels: Mapping[str, str] | None = None) -> NodeFacts:
    """``labels``: those of the node, where the caller has them in memory already."""
    node = _decode(raw)
    taints = (node.spec.taints if node.spec is not None else None) or ()
    return NodeFacts(node.metadata.name, labels if labels is not None else node.metadata.labels or {}, taints)


def node_facts_of(node: Object) -> NodeFacts:
    return node_facts(orjson.dumps(node))
