"""Terms of pod affinity and anti-affinity, made ready to be asked.

Enters: spec.affinity of a pod and its namespace.
Leaves: PodTerms, the same value for pods that say the same.
Holds: a term without namespaces and namespaceSelector is about the pod's own namespace; a selector that is not there matches
nothing. matchLabelKeys and mismatchLabelKeys were merged into the selector when the pod was created (registry.strategies.pods).
Bound: limits.POD_TERMS_KEPT_MAX.
Source: kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node#inter-pod-affinity-and-anti-affinity.
Next: scheduler.plugins.pod_affinity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import orjson
from msgspec import Struct

from edgekube import limits
from edgekube.api.objects import Object
from edgekube.api.selectors.labels import NOTHING, LabelSelector, label_selector_of

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


class Term(Struct, frozen=True):
    """Pods of some namespaces with some labels, and the label of nodes that says what is the same place."""

    namespaces: frozenset[str]
    namespace_selector: LabelSelector
    selector: LabelSelector
    topology_key: str

    def matches(self, namespace: str, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        return (namespace in self.namespaces or self.namespace_selector.matches(namespace_labels)) and self.selector.matches(
            labels
        )


class Weighted(Struct, frozen=True):
    weight: int
    term: Term


class PodTerms(Struct, frozen=True):
    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Weighted, ...] = ()
    preferred_anti: tuple[Weighted, ...] = ()


def pod_terms(spec: Object, namespace: str) -> PodTerms | None:
    """None where the pod asks for nothing of the kind."""
    affinity = spec.get("affinity") or {}
    near, far = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    if not any(part.get(key) for part in (near, far) for key in (_REQUIRED, _PREFERRED)):
        return None
    return _compiled(namespace, orjson.dumps([near, far]))


@lru_cache(maxsize=limits.POD_TERMS_KEPT_MAX)
def _compiled(namespace: str, text: bytes) -> PodTerms:
    near, far = orjson.loads(text)
    return PodTerms(
        affinity=_terms(near.get(_REQUIRED), namespace),
        anti_affinity=_terms(far.get(_REQUIRED), namespace),
        preferred=_weighted(near.get(_PREFERRED), namespace),
        preferred_anti=_weighted(far.get(_PREFERRED), namespace),
    )


def _terms(terms: Sequence[Object] | None, namespace: str) -> tuple[Term, ...]:
    return tuple(_term(each, namespace) for each in terms or ())


def _weighted(terms: Sequence[Object] | None, namespace: str) -> tuple[Weighted, ...]:
    return tuple(
        Weighted(int(each.get("weight") or 0), _term(each.get("podAffinityTerm") or {}, namespace)) for each in terms or ()
    )


def _term(term: Object, namespace: str) -> Term:
    names, selector = term.get("namespaces") or (), term.get("namespaceSelector")
    return Term(
        namespaces=frozenset(names or ((namespace,) if selector is None else ())),
        namespace_selector=selector_of(selector),
        selector=selector_of(term.get("labelSelector")),
        topology_key=str(term.get("topologyKey") or ""),
    )


def selector_of(selector: Object | None) -> LabelSelector:
    """One that cannot be read (stored before a rule got stricter) selects nothing."""
    try:
        return label_selector_of(selector)
    except ValueError:
        return NOTHING
