"""Warnings: what is accepted and yet worth telling its sender (the Warning header, RFC 9111 code 299).

Enters: a defaulted, valid object; on update the old one too.
Leaves: texts, each once, in upstream's order; the server quotes them into headers.
Holds: a change is told what the kind's strategy tells: of pods nothing, of a template when it counts as a change.
Source: WarningsOnCreate and WarningsOnUpdate of each strategy.go in pkg/registry of v1.36.
Next: api.warnings.pods, api.warnings.kinds; server.responses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION, Kind
from edgekube.api.objects import Object
from edgekube.api.validation.fields import part, text
from edgekube.api.warnings import kinds, pods

#: Where a kind has its pod template, and whether its name goes into names of pods.
_TEMPLATES: Final = {
    "CronJob": (("spec", "jobTemplate", "spec", "template"), True),
    "DaemonSet": (("spec", "template"), False),
    "Deployment": (("spec", "template"), True),
    "Job": (("spec", "template"), True),
    "PodTemplate": (("template",), False),
    "ReplicaSet": (("spec", "template"), True),
    "ReplicationController": (("spec", "template"), True),
    "StatefulSet": (("spec", "template"), False),
}
_DEPRECATED: Final = {
    ("v1", "ComponentStatus"): "v1 ComponentStatus is deprecated in v1.19+",
    ("v1", "Endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
_DAEMON_GENERATION: Final = "deprecated.daemonset.template.generation"


def deprecation_of(kind: Kind) -> str:
    """What every request on the kind is told, reads included; "" for most."""
    return kind.deprecation or _DEPRECATED.get((kind.api_version, kind.kind), "")


def warnings_for(kind: Kind, new: Object, old: Object | None = None) -> list[str]:
    """Texts for Warning headers; ``old`` is None on create."""
    return list(dict.fromkeys(_of(kind, new, old)))


def _of(kind: Kind, new: Object, old: Object | None) -> Iterator[str]:
    if kind.kind == "Pod" and not kind.group:
        if old is None:  # people seldom change pods themselves, and the node often does
            yield from pods.of_name(new, "the Pod's hostname")
            yield from pods.of_spec(part(new, "metadata"), part(new, "spec"), "")
    elif kind.kind in _TEMPLATES and kind.group in ("", "apps", "batch"):
        yield from _of_workload(kind, new, old)
    elif kind is CUSTOMRESOURCEDEFINITION:
        from edgekube.api.custom.definition_warnings import warnings_of

        known = set(warnings_of(old)) if old is not None else ()
        yield from (each for each in warnings_of(new) if each not in known)
    else:
        look = kinds.BY_KIND.get((kind.group, kind.kind))
        if look is not None:
            yield from look(new, old)


def _of_workload(kind: Kind, new: Object, old: Object | None) -> Iterator[str]:
    steps, named = _TEMPLATES[kind.kind]
    if named and old is None:
        yield from pods.of_name(new, "Pod names and hostnames")
    if old is None or _is_change(kind, new, old):
        template = new
        for step in steps:
            template = part(template, step)
        if kind.kind in ("Job", "CronJob"):
            yield from kinds.of_job_spec(new, ".".join(steps[:-1]))
        yield from pods.of_spec(part(template, "metadata"), part(template, "spec"), ".".join(steps))
    if kind.kind == "CronJob" and old is not None and "TZ" in text(part(new, "spec"), "schedule"):
        yield (
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )
    if kind.kind == "StatefulSet":
        yield from kinds.of_stateful_set(new, old)


def _is_change(kind: Kind, new: Object, old: Object) -> bool:
    if kind.kind == "DaemonSet":
        after, before = (part(part(each, "metadata"), "annotations").get(_DAEMON_GENERATION) for each in (new, old))
        return after != before
    return part(new, "metadata").get("generation") != part(old, "metadata").get("generation")
