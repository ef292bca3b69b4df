"""What API servers behind this one go by: whom to believe when a request says on whose behalf it comes.

Enters: the cluster's authorities, and the authority of the front proxy.
Leaves: ConfigMap kube-system/extension-apiserver-authentication, kept as it should be at each start and change.
Holds: what others wrote into it beside our keys stays.
Source: kubernetes.io, "Configure the Aggregation Layer"; k8s.io/kubernetes, controller clusterauthenticationtrust.
Next: the API servers themselves read it.
"""

from __future__ import annotations

import logging
from typing import Final

import orjson

from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs

log = logging.getLogger("edgekube.server")

NAMESPACE: Final = "kube-system"
NAME: Final = "extension-apiserver-authentication"

USER_HEADER: Final = "X-Remote-User"
UID_HEADER: Final = "X-Remote-Uid"
GROUP_HEADER: Final = "X-Remote-Group"
EXTRA_PREFIX: Final = "X-Remote-Extra-"


def trust_data(authorities_pem: str, front_proxy_pem: str, allowed_name: str) -> dict[str, str]:
    def listed(value: str) -> str:
        return orjson.dumps([value]).decode()

    return {
        "client-ca-file": authorities_pem,
        "requestheader-allowed-names": listed(allowed_name),
        "requestheader-client-ca-file": front_proxy_pem,
        "requestheader-extra-headers-prefix": listed(EXTRA_PREFIX),
        "requestheader-group-headers": listed(GROUP_HEADER),
        "requestheader-uid-headers": listed(UID_HEADER),
        "requestheader-username-headers": listed(USER_HEADER),
    }


async def publish_trust(verbs: Verbs, data: dict[str, str]) -> None:
    """What cannot be written is logged, and made good at the next change or start."""
    try:
        try:
            current = await verbs.get(CONFIGMAP, NAMESPACE, NAME)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            made: Object = {"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data}
            await verbs.create(CONFIGMAP, NAMESPACE, made)
            return
        if any((current.get("data") or {}).get(key) != value for key, value in data.items()):
            await verbs.patch(CONFIGMAP, NAMESPACE, NAME, {"data": data})
    except StatusError as error:
        log.warning("what other API servers trust cannot be told why=%r", error.message)
