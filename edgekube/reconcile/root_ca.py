"""Tell every namespace of the authorities that are trusted now.

Enters: the API, the bundle.
Leaves: each ConfigMap kube-root-ca.crt with that bundle.
Holds: one that is missing is not made here: controllers.rootca does it. Asked for again, it changes nothing.
Next: pods see it in their projected volumes within a minute.
"""

from __future__ import annotations

import logging

from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.objects import is_deleting, name_of, namespace_of
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.controllers.rootca import NAME

log = logging.getLogger("edgekube.reconcile")


async def publish(verbs: Verbs, root_ca_pem: str) -> None:
    """What cannot be written is logged, and made good by the controller at the next start at the latest."""
    page = await verbs.list(CONFIGMAP, "", ListOptions(field_selector=f"metadata.name={NAME}"))
    for config_map in page.objects():
        if (config_map.get("data") or {}) == {"ca.crt": root_ca_pem} or is_deleting(config_map):
            continue
        try:
            patch = {"data": {"ca.crt": root_ca_pem}}
            await verbs.patch(CONFIGMAP, namespace_of(config_map), name_of(config_map), patch)
        except StatusError as error:
            if error.reason != "NotFound":
                log.warning("the authorities cannot be told namespace=%s why=%r", namespace_of(config_map), error.message)
