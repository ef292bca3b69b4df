"""The server's own machine carries the role that ``kubectl get nodes`` shows.

Enters: Verbs of the control plane, the Node's name.
Leaves: node-role.kubernetes.io/control-plane on that Node.
Holds: the label is given here and not by the node's agent: which roles a machine has is not for the machine to say.
Next: admission.node_restriction refuses it to agents.
"""

from __future__ import annotations

import logging
from typing import Final

import orjson
import trio

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE
from edgekube.api.objects import labels_of
from edgekube.api.verbs import Verbs
from edgekube.reconcile.one_object import OneObject, follow_one

log = logging.getLogger("edgekube.reconcile.machine_role")

LABEL: Final = "node-role.kubernetes.io/control-plane"


async def keep_machine_role(verbs: Verbs, name: str) -> None:
    """Never returns."""
    changed = trio.Event()

    def tell() -> None:
        changed.set()

    node = OneObject(tell, first=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_one, verbs, NODE, "", name, node)
        while True:
            await changed.wait()
            changed = trio.Event()
            if node.raw is None or LABEL in labels_of(orjson.loads(node.raw)):
                continue
            try:
                await verbs.patch(NODE, "", name, {"metadata": {"labels": {LABEL: ""}}})
            except StatusError as error:
                if error.reason != "NotFound":
                    log.warning("the machine's role is not written yet node=%s error=%s", name, error.message)
                    changed.set()
                    await trio.sleep(limits.WATCH_RETRY_LAST_SECONDS)
