"""Which namespaces are held to a pod security standard: kept current with each write of a namespace.

Enters: the store when the registry is loaded; then each namespace as it is written, from registry.writing.
Leaves: the policy of a namespace.
Holds: only namespaces with such labels are held, so that a cluster without them pays one look into a dict.
Next: registry.pod_security.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgekube.admission.pod_security.levels import DEFAULT, PREFIX, Policy, policy_of
from edgekube.api.errors import Cause
from edgekube.store.protocol import Store

_RESOURCE = "namespaces"


class _Metadata(msgspec.Struct):
    labels: Mapping[str, str] | None = None


class _Namespace(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Namespace).decode


class PolicedNamespaces:
    def __init__(self) -> None:
        self._policies: dict[str, tuple[Policy, Sequence[Cause]]] = {}

    async def load(self, store: Store) -> None:
        self._policies.clear()
        for record in (await store.list(_RESOURCE)).records:
            self.put(record.key.name, record.value)

    def put(self, name: str, raw: bytes | None) -> None:
        """``raw``: the namespace as stored, None when it is gone."""
        labels = (_decode(raw).metadata.labels or {}) if raw is not None else {}
        if any(key.startswith(PREFIX) for key in labels):
            self._policies[name] = policy_of(labels)
        else:
            self._policies.pop(name, None)

    def __contains__(self, namespace: str) -> bool:
        return namespace in self._policies

    def policy(self, namespace: str) -> tuple[Policy, Sequence[Cause]]:
        """And what could not be read of the labels."""
        return self._policies.get(namespace, (DEFAULT, ()))
