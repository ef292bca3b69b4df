"""Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions.

Enters: defaulted objects of apps/v1; the old one on update.
Leaves: causes appended to ``out``.
Holds: a selector must match its own template and does not change.
Source: apps/validation; the strategies' rule that apps/v1 selectors are immutable.
Next: api.validation.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.selectors.labels import label_selector_of
from edgekube.api.validation import causes, inner
from edgekube.api.validation.core import check_replica_counts
from edgekube.api.validation.fields import (
    Out,
    amount_of,
    check,
    check_immutable,
    check_int_or_percent,
    check_nonnegative,
    check_percent_at_most_100,
    dns_label,
    gathered,
    items,
    number,
    part,
    same,
    text,
)
from edgekube.api.validation.metadata import check_label_selector
from edgekube.api.validation.podspec import check_template
from edgekube.api.validation.volumes import check_claim_spec

_STATEFUL_FREE: Final = frozenset(
    {
        "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)  # fmt: skip
_STATEFUL_FORBIDDEN: Final = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_DAEMON_COUNTS: Final = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip


def _check_selector(out: Out, spec: Object, what: str) -> None:
    selector = spec.get("selector")
    if selector is None:
        out.append(causes.required("spec.selector"))
        return
    check_label_selector(out, selector, "spec.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        out.append(causes.invalid("spec.selector", {}, f"empty selector is invalid for {what}"))


def _check_template(out: Out, spec: Object, what: str, *, wrong_selector: str | None = "invalid label selector") -> None:
    template = part(spec, "template")
    if check_template_matches(out, spec.get("selector"), template, "spec.template", wrong_selector):
        check_template(out, template, "spec.template")
    _check_always(out, template, what)


def _check_always(out: Out, template: Object, what: str) -> None:
    pod_spec = part(template, "spec")
    policy = text(pod_spec, "restartPolicy")
    if policy != "Always":
        out.append(causes.not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if pod_spec.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {what} is not Supported"
        out.append(causes.forbidden("spec.template.spec.activeDeadlineSeconds", detail))


def check_template_matches(
    out: Out, selector: Object | None, template: Object, field: str, wrong: str | None = "invalid label selector"
) -> bool:
    """False: the selector cannot be read, of which ``wrong`` is said (None: nothing). No selector selects nothing."""
    labels = part(template, "metadata").get("labels")
    try:
        chosen = label_selector_of(selector)
    except ValueError:
        if wrong is None:
            return True
        out.append(causes.invalid("spec.selector", inner.label_selector(selector), wrong))
        return False
    if not chosen.matches(labels or {}):
        detail = "`selector` does not match template `labels`"
        out.append(causes.invalid(f"{field}.metadata.labels", labels, detail))
    return True


def _with_claims(spec: Object, template: Object) -> Object:
    """The template with a volume for each claim template, for mounts may refer to either, and without what is not the user's
    to say: each pod's hostname and subdomain."""
    claims = dict.fromkeys(text(part(claim or {}, "metadata"), "name") for claim in spec.get("volumeClaimTemplates") or ())
    pod_spec = {**part(template, "spec"), "hostname": None, "subdomain": None}
    volumes = [volume for volume in pod_spec.get("volumes") or () if text(volume or {}, "name") not in claims]
    made: list[Any] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return {**template, "spec": {**pod_spec, "volumes": made + volumes}}


# --- Deployment -----------------------------------------------------------------------------------------------------------


def check_deployment(out: Out, deployment: Object) -> None:
    spec = part(deployment, "spec")
    check_nonnegative(out, spec, "replicas", "spec")
    _check_selector(out, spec, "deployment")
    _check_template(out, spec, "ReplicaSet")
    _check_deployment_strategy(out, part(spec, "strategy"), "spec.strategy")
    check_nonnegative(out, spec, "minReadySeconds", "spec")
    check_nonnegative(out, spec, "revisionHistoryLimit", "spec")
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int):
        check_nonnegative(out, spec, "progressDeadlineSeconds", "spec")
        if deadline <= number(spec, "minReadySeconds"):
            out.append(causes.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))


def _check_deployment_strategy(out: Out, strategy: Object, field: str) -> None:
    kind, rolling = text(strategy, "type"), strategy.get("rollingUpdate")
    path = f"{field}.rollingUpdate"
    if kind == "Recreate":
        if rolling is not None:
            out.append(causes.forbidden(path, "may not be specified when strategy `type` is 'Recreate'"))
    elif kind == "RollingUpdate":
        if rolling is None:
            out.append(causes.required(path, "this should be defaulted and never be nil"))
            return
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        check_int_or_percent(out, unavailable, f"{path}.maxUnavailable")
        check_int_or_percent(out, surge, f"{path}.maxSurge")
        if amount_of(unavailable) == 0 and amount_of(surge) == 0:
            detail = "may not be 0 when `maxSurge` is 0"
            out.append(causes.invalid(f"{path}.maxUnavailable", unavailable, detail))
        check_percent_at_most_100(out, unavailable, f"{path}.maxUnavailable")
    else:
        shown = inner.inner(strategy, inner.ROLLING_STRATEGY)
        out.append(causes.not_supported(field, shown, ("Recreate", "RollingUpdate")))


def check_deployment_update(out: Out, new: Object, old: Object) -> None:
    check_deployment(out, new)
    _check_selector_kept(out, new, old)


def _check_selector_kept(out: Out, new: Object, old: Object) -> None:
    selector, before = (inner.label_selector(part(one, "spec").get("selector")) for one in (new, old))
    check_immutable(out, selector, before, "spec.selector")


def _check_collisions(out: Out, new: Object, old: Object) -> None:
    count, before = part(new, "status").get("collisionCount"), part(old, "status").get("collisionCount")
    if before is not None and (count or 0) < before:
        out.append(causes.invalid("status.collisionCount", count or 0, "cannot be decremented"))


_DEPLOYMENT_COUNTS: Final = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


def check_deployment_status(out: Out, new: Object, old: Object) -> None:
    compared = ("updatedReplicas", "readyReplicas", "availableReplicas")
    check_replica_counts(out, part(new, "status"), _DEPLOYMENT_COUNTS, compared)
    _check_collisions(out, new, old)


# --- ReplicaSet -----------------------------------------------------------------------------------------------------------


def check_replica_set(out: Out, replica_set: Object) -> None:
    spec = part(replica_set, "spec")
    check_nonnegative(out, spec, "replicas", "spec")
    check_nonnegative(out, spec, "minReadySeconds", "spec")
    _check_selector(out, spec, "deployment")
    _check_template(out, spec, "ReplicaSet")


def check_replica_set_update(out: Out, new: Object, old: Object) -> None:
    check_replica_set(out, new)
    _check_selector_kept(out, new, old)


_REPLICA_SET_COUNTS: Final = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def check_replica_set_status(out: Out, new: Object, old: Object) -> None:
    check_replica_counts(out, part(new, "status"), _REPLICA_SET_COUNTS, _REPLICA_SET_COUNTS[1:])


# --- StatefulSet ----------------------------------------------------------------------------------------------------------


def check_stateful_set(out: Out, stateful_set: Object) -> None:
    spec = part(stateful_set, "spec")
    for i, claim in enumerate(items(spec, "volumeClaimTemplates")):
        check_claim_spec(out, part(claim, "spec"), f"spec.volumeClaimTemplates[{i}].spec")
    if text(spec, "serviceName"):
        check(out, dns_label(text(spec, "serviceName")), "spec.serviceName", text(spec, "serviceName"))
    _check_stateful_spec(out, spec)


def _check_stateful_spec(out: Out, spec: Object, *, with_template: bool = True) -> None:
    policy = text(spec, "podManagementPolicy")
    if not policy:
        out.append(causes.required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        out.append(causes.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    _check_stateful_strategy(out, part(spec, "updateStrategy"))
    retention = part(spec, "persistentVolumeClaimRetentionPolicy")
    for key in ("whenDeleted", "whenScaled"):
        value = text(retention, key)
        if retention and value not in ("Retain", "Delete"):
            path = f"spec.persistentVolumeClaimRetentionPolicy.{key}"
            out.append(causes.not_supported(path, value, ("Retain", "Delete")))
    check_nonnegative(out, spec, "replicas", "spec")
    check_nonnegative(out, spec, "minReadySeconds", "spec")
    check_nonnegative(out, part(spec, "ordinals"), "start", "spec.ordinals")
    _check_selector(out, spec, "statefulset")
    template = part(spec, "template")
    if check_template_matches(out, spec.get("selector"), template, "spec.template", "") and with_template:
        check_template(out, _with_claims(spec, template), "spec.template")
    _check_always(out, template, "StatefulSet")


def _check_stateful_strategy(out: Out, strategy: Object) -> None:
    kind, rolling = text(strategy, "type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy.rollingUpdate"
    if not kind:
        out.append(causes.required("spec.updateStrategy"))
    elif kind == "OnDelete":
        if rolling is not None:
            shown = inner.inner(rolling, inner.STATEFUL_ROLLING)
            out.append(causes.invalid(path, shown, "only allowed for updateStrategy 'RollingUpdate'"))
    elif kind != "RollingUpdate":
        shown = inner.inner(strategy, inner.STATEFUL_STRATEGY)
        out.append(causes.invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'"))
    elif rolling is not None:
        check_nonnegative(out, rolling, "partition", path)
        unavailable = rolling.get("maxUnavailable")
        if unavailable is not None:
            check_int_or_percent(out, unavailable, f"{path}.maxUnavailable")
            if amount_of(unavailable) == 0:
                out.append(causes.invalid(f"{path}.maxUnavailable", unavailable, "cannot be 0"))
            check_percent_at_most_100(out, unavailable, f"{path}.maxUnavailable")


def check_stateful_set_update(out: Out, new: Object, old: Object) -> None:
    spec, before = part(new, "spec"), part(old, "spec")
    # What is wrong in what is stored came through an older version's rules; it does not keep the rest from changing.
    _check_stateful_spec(out, spec, with_template=not gathered(lambda found: _check_stateful_spec(found, before)))
    fixed = (spec.keys() | before.keys()) - _STATEFUL_FREE
    if any(not same(spec.get(key), before.get(key)) for key in fixed):
        out.append(causes.forbidden("spec", _STATEFUL_FORBIDDEN))


_STATEFUL_COUNTS: Final = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")


def check_stateful_set_status(out: Out, new: Object, old: Object) -> None:
    check_replica_counts(out, part(new, "status"), _STATEFUL_COUNTS, _STATEFUL_COUNTS[1:])
    _check_collisions(out, new, old)


# --- DaemonSet ------------------------------------------------------------------------------------------------------------


def check_daemon_set(out: Out, daemon_set: Object) -> None:
    spec = part(daemon_set, "spec")
    if spec.get("selector") is not None:
        _check_selector(out, spec, "daemonset")
    _check_template(out, spec, "DaemonSet", wrong_selector=None)
    check_nonnegative(out, spec, "minReadySeconds", "spec")
    strategy, path = part(spec, "updateStrategy"), "spec.updateStrategy"
    kind, rolling = text(strategy, "type"), strategy.get("rollingUpdate")
    if kind == "RollingUpdate":
        if rolling is None:
            out.append(causes.required(f"{path}.rollingUpdate"))
        else:
            _check_daemon_rolling(out, rolling, f"{path}.rollingUpdate")
    elif kind != "OnDelete":
        shown = inner.inner(strategy, inner.ROLLING_STRATEGY)
        out.append(causes.not_supported(path, shown, ("RollingUpdate", "OnDelete")))
    check_nonnegative(out, spec, "revisionHistoryLimit", "spec")


def _check_daemon_rolling(out: Out, rolling: Object, field: str) -> None:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    for key, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
        check_int_or_percent(out, value, f"{field}.{key}")
        check_percent_at_most_100(out, value, f"{field}.{key}")
    if amount_of(unavailable) != 0 and amount_of(surge) != 0:
        out.append(causes.invalid(f"{field}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif amount_of(unavailable) == 0 and amount_of(surge) == 0:
        out.append(causes.required(f"{field}.maxUnavailable", "cannot be 0 when maxSurge is 0"))


def check_daemon_set_update(out: Out, new: Object, old: Object) -> None:
    check_daemon_set(out, new)
    _check_selector_kept(out, new, old)


def check_daemon_set_status(out: Out, new: Object, old: Object) -> None:
    for key in _DAEMON_COUNTS:
        check_nonnegative(out, part(new, "status"), key, "status")
    _check_collisions(out, new, old)


# --- ControllerRevision -----------------------------------------------------------------------------------------------------


def check_controller_revision(out: Out, revision: Object) -> None:
    data = revision.get("data")
    if not isinstance(data, dict):
        out.append(causes.required("data", "data is mandatory" if data is None else "data must be a valid JSON object"))
    check_nonnegative(out, revision, "revision", "")


def check_controller_revision_update(out: Out, new: Object, old: Object) -> None:
    check_nonnegative(out, new, "revision", "")
    check_immutable(out, new.get("data"), old.get("data"), "data")
