"""ComponentStatus: deprecated upstream, still asked for. The parts live in this process, so they are well when it answers.

Enters: a selection.
Leaves: three objects that nobody stores.
Holds: the names are upstream's.
Next: registry.list, registry.get.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.api.objects import Object
from edgekube.api.verbs import RawList
from edgekube.registry.listing import Selection
from edgekube.store.protocol import Key

RESOURCE: Final = "componentstatuses"
NAMES: Final = ("controller-manager", "etcd-0", "scheduler")


def component(name: str) -> Object | None:
    if name not in NAMES:
        return None
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
    }


def listing(selection: Selection) -> RawList:
    """At no revision: nobody stores them."""
    items = [(name, orjson.dumps(component(name))) for name in NAMES]
    return RawList([raw for name, raw in items if selection.matches(Key(RESOURCE, "", name), raw)], "")
