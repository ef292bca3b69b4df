"""What an autoscaler's plan has to know: the scale of its target, and the answers about its metrics.

Enters: HorizontalPodAutoscalers.
Leaves: plans that know their facts.
Holds: what cannot be had is a fact, too: in the words that events and conditions tell.
Bound: limits.METRICS_TIMEOUT_SECONDS for the answers of one autoscaler.
Source: k8s.io/kubernetes pkg/controller/podautoscaler; messages of client-go.
Next: controllers.autoscaling.plan.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import trio

from edgekube import limits
from edgekube.api.calls import Call
from edgekube.api.controller import Key, Moment, Plan
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.metrics_source import MetricsSource
from edgekube.api.objects import Object, namespace_of
from edgekube.api.verbs import Verbs
from edgekube.api.view import View
from edgekube.controllers.autoscaling.behavior import Memory
from edgekube.controllers.autoscaling.metrics import CUSTOM_METRICS, question_of
from edgekube.controllers.autoscaling.plan import Facts, plan, wants_metrics
from edgekube.controllers.autoscaling.readings import MetricError


class AutoscalerFacts:
    def __init__(self, verbs: Verbs, source: MetricsSource, kinds: Callable[[], Iterable[Kind]]) -> None:
        self._verbs = verbs
        self._source = source
        self._kinds = kinds
        self._memory = Memory()

    async def plan_of(self, autoscaler: Object) -> Plan:
        facts = await self._facts(autoscaler, namespace_of(autoscaler))
        return functools.partial(_planned, self._memory, facts, autoscaler)

    async def _facts(self, autoscaler: Object, namespace: str) -> Facts:
        spec = autoscaler.get("spec") or {}
        reference = spec.get("scaleTargetRef") or {}
        group, fault = _group_of(str(reference.get("apiVersion") or ""))
        if fault:
            return Facts(fault=fault)
        kind = str(reference.get("kind") or "")
        rows = [row for row in self._kinds() if row.group == group and row.kind == kind]
        if not rows:
            return Facts(fault=f'no matches for kind "{kind}" in group "{group}"')
        target = rows[0]
        if "scale" not in target.subresources:
            return Facts(fault="the server could not find the requested resource")
        try:
            scale = await self._verbs.get(target, namespace, str(reference.get("name") or ""), subresource="scale")
        except StatusError as error:
            return Facts(fault=error.message)
        if not wants_metrics(autoscaler, scale):
            return Facts(target, scale)
        selector = str((scale.get("status") or {}).get("selector") or "")
        return Facts(target, scale, answers=await self._answers(spec.get("metrics") or [], namespace, selector))

    async def _answers(self, metrics: list[Object], namespace: str, selector: str) -> list[Object | MetricError]:
        answers: list[Object | MetricError] = [MetricError("timed out")] * len(metrics)
        asked: dict[str, Object | MetricError] = {}  # several metrics of one autoscaler are in one answer

        async def ask(number: int, metric: Object) -> None:
            answers[number] = await self._answer(metric, namespace, selector, asked)

        with trio.move_on_after(limits.METRICS_TIMEOUT_SECONDS):
            for number, metric in enumerate(metrics):
                await ask(number, metric)
        return answers

    async def _answer(
        self, metric: Object, namespace: str, selector: str, asked: dict[str, Object | MetricError]
    ) -> Object | MetricError:
        try:
            question = question_of(metric, namespace, selector, self._resource_of)
        except MetricError as error:
            return error
        except KeyError:
            return MetricError("unknown metric source type")
        path = question.path
        if question.custom:
            versions = self._source.versions_of(CUSTOM_METRICS)
            if not versions:
                return MetricError(f"no custom metrics API ({CUSTOM_METRICS}) registered")
            path = f"/apis/{CUSTOM_METRICS}/{versions[0]}/{path}"
        if path not in asked:
            try:
                asked[path] = await self._source.read(path)
            except StatusError as error:
                asked[path] = MetricError(_said(error, question.asked))
        return asked[path]

    def _resource_of(self, api_version: str, kind: str) -> str:
        group, _ = _group_of(api_version)
        for row in self._kinds():
            if row.group == group and row.kind == kind:
                return row.resource
        raise MetricError(f'unable to fetch metrics from custom metrics API: no matches for kind "{kind}" in group "{group}"')


def _group_of(api_version: str) -> tuple[str, str]:
    """(group, fault)."""
    parts = api_version.split("/")
    if len(parts) > 2:
        return "", f"unexpected GroupVersion string: {api_version}"
    return (parts[0] if len(parts) == 2 else ""), ""


def _said(error: StatusError, asked: str) -> str:
    """As a Go client tells it of an answer that is no Status."""
    if error.code == 404 and not error.message:
        return f"the server could not find the requested resource (get {asked})"
    if error.code == 503 and not error.message:
        return f"the server is currently unable to handle the request (get {asked})"
    return error.message


def _planned(memory: Memory, facts: Facts, autoscaler: Object, view: View, key: Key, now: Moment) -> list[Call]:
    return plan(memory, facts, view, autoscaler, now)
