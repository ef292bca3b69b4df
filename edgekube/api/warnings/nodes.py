"""Node labels that have successors, wherever nodes are chosen by them.

Enters: keys of selectors, and selectors.
Leaves: texts of warnings.
Source: pkg/api/node/util.go of v1.36.
Next: api.warnings.pods, api.warnings.kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation.fields import items, label_value, part, text, texts

OLD_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def of_term(term: Object, path: str, *, with_values: bool = False) -> Iterator[str]:
    """A NodeSelectorTerm. ``with_values``: where validation has not looked at them."""
    for i, expression in enumerate(items(term, "matchExpressions")):
        at, key = f"{path}.matchExpressions[{i}]", text(expression, "key")
        if key in OLD_LABELS:
            yield f"{at}.key: {key} is {OLD_LABELS[key]}"
        for j, value in enumerate(texts(expression, "values") if with_values else ()):
            for message in label_value(value):
                yield f"{at}.values[{j}]: {value} is invalid, {message}"


def of_label_selector(selector: Object, path: str) -> Iterator[str]:
    yield from of_term(selector, path)
    for label in part(selector, "matchLabels"):
        if label in OLD_LABELS:
            yield f"{path}.matchLabels.{label}: {OLD_LABELS[label]}"
