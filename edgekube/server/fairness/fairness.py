"""Priority and fairness, put together: the flow schemas and priority levels as they are now, and a seat for a request.

Enters: watches on FlowSchemas and PriorityLevelConfigurations; the Attributes of a request.
Leaves: a seat while the request is answered, the names of schema and level for its answer's headers.
Holds: streams that last (watches, logs, exec) take no seat: server.inflight bounds them. Before both kinds have been listed, and
for a request that no schema matches, nothing is refused here.
Bound: limits.FLOWS_REMEMBERED_MAX classifications.
Source: kubernetes.io, "API Priority and Fairness" (response headers X-Kubernetes-PF-…).
Next: admission.flows, server.fairness.seats.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

import trio

from edgekube import limits
from edgekube.admission import flows
from edgekube.admission.attributes import Attributes
from edgekube.admission.flows import Flow, FlowSchema
from edgekube.api import times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import FLOWSCHEMA, PRIORITYLEVELCONFIGURATION
from edgekube.api.objects import name_of
from edgekube.api.verbs import Verbs
from edgekube.metrics import Metrics
from edgekube.reconcile.by_name import ByName
from edgekube.reconcile.follow import follow
from edgekube.server.fairness import dangling
from edgekube.server.fairness.seats import FREE, Seat, Seats, rules_of

log = logging.getLogger("edgekube.server")

SCHEMA_HEADER: Final = "x-kubernetes-pf-flowschema-uid"
LEVEL_HEADER: Final = "x-kubernetes-pf-prioritylevel-uid"

_Asked: TypeAlias = tuple[str, tuple[str, ...], str, str, str, str, str, str]


class Fairness:
    def __init__(self, seats: Seats | None = None, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._news = trio.Event()
        self.seats = seats or Seats()
        self._schemas: list[FlowSchema] = []
        self._level_uids: dict[str, str] = {}
        self._remembered: OrderedDict[_Asked, FlowSchema | None] = OrderedDict()
        self._schema_objects = ByName(self._changed)
        self._level_objects = ByName(self._changed)

    async def run(self, verbs: Verbs) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, verbs, FLOWSCHEMA, self._schema_objects)
            nursery.start_soon(follow, verbs, PRIORITYLEVELCONFIGURATION, self._level_objects)
            nursery.start_soon(self._tell_of_dangling, verbs)

    async def _tell_of_dangling(self, verbs: Verbs) -> None:
        """Each schema's condition says whether its level is there."""
        while True:
            self._news = trio.Event()
            for obj in list(self._schema_objects.objects.values()):
                status = dangling.changed_status(
                    obj, flows.schema_of(obj).level in self._level_uids, times.rfc3339(self._clock())
                )
                if status is not None:
                    try:
                        await verbs.patch(FLOWSCHEMA, "", name_of(obj), {"status": status}, subresource="status")
                    except StatusError as error:
                        if error.reason not in ("NotFound", "Conflict"):
                            log.warning("flow schema=%s cannot be marked why=%r", name_of(obj), error.message)
            await self._news.wait()

    def tell_of(self, metrics: Metrics) -> None:
        running = metrics.gauge(
            "apiserver_flowcontrol_current_executing_requests", "Requests that have a seat.", "priority_level"
        )
        waiting = metrics.gauge("apiserver_flowcontrol_current_inqueue_requests", "Requests that wait for one.", "priority_level")
        refused = metrics.gauge("apiserver_flowcontrol_rejected_requests_total", "Requests that got none.", "priority_level")
        nominal = metrics.gauge("apiserver_flowcontrol_nominal_limit_seats", "Seats of its own.", "priority_level")

        def read() -> None:
            seats = self.seats
            told = (
                (nominal, seats.nominal()),
                (running, seats.running()),
                (waiting, seats.waiting()),
                (refused, seats.refused()),
            )
            for family, now in told:
                for name, count in now.items():
                    family.set((name,), count)

        metrics.before_reading(read)

    def _changed(self) -> None:
        if not (self._schema_objects.listed.is_set() and self._level_objects.listed.is_set()):
            return
        levels = [rules_of(obj) for obj in self._level_objects.objects.values()]
        self._level_uids = {level.name: level.uid for level in levels}
        # A schema whose level is not there takes no request (its condition says Dangling).
        schemas = [flows.schema_of(obj) for obj in self._schema_objects.objects.values()]
        self._schemas = flows.in_order(schema for schema in schemas if schema.level in self._level_uids)
        self._remembered.clear()
        self.seats.follow(levels)
        self._news.set()

    def flow(self, attributes: Attributes) -> Flow | None:
        """None: no schema matches, or they are not known yet."""
        schema = self._classify(attributes)
        return None if schema is None else Flow(schema, flows.flow_of(schema, attributes))

    def _classify(self, attributes: Attributes) -> FlowSchema | None:
        user = attributes.user
        asked = (
            user.name, user.groups, attributes.verb, attributes.group, attributes.resource, attributes.subresource,
            attributes.namespace, attributes.path,
        )  # fmt: skip
        if asked in self._remembered:
            self._remembered.move_to_end(asked)
            return self._remembered[asked]
        found = self._remembered[asked] = flows.find(self._schemas, attributes)
        if len(self._remembered) > limits.FLOWS_REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return found

    def headers(self, flow: Flow) -> dict[str, str]:
        return {SCHEMA_HEADER: flow.schema.uid, LEVEL_HEADER: self._level_uids.get(flow.schema.level, "")}

    def seat(self, flow: Flow | None) -> Seat:
        """Sitting down: StatusError TooManyRequests."""
        return FREE if flow is None else self.seats.seat(flow.schema.level, f"{flow.schema.name}/{flow.distinguisher}")
