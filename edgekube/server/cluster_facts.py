"""Tell everybody what the cluster is: the ConfigMap that nodes follow, and the door that strangers may look through.

Enters: what this server knows of itself, asked for again and again because addresses and authorities change.
Leaves: ConfigMap kube-system/edgekube-cluster, as it should be; GET /edgekube/v1/cluster.
Holds: the cluster's name is what people wrote into the ConfigMap, if they did; everything else is the server's to say.
Bound: limits.CLUSTER_FACTS_SECONDS between looks.
Next: api.cluster_facts; agents read it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio
from msgspec.structs import replace

from edgekube import limits
from edgekube.api import times
from edgekube.api.cluster_facts import NAME, NAMESPACE, ClusterFacts, default_name
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.kinds import NAMESPACE as NAMESPACE_KIND
from edgekube.api.objects import uid_of
from edgekube.api.verbs import Verbs
from edgekube.server.doors import answer
from edgekube.version import GIT_VERSION
from edgekube.wire.protocol import Request, Responder

log = logging.getLogger("edgekube.server")


class KeptFacts:
    """The facts of this moment, and their ConfigMap."""

    def __init__(self, verbs: Verbs, facts: Callable[[], ClusterFacts], clock: Callable[[], float]) -> None:
        """``facts`` may leave id and name empty: they are the database's to say."""
        self._verbs = verbs
        self._facts = facts
        self._clock = clock
        self._id = ""
        self._name = ""
        self._changed = trio.Event()

    def current(self) -> ClusterFacts:
        return replace(self._facts(), cluster_id=self._id, name=self._name or default_name(self._id))

    def changed(self) -> None:
        """Something that ``facts`` tells is different now: do not wait for the next look."""
        self._changed.set()

    async def prepare(self) -> None:
        """Before the first request: whose cluster this is, and the ConfigMap."""
        self._id = uid_of(await self._verbs.get(NAMESPACE_KIND, "", "kube-system"))
        await self._write()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with trio.move_on_after(limits.CLUSTER_FACTS_SECONDS):
                await self._changed.wait()
            self._changed = trio.Event()
            try:
                await self._write()
            except StatusError as error:
                log.warning("the cluster's facts could not be written, trying again why=%r", error.message)

    async def _write(self) -> None:
        try:
            config_map = await self._verbs.get(CONFIGMAP, NAMESPACE, NAME)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            data = self.current().as_data()
            await self._verbs.create(CONFIGMAP, NAMESPACE, {"metadata": {"name": NAME}, "data": data})
            return
        data = config_map.get("data") or {}
        self._name = str(data.get("cluster-name") or "").strip()
        wanted = {**data, **self.current().as_data()}
        if data != wanted:
            config_map["data"] = wanted
            await self._verbs.update(CONFIGMAP, config_map)

    async def serve(self, request: Request, responder: Responder) -> None:
        """GET /edgekube/v1/cluster. Nothing here is trusted by whoever asks, unless he can check it against what he knows."""
        facts = self.current()
        body = {
            "clusterId": facts.cluster_id,
            "name": facts.name,
            "caBundle": facts.authorities,
            "version": GIT_VERSION,
            "time": times.rfc3339(self._clock()),
        }
        await answer(request, responder, body)
