"""Objects that API servers behind this one keep in a namespace: found by discovery, and deleted.

Enters: what those servers say that they serve; a namespace that is on its way out.
Leaves: their objects deleted, what did not go counted.
Holds: api.remote_content.RemoteContent. Each resource in the version that its group prefers, once. They are asked in the name of
kube-controller-manager, which the default roles give what it needs.
Source: k8s.io/client-go discovery (preferred resources, stale group versions); pkg/controller/namespace/deletion of Kubernetes.
Bound: limits.AGGREGATED_CONTENT_PAGE_OBJECTS_MAX and _BYTES_MAX an answer, _SECONDS_MAX a resource.
Next: server.aggregation.connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.api_services import Remote
from edgekube.api.errors import CODES, StatusError
from edgekube.api.objects import Object, metadata_of
from edgekube.api.remote_content import Left, RemoteResource
from edgekube.api.verbs import UserInfo
from edgekube.server.aggregation.connections import FAILURES, RemoteConnections
from edgekube.server.aggregation.forwarding import identity_headers
from edgekube.server.aggregation.index import ApiServices
from edgekube.server.aggregation.published import CURRENT, Published

_USER: Final = UserInfo("system:kube-controller-manager", groups=("system:authenticated",))
_METADATA_ALONE: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_OPTIONS: Final = orjson.dumps({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
_REASONS: Final = {code: reason for reason, code in reversed(CODES.items())}
_NOT_SERVED: Final = frozenset({404, 405})


def deletable(
    groups: Iterable[tuple[str, Iterable[str]]], told: Callable[[str, str], Object | None]
) -> tuple[list[RemoteResource], dict[str, str]]:
    """``groups``: each with its versions, the preferred one first. ``told``: what a remote group version serves. Pure."""
    found: dict[tuple[str, str], RemoteResource] = {}
    undiscovered: dict[str, str] = {}
    for group, versions in groups:
        for version in versions:
            entry = told(group, version)
            if entry is None:
                continue
            if entry["freshness"] != CURRENT:
                undiscovered[f"{group}/{version}"] = f"stale GroupVersion discovery: {group}/{version}"
                continue
            for each in entry["resources"]:
                verbs = frozenset(each["verbs"])
                if each["scope"] == "Namespaced" and "delete" in verbs:
                    found.setdefault((group, each["resource"]), RemoteResource(group, version, each["resource"], verbs))
    return list(found.values()), undiscovered


class RemoteContents:
    def __init__(self, index: ApiServices, published: Published, connections: RemoteConnections) -> None:
        self._index = index
        self._published = published
        self._connections = connections

    async def discover(self) -> tuple[list[RemoteResource], dict[str, str]]:
        await self._index.held.listed.wait()
        return deletable(self._published.ordered(()), self._published.told)

    async def delete_all(self, resource: RemoteResource, namespace: str) -> Left:
        path = f"/apis/{resource.group}/{resource.version}"
        target = self._index.of_path(path)
        if target is None:
            return Left()  # its APIService has gone in between: so has what it kept, for whoever asks here
        remote = target[0]
        path = f"{path}/namespaces/{quote(namespace)}/{quote(resource.plural)}"
        try:
            with trio.fail_after(limits.AGGREGATED_CONTENT_SECONDS_MAX):
                left = await self._list(remote, path, resource)
                if any("deletionTimestamp" not in metadata for metadata in left):
                    await self._delete(remote, path, resource, left)
                    left = await self._list(remote, path, resource)
        except FAILURES as error:
            why = str(error) or "it did not answer in time"
            raise errors.unreachable(f"{remote.server_name} cannot be asked for {resource.group_resource}: {why}") from error
        held = Counter(finalizer for metadata in left for finalizer in metadata.get("finalizers") or ())
        return Left(len(left), held)

    async def _delete(self, remote: Remote, path: str, resource: RemoteResource, left: list[Object]) -> None:
        if "deletecollection" in resource.verbs and await self._ask(remote, "DELETE", path, _OPTIONS) is not None:
            return
        for metadata in left:
            await self._ask(remote, "DELETE", f"{path}/{quote(str(metadata['name']))}", _OPTIONS)

    async def _list(self, remote: Remote, path: str, resource: RemoteResource) -> list[Object]:
        """Metadata of each object; none of what cannot be listed."""
        found: list[Object] = []
        query = {"limit": str(limits.AGGREGATED_CONTENT_PAGE_OBJECTS_MAX)}
        while "list" in resource.verbs:
            answer = await self._ask(remote, "GET", f"{path}?{urlencode(query)}", None)
            if answer is None:
                break
            for each in answer.get("items") or ():
                metadata = metadata_of(each)
                found.append({key: metadata[key] for key in ("name", "finalizers", "deletionTimestamp") if metadata.get(key)})
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                break
            query["continue"] = str(token)
        return found

    async def _ask(self, remote: Remote, method: str, target: str, body: bytes | None) -> Any:
        """The decoded answer; None where that is not served."""
        headers: dict[str, str | tuple[str, ...]] = {"accept": _METADATA_ALONE, **identity_headers(_USER)}
        if body is not None:
            headers |= {"accept": "application/json", "content-type": "application/json"}
        client = self._connections.client(remote)
        status, _, answered = await client.fetch(method, target, headers, body, max_bytes=limits.AGGREGATED_CONTENT_BYTES_MAX)
        if status in _NOT_SERVED:
            return None
        answer = orjson.loads(answered)
        if not isinstance(answer, dict):
            raise ValueError("the answer is no object")
        if not 200 <= status < 300:
            message = str(answer.get("message") or f"status {status}")
            raise StatusError(_REASONS.get(status, "InternalError"), message, code=status)
        return answer
