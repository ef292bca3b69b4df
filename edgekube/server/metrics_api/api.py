"""The verbs of metrics.k8s.io: get and list, for nodes and pods.

Enters: a route of the group; selectors.
Leaves: NodeMetrics and PodMetrics, in the form that the client asked for.
Holds: whom nothing is known of is left out of a list, and is not found alone, as metrics-server has it.
Next: server.metrics_api.scraping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import orjson

from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, POD, Kind
from edgekube.api.objects import Object, name_of
from edgekube.api.podstate import node_of, phase_of
from edgekube.api.verbs import ListOptions, RawList, Verbs
from edgekube.server import parameters, rendering, respond
from edgekube.server.metrics_api.exposition import Usage
from edgekube.server.metrics_api.objects import GROUP, NODEMETRICS, PODMETRICS, ROWS, VERSION, node_metrics, pod_metrics
from edgekube.server.metrics_api.scraping import Scraper
from edgekube.server.negotiation import negotiate
from edgekube.server.routes import Route
from edgekube.wire.protocol import Request, Responder


class MetricsApi:
    def __init__(self, verbs: Verbs, scraper: Scraper) -> None:
        self._verbs = verbs
        self._scraper = scraper

    def serves(self, route: Route) -> bool:
        return route.is_resource and (route.group, route.version) == (GROUP, VERSION)

    async def serve(self, request: Request, responder: Responder, route: Route) -> None:
        kind = next((row for row in ROWS if row.plural == route.plural), None)
        if kind is None or route.subresource or (route.name and kind.namespaced and not route.namespace):
            raise StatusError("NotFound", "the server could not find the requested resource")
        if route.verb not in ("get", "list"):
            raise errors.method_not_allowed(GROUP, kind.plural, route.verb)
        form = negotiate(request.headers.get("accept", ""))
        include = route.parameter("includeObject") or rendering.INCLUDE_METADATA
        if route.verb == "get":
            found = await self.one(kind, route.namespace, route.name)
            body = rendering.object_body(kind, orjson.dumps(found), form, include)
        else:
            asked = parameters.list_options(route)
            selection = ListOptions(label_selector=asked.label_selector, field_selector=asked.field_selector)
            items = [orjson.dumps(each) for each in await self.many(kind, route.namespace, selection)]
            body = rendering.list_body(kind, RawList(items, ""), form, include)
        await respond.send(request, responder, 200, body)

    async def one(self, kind: Kind, namespace: str, name: str) -> Object:
        selection = ListOptions(field_selector=f"metadata.name={name}")
        found = await self.many(kind, namespace, selection)
        if not found:
            shown = f"{namespace}/{name}" if kind.namespaced else name
            raise errors.not_found(GROUP, "podmetrics" if kind.namespaced else "nodemetrics", shown)
        return found[0]

    async def many(self, kind: Kind, namespace: str, selection: ListOptions) -> list[Object]:
        if kind is NODEMETRICS:
            nodes = (await self._verbs.list(NODE, "", selection)).objects()
            usages = await self._scraper.usage(map(name_of, nodes))
            return _known((node_metrics, node, usages.get(name_of(node))) for node in nodes)
        assert kind is PODMETRICS, "the group has two kinds"
        pods = [pod for pod in (await self._verbs.list(POD, namespace, selection)).objects() if phase_of(pod) == "Running"]
        usages = await self._scraper.usage(filter(None, map(node_of, pods)))
        return _known((pod_metrics, pod, usages.get(node_of(pod))) for pod in pods)


def _known(candidates: Iterable[tuple[Callable[[Object, Usage], Object | None], Object, Usage | None]]) -> list[Object]:
    found = [make(of, usage) for make, of, usage in candidates if usage is not None]
    return [each for each in found if each is not None]
