"""The autoscaler's loop: when it is looked at, and by whom.

Enters: HorizontalPodAutoscalers.
Leaves: a controller for reconcile.engine.
Holds: nothing is asked while there is no autoscaler, and what decides is not even loaded; each is looked at anew after
limits.AUTOSCALER_SYNC_SECONDS, and when its spec changes; what its own status says wakes nobody.
Next: reconcile.autoscaler_facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from edgekube.api.calls import Call
from edgekube.api.controller import Change, Controller, Key, Moment, Plan
from edgekube.api.kinds import HORIZONTALPODAUTOSCALER, POD, Kind
from edgekube.api.metrics_source import MetricsSource
from edgekube.api.verbs import Verbs
from edgekube.api.view import View

if TYPE_CHECKING:
    from edgekube.reconcile.autoscaler_facts import AutoscalerFacts

NAME: Final = "horizontal-pod-autoscaler-controller"


class Autoscaler:
    def __init__(self, verbs: Verbs, source: MetricsSource, kinds: Callable[[], Iterable[Kind]]) -> None:
        self._verbs = verbs
        self._source = source
        self._kinds = kinds
        self._facts: AutoscalerFacts | None = None

    def controller(self) -> Controller:
        watches = ((HORIZONTALPODAUTOSCALER, _asked_anew),)
        return Controller(NAME, watches, plan=_nothing, reads=(POD,), gather=self._gather)

    async def _gather(self, view: View, key: Key) -> Plan:
        autoscaler = view.get(HORIZONTALPODAUTOSCALER, key.namespace, key.name)
        if autoscaler is None:
            return _nothing
        if self._facts is None:
            from edgekube.reconcile.autoscaler_facts import AutoscalerFacts  # 0.7 MB that most clusters have no use for

            self._facts = AutoscalerFacts(self._verbs, self._source, self._kinds)
        return await self._facts.plan_of(autoscaler)


def _asked_anew(change: Change, view: View) -> Iterable[Key]:
    old, new = change.old, change.new
    if new is None or (old is not None and old.get("spec") == new.get("spec")):
        return ()
    return (change.key,)


def _nothing(view: View, key: Key, now: Moment) -> list[Call]:
    return []
